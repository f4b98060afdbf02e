"""Spending what rounding left."""

from collections.abc import Sequence
from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.identifiers import Symbol
from orchestrator_core.leftover import Rounded, spend_leftover
from orchestrator_core.limits import Limits
from orchestrator_core.money import WIDE, ZERO, decimal_of
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import OrderPlan
from orchestrator_core.sizing import (
    SizingPolicy,
    SizingRules,
    shortfall,
    size_position,
)
from tests.unit.builders import a_policy, a_quote, a_signal, a_snapshot

CAPITAL = Decimal(10_000)


def rounded(
    symbol: str, weight: str, price: str, *, rank: int = 1, lot: int = 1, cap: str = "1000000"
) -> Rounded:
    policy = SizingPolicy(CAPITAL, Decimal(cap))
    sizing = size_position(Decimal(weight), Decimal(price), policy, lot=lot)
    return Rounded(Symbol(symbol), rank, Decimal(price), sizing)


def spend(
    positions: Sequence[Rounded], *, cap: str = "1000000", most: int | None = None
) -> dict[str, int]:
    spent = spend_leftover(
        positions,
        cap=Decimal(cap),
        allows=lambda each: most is None or each.sizing.shares <= most,
    )
    return {each.symbol: each.sizing.shares for each in spent}


def test_the_largest_remainder_gets_the_first_lot() -> None:
    positions = [rounded("A", "0.0299", "100"), rounded("B", "0.0260", "100")]
    assert spend(positions) == {"A": 3, "B": 2}


def test_equal_remainders_go_by_rank_then_by_symbol() -> None:
    positions = [
        rounded("B", "0.005", "100", rank=2),
        rounded("C", "0.005", "100", rank=1),
        rounded("A", "0.005", "100", rank=2),
    ]
    assert spend(positions) == {"B": 0, "C": 1, "A": 0}


def test_cash_of_one_side_buys_nothing_on_the_other() -> None:
    positions = [rounded("A", "0.0060", "100"), rounded("B", "-0.0060", "100")]
    assert spend(positions) == {"A": 0, "B": 0}


def test_lots_are_bought_whole() -> None:
    positions = [rounded("A", "0.0999", "10", lot=10), rounded("B", "0.0999", "10", lot=10)]
    assert spend(positions) == {"A": 100, "B": 90}


def test_the_cap_and_every_other_limit_hold() -> None:
    positions = [rounded("A", "0.0299", "100"), rounded("B", "0.0298", "100")]
    assert spend(positions, cap="250") == {"A": 2, "B": 2}
    assert spend(positions, most=2) == {"A": 2, "B": 2}


def test_a_cheap_position_takes_what_a_dear_one_cannot() -> None:
    positions = [rounded("A", "0.0899", "500"), rounded("B", "0.0110", "7")]
    before = sum(shortfall(each.sizing, each.price) for each in positions)
    spent = spend(positions)
    assert spent["A"] == 1
    assert before - 7 * (spent["B"] - 15) < 7


weights = st.lists(
    st.floats(-0.3, 0.3, allow_subnormal=False).map(lambda w: round(w, 6)), min_size=1, max_size=8
)
prices = st.decimals("0.01", 5_000, places=2)


@st.composite
def plans(draw: st.DrawFn) -> tuple[OrderPlan, OrderPlan, SizingPolicy, Limits]:
    drawn = draw(weights)
    names = [f"S{n}" for n in range(len(drawn))]
    signals = [a_signal(n, w, rank=r) for r, (n, w) in enumerate(zip(names, drawn, strict=True))]
    quotes = [a_quote(name, str(draw(prices))) for name in names]
    lots = {Symbol(name): draw(st.sampled_from([1, 1, 10])) for name in names}
    limits = Limits(max_order_qty=draw(st.none() | st.integers(1, 5_000)))
    base = a_policy(cap=str(draw(st.integers(100, 50_000))), limits=limits)

    def planned(*, spends: bool) -> OrderPlan:
        rules = SizingRules(lot_sizes=lots, cash_buffer=Decimal("0.02"), spends_leftover=spends)
        policy = evolve(base, sizing=evolve(base.sizing, rules=rules))
        return plan_orders(a_snapshot(signals, quotes, policy=policy), policy)

    return planned(spends=False), planned(spends=True), base.sizing, limits


@given(plans())
def test_no_position_shrinks_and_no_more_is_spent_than_there_is(
    drawn: tuple[OrderPlan, OrderPlan, SizingPolicy, Limits],
) -> None:
    without, spent, sizing, limits = drawn
    for is_long in (True, False):
        cash = cost = ZERO
        for before, after in zip(without.decisions, spent.decisions, strict=True):
            if before.sizing is None or (before.sizing.weight > 0) is not is_long:
                continue
            assert after.sizing is not None
            price = before.quote.price  # type: ignore[union-attr]
            assert after.sizing.shares >= before.sizing.shares
            assert after.sizing.shares % after.sizing.lot == 0
            cash += shortfall(before.sizing, price)
            cost += price * (after.sizing.shares - before.sizing.shares)
            if after.sizing.added:
                assert price * after.sizing.shares <= sizing.max_position_size
                assert limits.max_order_qty is None or after.sizing.shares <= limits.max_order_qty
        assert cost <= cash


@given(plans(), st.randoms(use_true_random=False))
def test_the_order_of_signals_does_not_matter(
    drawn: tuple[OrderPlan, OrderPlan, SizingPolicy, Limits], random: object
) -> None:
    _, spent, _, _ = drawn
    positions = [
        Rounded(d.signal.symbol, d.signal.rank, d.quote.price, d.sizing)  # type: ignore[union-attr]
        for d in spent.decisions
        if d.sizing is not None
    ]
    shuffled = list(positions)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    cap = Decimal(10**9)

    def result(each: Sequence[Rounded]) -> dict[str, int]:
        spent = spend_leftover(each, cap=cap, allows=lambda _: True)
        return {one.symbol: one.sizing.shares for one in spent}

    assert result(positions) == result(shuffled)


def test_a_weight_that_enters_as_a_float_is_exact() -> None:
    sizing = size_position(decimal_of(0.29), Decimal(100), SizingPolicy(CAPITAL, CAPITAL))
    assert shortfall(sizing, Decimal(100)) == 0


@pytest.mark.parametrize("weight", [5e-324, 2.2250738585072014e-308, 3.2386200331233012e-168])
def test_the_smallest_weight_there_is_leaves_what_it_leaves(weight: float) -> None:
    rules = SizingRules(spends_leftover=True)
    base = a_policy()
    policy = evolve(base, sizing=evolve(base.sizing, rules=rules))
    weights, prices = [0.12345678901234567, weight], ["0.1234567890123456789012345", "0.0001"]
    signals = [a_signal(f"S{n}", each) for n, each in enumerate(weights)]
    quotes = [a_quote(f"S{n}", price) for n, price in enumerate(prices)]
    first, second = plan_orders(a_snapshot(signals, quotes, policy=policy), policy).decisions
    assert first.sizing is not None
    assert second.sizing is not None
    left = shortfall(first.sizing, Decimal(prices[0]))
    left = WIDE.add(left, shortfall(second.sizing, Decimal(prices[1])))
    assert 0 <= left < Decimal(prices[1])
