"""Controls that look beyond the order, at their edges: its reference, the account, the day."""

from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from orchestrator_core.books import DayExposure, DayOrder, day_exposure
from orchestrator_core.holdings import Holdings
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.limits import Limits
from orchestrator_core.model import Reference, Side
from orchestrator_core.orders import order_of
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import OrderPlan, Snapshot
from orchestrator_core.record import decode_snapshot, encode_snapshot
from orchestrator_core.runs import basket_refusal
from tests.unit.builders import NOW, a_decision, a_policy, a_quote, a_signal, a_snapshot
from tests.unit.test_differences import an_account, an_order

CENT = Decimal("0.01")


def a_run(
    weights: dict[str, float],
    limits: Limits,
    *,
    price: str = "100",
    references: dict[str, str] | None = None,
    holdings: Holdings | None = None,
    day: DayExposure | None = None,
) -> Snapshot:
    """Return a snapshot in absolute mode; a weight of 0.1 at a price of 100 is 100 shares."""
    snapshot = a_snapshot(
        [a_signal(symbol, weight) for symbol, weight in weights.items()],
        [a_quote(symbol, price) for symbol in weights],
        policy=a_policy(limits=limits),
    )
    seen = tuple(
        Reference(Symbol(symbol), Decimal(each), NOW, "previous_close")
        for symbol, each in (references or {}).items()
    )
    return evolve(snapshot, references=seen, holdings=holdings, day=day)


def plan_of(snapshot: Snapshot) -> OrderPlan:
    kept = decode_snapshot(encode_snapshot(snapshot))
    assert kept == snapshot
    return plan_orders(kept, kept.policy)


def said(snapshot: Snapshot) -> str | None:
    (decision,) = plan_of(snapshot).decisions
    return None if decision.denial is None else str(decision.denial)


@pytest.mark.parametrize(
    ("price", "denied"),
    [("80.00", False), ("79.99", True), ("120.00", False), ("120.01", True), ("100", False)],
)
def test_a_price_may_be_as_far_from_its_reference_as_the_band(price: str, denied: bool) -> None:
    limits = Limits(price_band=Decimal("0.2"))
    words = said(a_run({"A": 0.1}, limits, price=price, references={"A": "100.00"}))
    expected = f"PRICE_BAND price={price} previous_close=100.00 limit=0.2"
    assert words == (expected if denied else None)


def test_a_price_without_a_reference_passes_unless_one_is_required() -> None:
    band = Limits(price_band=Decimal("0.2"))
    assert said(a_run({"A": 0.1}, band)) is None
    required = evolve(band, requires_reference=True)
    assert said(a_run({"A": 0.1}, required)) == "NO_REFERENCE_PRICE price=100"
    assert said(a_run({"A": 0.1}, required, references={"A": "100"})) is None


@pytest.mark.parametrize(
    ("held", "weight", "goes"),
    [
        (100, -0.1, True),
        (100, -0.101, False),
        (100, 0.001, False),
        (-100, 0.1, True),
        (-100, 0.101, False),
        (-100, -0.001, False),
        (0, 0.001, False),
        (0, -0.001, False),
    ],
)
def test_reduce_only_lets_through_what_shrinks_a_position(
    held: int, weight: float, goes: bool
) -> None:
    limits = Limits(reduce_only=True)
    snapshot = a_run({"A": weight}, limits, holdings=an_account({"A": held}))
    words = said(snapshot)
    qty = round(weight * 1000)
    assert words == (None if goes else f"REDUCE_ONLY position={held} on_order=0 qty={qty}")


@pytest.mark.parametrize(("on_order", "goes"), [(-20, True), (-21, False), (50, True)])
def test_reduce_only_counts_what_is_on_order_against_the_position(
    on_order: int, goes: bool
) -> None:
    account = an_account({"A": 100}, an_order("A", on_order))
    snapshot = a_run({"A": -0.08}, Limits(reduce_only=True), holdings=account)
    assert (said(snapshot) is None) is goes


def test_reduce_only_lets_nothing_go_from_an_unknown_account() -> None:
    assert said(a_run({"A": -0.1}, Limits(reduce_only=True))) == "REDUCE_ONLY position=unknown"


# The day before: bought for 5,000 and sold for 1,000. This run buys for 10,000, sells for 4,000.
WEIGHTS = {"A": 0.1, "B": -0.04}
EARLIER = DayExposure(long=Decimal(5_000), short=Decimal(1_000))


@pytest.mark.parametrize(
    ("name", "exposure"),
    [("long", 15_000), ("short", 5_000), ("gross", 20_000), ("net", 10_000)],
)
@pytest.mark.parametrize(("beyond", "refused"), [(CENT, False), (0 * CENT, False), (-CENT, True)])
def test_a_day_is_held_to_its_exposure_across_runs(
    name: str, exposure: int, beyond: Decimal, refused: bool
) -> None:
    limit = exposure + beyond
    bound: dict[str, Any] = {f"max_day_{name}": limit}
    plan = plan_of(a_run(WEIGHTS, Limits(**bound), day=EARLIER))
    words = f"MAX_DAY_{name.upper()} {name}={exposure} limit={limit:f}"
    assert {str(each.denial) for each in plan.decisions} == {words if refused else "None"}
    assert bool(plan.intents) is not refused
    failure = basket_refusal(map(order_of, plan.decisions))
    assert (None if failure is None else failure.message) == (words if refused else None)


def test_an_order_that_stands_in_the_day_already_counts_once() -> None:
    bought = a_decision().client_order_id(Symbol("A"))
    day = day_exposure([DayOrder(bought, Side.BUY, Decimal(10_000))], [bought])
    assert day == DayExposure(Decimal(10_000), held_ids=frozenset({bought}))
    limits = Limits(max_day_long=Decimal(10_000))
    assert plan_of(a_run({"A": 0.1}, limits, day=day)).refusal is None
    assert plan_of(a_run({"A": 0.1, "C": 0.001}, limits, day=day)).refusal is not None


def test_a_day_counts_every_order_of_it() -> None:
    orders = [
        DayOrder(ClientOrderId("a"), Side.BUY, Decimal("1.5")),
        DayOrder(ClientOrderId("b"), Side.BUY, Decimal("2.25")),
        DayOrder(ClientOrderId("c"), Side.SELL, Decimal(7)),
    ]
    assert day_exposure(orders, [ClientOrderId("b"), ClientOrderId("z")]) == DayExposure(
        Decimal("3.75"), Decimal(7), frozenset({ClientOrderId("b")})
    )
