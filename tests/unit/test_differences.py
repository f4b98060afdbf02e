"""Delta mode: the orders that bring an account to its targets."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.differences import difference
from orchestrator_core.holdings import Holdings, OpenQty, Unsettled
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.limits import DenialCode, Limits
from orchestrator_core.model import Side
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import OrderPlan, SizingDecision, SkipReason, Snapshot
from orchestrator_core.record import decode_snapshot, encode_snapshot
from orchestrator_core.sizing import SizingMode, SizingRules
from tests.unit.builders import a_policy, a_quote, a_signal, a_snapshot


def an_order(symbol: str, signed_qty: int, id_: str = "o1") -> OpenQty:
    side = Side.BUY if signed_qty > 0 else Side.SELL
    return OpenQty(Symbol(symbol), ClientOrderId(id_), side, abs(signed_qty))


def an_account(held: Mapping[str, int], *orders: OpenQty | Unsettled) -> Holdings:
    return Holdings(
        positions=tuple((Symbol(symbol), qty) for symbol, qty in sorted(held.items()) if qty),
        open_orders=tuple(order for order in orders if isinstance(order, OpenQty)),
        unsettled=tuple(order for order in orders if isinstance(order, Unsettled)),
    )


def a_delta(
    weights: Mapping[str, float],
    account: Holdings,
    *,
    prices: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    **rules: Any,
) -> Snapshot:
    """Return a snapshot in delta mode; a weight of 0.1 at a price of 100 is 100 shares."""
    prices = dict.fromkeys([*weights, *account.symbols], "100") if prices is None else prices
    policy = a_policy(limits=limits)
    sizing = evolve(policy.sizing, rules=SizingRules(mode=SizingMode.DELTA, **rules))
    policy = evolve(policy, sizing=sizing)
    signals = [a_signal(symbol, weight) for symbol, weight in weights.items()]
    quotes = [a_quote(symbol, price) for symbol, price in prices.items()]
    return evolve(a_snapshot(signals, quotes, policy=policy), holdings=account)


def plan_of(snapshot: Snapshot) -> OrderPlan:
    return plan_orders(snapshot, snapshot.policy)


def sent(snapshot: Snapshot) -> dict[tuple[str, int], int]:
    return {(i.symbol, i.leg): i.signed_qty for i in plan_of(snapshot).intents}


def one(snapshot: Snapshot) -> SizingDecision:
    (decision,) = plan_of(snapshot).decisions
    return decision


@pytest.mark.parametrize(
    ("held", "weight", "orders"),
    [
        (0, 0.1, {0: 100}),
        (40, 0.1, {0: 60}),
        (100, 0.1, {}),
        (130, 0.1, {0: -30}),
        (40, 0.0, {0: -40}),
        (-40, 0.0, {0: 40}),
        (-40, -0.1, {0: -60}),
        (40, -0.1, {0: -40, 1: -100}),
        (-40, 0.1, {0: 40, 1: 100}),
    ],
)
def test_an_order_is_what_the_account_lacks(
    held: int, weight: float, orders: dict[int, int]
) -> None:
    account = an_account({"A": held})
    assert sent(a_delta({"A": weight}, account)) == {("A", leg): q for leg, q in orders.items()}


def test_a_symbol_at_its_target_is_skipped_in_so_many_words() -> None:
    assert one(a_delta({"A": 0.1}, an_account({"A": 100}))).skip is SkipReason.AT_TARGET


def test_no_weight_and_nothing_held_needs_no_price() -> None:
    snapshot = a_delta({"A": 0.0}, an_account({}), prices={})
    assert one(snapshot).skip is SkipReason.ZERO_WEIGHT


def test_what_is_held_without_a_price_is_not_closed() -> None:
    snapshot = a_delta({"A": 0.0}, an_account({"A": 5}), prices={})
    assert one(snapshot).skip is SkipReason.PRICE_UNAVAILABLE


def test_open_orders_of_ours_count_as_filled() -> None:
    account = an_account({"A": 40}, an_order("A", 30))
    assert sent(a_delta({"A": 0.1}, account)) == {("A", 0): 30}
    assert one(a_delta({"A": 0.07}, account)).skip is SkipReason.AT_TARGET


@pytest.mark.parametrize(
    ("held", "on_order", "weight", "denied"),
    [
        # Sells 12 of 10 that are held, should the open buy not fill.
        (10, 5, 0.003, True),
        (10, 5, 0.006, False),
        # Nothing is held yet.
        (0, 5, 0.0, True),
        (0, 5, 0.010, False),
        # The open sale already closes it: more would go short beside it.
        (10, -10, -0.005, True),
        (10, -4, 0.002, False),
        (0, -5, 0.005, True),
    ],
)
def test_no_order_may_turn_a_position_should_open_ones_not_fill(
    held: int, on_order: int, weight: float, denied: bool
) -> None:
    account = an_account({"A": held}, an_order("A", on_order))
    decisions = plan_of(a_delta({"A": weight}, account)).decisions
    codes = {each.denial.code for each in decisions if each.denial is not None}
    assert codes == ({DenialCode.OPEN_ORDER} if denied else set())


@pytest.mark.parametrize(
    ("held", "weight", "denied"),
    [(100, 0.0, True), (100, 0.05, False), (100, 0.049, True), (100, 0.12, False), (0, 0.01, True)],
)
def test_open_orders_that_cancel_out_still_count(held: int, weight: float, denied: bool) -> None:
    """The sale of 50 may fill without the purchase."""
    account = an_account({"A": held}, an_order("A", 50, "o1"), an_order("A", -50, "o2"))
    decisions = plan_of(a_delta({"A": weight}, account)).decisions
    assert ({d.denial.code for d in decisions if d.denial} == {DenialCode.OPEN_ORDER}) is denied


def test_the_second_leg_of_a_flip_is_denied_beside_an_open_order() -> None:
    snapshot = a_delta({"A": -0.005}, an_account({"A": 10}, an_order("A", -3)))
    first, second = plan_of(snapshot).decisions
    assert first.is_to_be_sent
    assert first.intent is not None
    assert first.intent.signed_qty == -7
    assert second.denial is not None
    assert second.denial.code is DenialCode.OPEN_ORDER


def test_a_denied_first_leg_denies_the_second() -> None:
    snapshot = a_delta({"A": -0.005}, an_account({"A": 10}), limits=Limits(max_order_qty=9))
    first, second = plan_of(snapshot).decisions
    assert first.denial is not None
    assert first.denial.code is DenialCode.MAX_ORDER_QTY
    assert second.denial == first.denial


def test_a_denied_second_leg_leaves_the_first() -> None:
    snapshot = a_delta({"A": -0.011}, an_account({"A": 10}), limits=Limits(max_order_qty=10))
    assert sent(snapshot) == {("A", 0): -10}


def test_reduce_only_mode_closes_a_position_and_does_not_turn_it() -> None:
    snapshot = a_delta({"A": 0.03}, an_account({"A": -50}), limits=Limits(reduce_only=True))
    assert sent(snapshot) == {("A", 0): 50}
    _, second = plan_of(snapshot).decisions
    assert str(second.denial) == "REDUCE_ONLY position=-50 on_order=0 qty=30"


@pytest.mark.parametrize("held", [40, 100])
def test_an_unsettled_order_denies_its_symbol_even_where_nothing_seems_lacking(held: int) -> None:
    unsettled = Unsettled(Symbol("A"), ClientOrderId("o1x"), "unknown")
    snapshot = a_delta({"A": 0.1, "B": 0.1}, an_account({"A": held}, unsettled))
    a, b = plan_of(snapshot).decisions
    assert str(a.denial) == "UNSETTLED_ORDER order=o1x state=unknown"
    assert b.is_to_be_sent


def test_what_no_signal_names_is_closed_only_where_that_is_on() -> None:
    account = an_account({"A": 100, "Z": 7, "Y": -3, "X": 9})
    assert sent(a_delta({"A": 0.1}, account)) == {}
    closing = a_delta({"A": 0.1}, account, closes_absent=True)
    asked = tuple(map(Symbol, "AYZ"))
    closing = evolve(closing, request=evolve(closing.request, symbols=asked))
    assert sent(closing) == {("Z", 0): -7, ("Y", 0): 3}
    assert [each.signal.symbol for each in plan_of(closing).decisions] == ["A", "Y", "Z"]


def test_a_difference_is_rounded_to_lots_and_a_close_is_not() -> None:
    lots = {Symbol("A"): 50}
    assert sent(a_delta({"A": 0.1}, an_account({"A": 30}), lot_sizes=lots)) == {("A", 0): 50}
    assert one(a_delta({"A": 0.1}, an_account({"A": 80}), lot_sizes=lots)).skip is (
        SkipReason.AT_TARGET
    )
    assert sent(a_delta({"A": 0.0}, an_account({"A": 33}), lot_sizes=lots)) == {("A", 0): -33}


def test_a_small_difference_is_not_sent_and_a_small_close_is() -> None:
    rules: dict[str, Any] = {"min_order_notional": Decimal(500)}
    small = one(a_delta({"A": 0.1}, an_account({"A": 96}), **rules))
    assert small.skip is SkipReason.LESS_THAN_MINIMUM
    assert sent(a_delta({"A": 0.0}, an_account({"A": 4}), **rules)) == {("A", 0): -4}
    assert sent(a_delta({"A": -0.1}, an_account({"A": 4}), **rules)) == {
        ("A", 0): -4,
        ("A", 1): -100,
    }


def test_sells_go_before_buys_and_second_legs_behind_first_ones() -> None:
    account = an_account({"A": 5, "B": 5, "C": -5, "D": 50})
    weights = {"C": 0.001, "A": -0.001, "D": 0.001, "B": -0.002, "E": 0.001}
    intents = plan_of(a_delta(weights, account)).intents
    assert [(i.symbol, i.leg, i.side.value) for i in intents] == [
        ("A", 0, "sell"),
        ("B", 0, "sell"),
        ("D", 0, "sell"),
        ("A", 1, "sell"),
        ("B", 1, "sell"),
        ("C", 0, "buy"),
        ("E", 0, "buy"),
        ("C", 1, "buy"),
    ]


# Properties

SHARES = st.integers(-400, 400)
WEIGHTS = st.floats(-0.2, 0.2, allow_nan=False).map(lambda w: round(w, 6))
PRICES = st.decimals("0.01", "999.99", places=2)
SYMBOLS = ["A", "B", "C", "D"]


@st.composite
def deltas(draw: st.DrawFn, *, with_orders: bool = True) -> Snapshot:
    """Draw a snapshot in delta mode, with positions and orders of any kind."""
    weights = {symbol: draw(WEIGHTS) for symbol in draw(st.sets(st.sampled_from(SYMBOLS)))}
    held = {symbol: draw(SHARES) for symbol in draw(st.sets(st.sampled_from(SYMBOLS)))}
    orders: list[OpenQty | Unsettled] = []
    if with_orders:
        for place, symbol in enumerate(draw(st.lists(st.sampled_from(SYMBOLS), max_size=3))):
            orders.append(an_order(symbol, draw(SHARES.filter(bool)), f"o{place}"))
        if draw(st.booleans()):
            orders.append(Unsettled(Symbol("D"), ClientOrderId("ox"), "unknown"))
    lots = {Symbol(symbol): draw(st.sampled_from([1, 1, 10, 100])) for symbol in SYMBOLS}
    return a_delta(
        weights,
        an_account(held, *orders),
        prices={symbol: str(draw(PRICES)) for symbol in SYMBOLS},
        lot_sizes=lots,
        closes_absent=draw(st.booleans()),
        spends_leftover=draw(st.booleans()),
        min_order_notional=draw(st.sampled_from([Decimal(0), Decimal(1000)])),
    )


def applied(snapshot: Snapshot, plan: OrderPlan) -> Snapshot:
    """Return the snapshot after each order has filled, and every open order before it."""
    account = snapshot.holdings
    assert account is not None
    held: dict[str, int] = {s: account.held(s) + account.on_order(s) for s in account.symbols}
    for intent in plan.intents:
        held[intent.symbol] = held.get(intent.symbol, 0) + intent.signed_qty
    return evolve(snapshot, holdings=an_account(held))


@given(deltas(with_orders=False))
def test_delta_then_apply_then_delta_again_gives_nothing(snapshot: Snapshot) -> None:
    plan = plan_of(snapshot)
    assert plan_of(applied(snapshot, plan)).intents == ()


@given(deltas())
def test_two_deltas_beside_open_orders_settle_too(snapshot: Snapshot) -> None:
    """An order denied beside open ones comes once these have filled, and then nothing more."""
    after = applied(snapshot, plan_of(snapshot))
    last = applied(after, plan_of(after))
    assert plan_of(last).intents == ()


@given(deltas())
def test_no_fill_of_whatever_orders_turns_a_position_by_a_first_leg(snapshot: Snapshot) -> None:
    account = snapshot.holdings
    assert account is not None
    for intent in plan_of(snapshot).intents:
        held, signed = account.held(intent.symbol), intent.signed_qty
        if intent.leg:
            assert account.on_order(intent.symbol) == 0
            continue
        if held and (signed > 0) is not (held > 0):
            # Whatever else fills, the order itself cannot carry the position through zero.
            assert abs(signed) <= abs(held)


@given(st.dictionaries(st.sampled_from(SYMBOLS), WEIGHTS), st.data())
def test_absolute_is_delta_from_flat(weights: dict[str, float], data: st.DataObject) -> None:
    prices = {symbol: str(data.draw(PRICES)) for symbol in SYMBOLS}
    rules: dict[str, Any] = {
        "lot_sizes": {Symbol("A"): data.draw(st.sampled_from([1, 7, 100]))},
        "min_order_notional": data.draw(st.sampled_from([Decimal(0), Decimal(5000)])),
        "cash_buffer": data.draw(st.sampled_from([Decimal(0), Decimal("0.05")])),
        "spends_leftover": data.draw(st.booleans()),
    }
    limits = Limits(max_order_qty=data.draw(st.one_of(st.none(), st.integers(1, 500))))
    delta = a_delta(weights, an_account({}), prices=prices, limits=limits, **rules)
    sizing = evolve(delta.policy.sizing, rules=SizingRules(**rules))
    absolute = evolve(delta, policy=evolve(delta.policy, sizing=sizing), holdings=None)
    assert plan_of(absolute).intents == plan_of(delta).intents
    denied = [
        [(d.signal.symbol, d.denial) for d in plan_of(each).decisions if d.denial]
        for each in (absolute, delta)
    ]
    assert denied[0] == denied[1]


@given(deltas())
def test_a_record_keeps_the_account(snapshot: Snapshot) -> None:
    kept = decode_snapshot(encode_snapshot(snapshot))
    assert plan_of(kept) == plan_of(snapshot)
    assert kept == snapshot


@given(SHARES, SHARES, SHARES, st.integers(1, 100))
def test_a_difference_never_oversteps_its_target(
    target: int, held: int, on_order: int, lot: int
) -> None:
    target -= target % lot if target > 0 else -(-target % lot)
    lacking = difference(target, held=held, on_order=on_order, lot=lot)
    after = held + on_order + sum(lacking.legs)
    assert abs(after - target) < lot
    assert min(held + on_order, target) <= after <= max(held + on_order, target)
    assert len(lacking.legs) < 2 or lacking.legs[0] == -(held + on_order)
