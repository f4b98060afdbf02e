"""Sizing by columns decides each cell as planning does."""

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import DenialCode, Limits
from orchestrator_core.plans import PlanningPolicy, SkipReason
from orchestrator_core.signals import WEIGHT_SUM_TOLERANCE
from orchestrator_core.sizing import SizingPolicy, SizingRules
from orchestrator_entrypoints.backtests.columnar import (
    CELLS_A_BLOCK,
    CODES,
    BatchFault,
    ColumnarSizing,
    size_columns,
)
from tests.unit.columnar_cases import (
    OPEN,
    PLAIN,
    PRICES,
    SYMBOLS,
    WEIGHTS,
    Cell,
    Floats,
    hard_cells,
    one_cell,
    planned_day,
    policies,
    with_limits,
    with_rules,
)

A, B, C = SYMBOLS[:3]
MONEY = st.decimals("0.01", "10000000", places=2)


def cells(sizing: ColumnarSizing) -> list[list[Cell]]:
    return [
        list(zip(shares, codes, strict=True))
        for shares, codes in zip(sizing.shares.tolist(), sizing.codes.tolist(), strict=True)
    ]


def planned(weights: Floats, prices: Floats, policy: PlanningPolicy, **more: Any) -> Any:
    days = zip(weights.tolist(), prices.tolist(), strict=True)
    return [planned_day(*day, policy, **more) for day in days]


@pytest.mark.parametrize("number", range(len(policies())))
def test_cells_around_every_edge_are_decided_as_planned(number: int) -> None:
    policy, random = policies()[number], np.random.default_rng(number)
    weights, prices = hard_cells(random, 400, policy)
    sizing = size_columns(weights, prices, policy, symbols=SYMBOLS)
    assert cells(sizing) == planned(weights, prices, policy)
    assert 0 < sizing.redone < weights.size


@st.composite
def any_policy(draw: st.DrawFn) -> PlanningPolicy:
    rules = SizingRules(
        lot_sizes=draw(st.dictionaries(st.sampled_from([A, B]), st.integers(1, 10**19 // 2))),
        min_order_notional=draw(st.sampled_from([Decimal(0), Decimal("1e-400")]) | MONEY),
        cash_buffer=draw(st.decimals(0, "0.999", places=3)),
    )
    limits = evolve(
        draw(st.sampled_from([OPEN, Limits(), Limits(max_signal_weight=Decimal("0.3"))])),
        max_order_qty=draw(st.none() | st.integers(0, 2**70)),
        max_order_notional=draw(st.none() | MONEY | st.sampled_from([Decimal("1e400")])),
        restricted_symbols=frozenset(draw(st.sets(st.sampled_from([A, B]), max_size=1))),
        allowed_symbols=draw(st.none() | st.just(frozenset([A, C]))),
    )
    return PlanningPolicy(SizingPolicy(draw(MONEY), draw(MONEY), rules), limits)


@st.composite
def any_cell(draw: st.DrawFn, policy: PlanningPolicy) -> tuple[float, float]:
    """Draw a weight and a price; often the exact quotient is a whole number, or nearly."""
    price = draw(
        st.sampled_from(PRICES)
        | st.floats(1e-9, 1e300)
        | st.decimals("0.01", "9999", places=2).map(float)
    )
    if draw(st.booleans()):
        return draw(st.sampled_from(WEIGHTS) | st.floats(allow_nan=False, allow_infinity=False)), (
            price
        )
    price = 1.0 if price != price else min(price, 1e15)  # noqa: PLR0124
    weight = float(Decimal(draw(st.integers(1, 10**6))) * Decimal(price) / policy.sizing.investable)
    for _ in range(draw(st.integers(0, 3))):
        weight = float(np.nextafter(weight, draw(st.sampled_from([0.0, 1e300]))))
    return draw(st.sampled_from([weight, -weight])), price


@given(st.data())
def test_any_cells_under_any_policy_are_decided_as_planned(data: st.DataObject) -> None:
    policy = data.draw(any_policy())
    drawn = [[data.draw(any_cell(policy)) for _ in range(3)] for _ in range(2)]
    weights, prices = np.moveaxis(np.array(drawn, np.float64), -1, 0)
    sizing = size_columns(weights, prices, policy, symbols=[A, B, C])
    assert cells(sizing) == planned(weights, prices, policy, symbols=[A, B, C])


def test_an_exact_multiple_is_not_lost_to_binary_noise() -> None:
    # In floats 0.57 * 100000 / 100 is 569.9999999999999.
    sizing = one_cell(
        -0.57, 100.0, evolve(PLAIN, sizing=SizingPolicy(Decimal(100_000), Decimal(100_000)))
    )
    assert cells(sizing) == [[(-570, 0)]]
    assert sizing.redone == 1


# Found by search: all roundings lean one way, and the exact quotient is a hair off a whole number.
@pytest.mark.parametrize(
    ("shares", "weight", "price", "capital"),
    [
        (62989, 0.0313495487470043, 134.4620392423396, "270167505.7011807821070799"),
        (127562, 0.000992970449084857, 8.44011445656463, "1084259739.3513070229926512"),
        (500519, 0.000982452144526899, 135.4838203393751, "69023577518.8003163245390934"),
        (124494, 0.000982452144526899, 1.059512286317147, "134259956.3957099766887544"),
    ],
)
def test_a_quotient_off_by_four_roundings_is_not_trusted(
    shares: int, weight: float, price: float, capital: str
) -> None:
    policy = evolve(PLAIN, sizing=SizingPolicy(Decimal(capital), Decimal(10**15)))
    assert one_cell(weight, price, policy).shares.tolist() == [[shares]]
    assert int(weight * float(capital) / price) != shares


def test_a_cell_away_from_every_edge_is_left_to_floats() -> None:
    assert one_cell(0.1, 300.01).redone == 0


def test_each_day_has_its_own_capital() -> None:
    capitals = [Decimal("1000.01"), Decimal(50_000), Decimal(10) ** 15]
    weights, prices = np.full((3, 1), 0.2), np.full((3, 1), 100.0)
    rules = SizingRules(cash_buffer=Decimal("0.5"))
    policy = evolve(PLAIN, sizing=evolve(PLAIN.sizing, rules=rules))
    sizing = size_columns(weights, prices, policy, symbols=[A], capitals=capitals)
    assert sizing.shares.tolist() == [[1], [50], [200]]


def test_a_redone_cell_has_the_capital_of_its_day() -> None:
    capitals = [Decimal(1_001)] * CELLS_A_BLOCK + [Decimal(1_000), Decimal(100_000)]
    weights, prices = np.full((len(capitals), 1), 0.29), np.full((len(capitals), 1), 10.0)
    policy = evolve(PLAIN, sizing=SizingPolicy(Decimal(1), Decimal(10**9)))
    sizing = size_columns(weights, prices, policy, symbols=[A], capitals=capitals)
    assert sizing.shares[-2:].tolist() == [[29], [2900]]
    assert sizing.redone == 2


def test_what_is_sent_are_the_orders_that_nothing_holds_back() -> None:
    policy = with_limits(restricted_symbols=frozenset([A]))
    weights, prices = np.array([[0.1, -0.1, 0.1]]), np.array([[100.0, 100.0, np.nan]])
    sizing = size_columns(weights, prices, policy, symbols=[A, B, C])
    assert sizing.shares.tolist() == [[100, -100, 0]]
    assert sizing.sent.tolist() == [[0, -100, 0]]
    assert [sizing.why(0, column) for column in range(3)] == [
        DenialCode.RESTRICTED_SYMBOL,
        None,
        SkipReason.PRICE_UNAVAILABLE,
    ]


def test_as_many_shares_as_the_limit_says_are_sent() -> None:
    policy = with_limits(max_order_qty=100)
    assert [one_cell(weight, 99.5, policy).why(0, 0) for weight in (0.1, -0.1, 0.101)] == [
        None,
        None,
        DenialCode.MAX_ORDER_QTY,
    ]


@pytest.mark.parametrize("price", [0.1 + 0.2, 99.99, 1 / 3])
@pytest.mark.parametrize("name", ["max_order_notional", "min_order_notional"])
def test_a_notional_at_a_limit_is_compared_exactly(price: float, name: str) -> None:
    exact = Decimal(repr(price)) * 101
    for bound in (exact - Decimal("1e-17"), exact, exact + Decimal("1e-17")):
        is_most = name == "max_order_notional"
        policy = with_limits(**{name: bound}) if is_most else with_rules(**{name: bound})
        sizing = one_cell(101.5 * price / 100_000, price, policy)
        assert cells(sizing) == planned(
            np.array([[101.5 * price / 100_000]]), np.array([[price]]), policy, symbols=[A]
        )
        assert sizing.redone == 1


def test_a_day_whose_weights_a_run_would_refuse_is_marked_as_a_whole() -> None:
    weights = np.array([[0.6, 0.3, -1.0], [0.6, 0.5, -0.1], [0.1, -0.6, -0.5], [0.1, -1.1, 0.1]])
    policy = evolve(PLAIN, limits=Limits())
    sizing = size_columns(weights, np.full((4, 3), 100.0), policy, symbols=[A, B, C])
    assert sizing.codes[0].tolist() == [0, 0, 0]
    assert sizing.codes[1:].tolist() == [[CODES.index(BatchFault.REFUSED)] * 3] * 3
    assert not sizing.shares[1:].any()


OFF = [Decimal(0), Decimal("1e-20"), Decimal("-1e-20"), Decimal("1e-16"), Decimal("-1e-16")]


@pytest.mark.parametrize("off", OFF)
@pytest.mark.parametrize("name", ["max_signal_weight", "max_side_weight"])
def test_weights_at_a_limit_are_refused_as_a_run_would(name: str, off: Decimal) -> None:
    random = np.random.default_rng(1)
    for _ in range(60):
        row, prices = random.random((1, len(SYMBOLS))), np.full((1, len(SYMBOLS)), 100.0)
        exact = [Decimal(repr(weight)) for weight in row[0].tolist()]
        most = sum(exact) - WEIGHT_SUM_TOLERANCE if name == "max_side_weight" else max(exact)
        policy = with_limits(**{name: most + off})
        sizing = size_columns(row, prices, policy, symbols=SYMBOLS)
        assert cells(sizing) == planned(row, prices, policy)


@pytest.mark.parametrize("off", [Decimal("1e-15"), Decimal("-1e-15")])
def test_the_noise_of_long_sums_refuses_no_day_and_passes_none(off: Decimal) -> None:
    # Columns that lie together are summed one after another, which rounds most.
    random, symbols = np.random.default_rng(1), [Symbol(f"L{n}") for n in range(1_000)]
    weights, prices = np.asfortranarray(random.random((9, 1_000))), np.full((9, 1_000), 100.0)
    for day in range(9):
        exact = sum(Decimal(repr(weight)) for weight in weights[day].tolist())
        policy = with_limits(max_side_weight=exact - WEIGHT_SUM_TOLERANCE + off)
        sizing = size_columns(weights, prices, policy, symbols=symbols)
        is_refused = sizing.codes[day, 0] == CODES.index(BatchFault.REFUSED)
        assert is_refused == (off < 0)


def test_blocks_of_days_meet_and_layouts_do_not_matter() -> None:
    policy, random = policies()[2], np.random.default_rng(1)
    days = CELLS_A_BLOCK // len(SYMBOLS) * 2 + 3
    weights, prices = (np.resize(each, (days, 40)) for each in hard_cells(random, 7, policy))
    whole = size_columns(weights, prices, policy, symbols=SYMBOLS)
    columns = size_columns(
        np.asfortranarray(weights), np.asfortranarray(prices), policy, symbols=SYMBOLS
    )
    once = size_columns(weights[:7], prices[:7], policy, symbols=SYMBOLS)
    assert np.array_equal(whole.shares, columns.shares)
    assert np.array_equal(whole.codes, columns.codes)
    assert np.array_equal(whole.shares, np.resize(once.shares, (days, 40)))
    assert np.array_equal(whole.codes, np.resize(once.codes, (days, 40)))


def test_no_days_are_no_decisions() -> None:
    nothing = np.empty((0, 1))
    assert size_columns(nothing, nothing, PLAIN, symbols=[A]).shares.shape == (0, 1)
