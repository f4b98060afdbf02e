"""What arrays cannot stand for, or no run would have, is refused by name."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from attrs import evolve, fields

from orchestrator_core.limits import Limits, SessionRule
from orchestrator_core.plans import PlanningPolicy
from orchestrator_core.sizing import SizingMode, SizingPolicy
from orchestrator_entrypoints.backtests.columnar import (
    CELLS_A_BLOCK,
    NotColumnar,
    size_columns,
)
from tests.unit.columnar_cases import (
    PLAIN,
    SYMBOLS,
    one_cell,
    with_limits,
    with_rules,
)

A, B = SYMBOLS[:2]


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (with_rules(mode=SizingMode.DELTA), "delta mode"),
        (with_rules(spends_leftover=True), "leftover pass"),
        (with_rules(lot_sizes={A: 2**63}), "a lot of more than"),
        (with_limits(max_orders_a_run=1), "a run's orders"),
        (with_limits(max_basket_long=Decimal(1)), "a run's orders"),
        (with_limits(max_basket_short=Decimal(1)), "a run's orders"),
        (with_limits(max_basket_gross=Decimal(1)), "a run's orders"),
        (with_limits(max_basket_net=Decimal(1)), "a run's orders"),
        (with_limits(market_session=SessionRule.REFUSE), "a run's orders"),
        (with_limits(max_day_long=Decimal(1)), "a day's orders"),
        (with_limits(max_day_short=Decimal(1)), "a day's orders"),
        (with_limits(max_day_gross=Decimal(1)), "a day's orders"),
        (with_limits(max_day_net=Decimal(1)), "a day's orders"),
        (with_limits(price_band=Decimal("0.1")), "reference prices"),
        (with_limits(requires_reference=True), "reference prices"),
        (with_limits(reduce_only=True), "reduce-only"),
    ],
)
def test_what_looks_beyond_a_cell_is_not_columnar(policy: PlanningPolicy, reason: str) -> None:
    with pytest.raises(NotColumnar, match=reason) as refused:
        one_cell(0.1, 100.0, policy)
    assert reason in refused.value.reason


# Limits that a cell is judged by, or that mark or widen nothing in a plan.
COLUMNAR = {
    *("restricted_symbols", "allowed_symbols", "max_order_qty", "max_order_notional"),
    *("max_signal_weight", "max_side_weight", "max_price_age_seconds", "max_price_lead_seconds"),
}


def test_every_limit_is_either_columnar_or_refused() -> None:
    values: dict[str, Any] = {"market_session": SessionRule.REFUSE}
    values |= dict.fromkeys(["requires_reference", "reduce_only"], True)
    for name in {each.name for each in fields(Limits)} - COLUMNAR:
        with pytest.raises(NotColumnar):
            one_cell(0.1, 100.0, with_limits(**{name: values.get(name, Decimal(1))}))


def test_more_shares_than_an_array_holds_are_not_columnar() -> None:
    huge = evolve(PLAIN, sizing=SizingPolicy(Decimal(10**15), Decimal(10**15)))
    with pytest.raises(NotColumnar, match="more than 9223372036854775807 shares"):
        one_cell(1.0, 1e-4, huge)


@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf])
def test_a_weight_that_no_signal_may_have_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=rf"weights: .* got {weight} on day 0 of S00"):
        one_cell(weight, 100.0)


@pytest.mark.parametrize("price", [np.inf, -np.inf, 0.0, -1.0, 5e-324, 1.2345678901234567e-25])
def test_a_price_that_no_quote_may_have_is_refused(price: float) -> None:
    weights, prices = np.full((2, 2), 0.1), np.full((2, 2), 100.0)
    prices[0, 0], prices[1, 1] = np.nan, price
    with pytest.raises(ValueError, match="on day 1 of S01"):
        size_columns(weights, prices, PLAIN, symbols=[A, B])


def test_a_price_of_few_digits_is_taken_however_small() -> None:
    assert one_cell(1e-30, 1e-40).shares.tolist() == [[10**15]]


def test_a_day_far_down_is_named_by_its_number() -> None:
    weights = np.full((CELLS_A_BLOCK + 9, 1), 0.1)
    weights[-1] = np.nan
    with pytest.raises(ValueError, match=f"on day {CELLS_A_BLOCK + 8} of S00"):
        size_columns(weights, np.full_like(weights, 9.5), PLAIN, symbols=[A])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"weights": np.zeros((2, 2), np.float32)}, "weights: expected float64"),
        ({"prices": np.ones((2, 2), np.int64)}, "prices: expected float64"),
        ({"weights": np.zeros(2)}, "weights: expected shape"),
        ({"prices": np.ones((3, 2))}, "prices: expected shape"),
        ({"prices": np.ones((2, 1))}, "prices: expected shape"),
        ({"symbols": [A]}, "weights: expected shape"),
        ({"symbols": [A, A]}, "symbols: expected at least one, and none twice"),
        ({"symbols": []}, "symbols: expected at least one, and none twice"),
        ({"capitals": [Decimal(1)]}, "capitals: expected 2 amounts"),
        ({"capitals": [Decimal(1), Decimal("NaN")]}, "expected a finite number"),
        ({"capitals": [Decimal(1), Decimal(0)]}, "greater than zero"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed: dict[str, Any], named: str) -> None:
    given: dict[str, Any] = {"symbols": [A, B], "capitals": None}
    given |= {"weights": np.zeros((2, 2)), "prices": np.ones((2, 2))} | changed
    weights, prices = given.pop("weights"), given.pop("prices")
    with pytest.raises(ValueError, match=named):
        size_columns(weights, prices, PLAIN, **given)
