"""Netting and attribution, as pure functions; adversarial floats included."""

import math
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator_core.errors import MalformedReply
from orchestrator_core.identifiers import StrategyId, Symbol
from orchestrator_core.limits import Limits
from orchestrator_core.model import Contribution, Signal, SignalBatch
from orchestrator_core.netting import MAX_GROSS_OF_NET, Part, attribute, net_batches
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import OrderPlan, Snapshot
from orchestrator_core.record import decode_snapshot, encode_snapshot
from orchestrator_core.signals import check_batch
from orchestrator_core.sizing import SizingRules
from tests.unit.builders import (
    TODAY,
    a_batch,
    a_policy,
    a_quote,
    a_request,
    a_signal,
    a_snapshot,
)

NAMES = ("alpha", "beta", "gamma", "delta")
SYMBOLS = ("A", "B", "C", "D")
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
WEIGHTS = st.one_of(
    st.floats(-1, 1),
    # Far apart, next to nothing, and what nearly cancels.
    st.sampled_from([5e-324, -5e-324, 1e-300, 0.1 + 0.2, -0.3, 1 / 3, -1 / 3, 0.0, -0.0, 1.0]),
)
SHARES = st.integers(1, 250_000_000).map(lambda parts: Decimal(parts).scaleb(-9))


def a_part(name: str, share: str, weights: dict[str, float]) -> Part:
    signals = [a_signal(s, w, rank=rank) for rank, (s, w) in enumerate(weights.items(), start=1)]
    return Part(StrategyId(name), Decimal(share), a_batch(signals))


def a_contribution(name: str, weight: float, *, share: Decimal = Decimal(1)) -> Contribution:
    return Contribution(StrategyId(name), share, 0.01, 1, weight)


@st.composite
def batches(draw: st.DrawFn) -> SignalBatch:
    symbols = draw(st.permutations(SYMBOLS))[: draw(st.integers(0, 4))]
    return a_batch(
        [Signal(Symbol(s), draw(FLOATS), draw(st.integers(-3, 9)), draw(WEIGHTS)) for s in symbols]
    )


@st.composite
def parts(draw: st.DrawFn) -> list[Part]:
    """Draw one to four strategies whose shares sum to at most 1."""
    names = draw(st.permutations(NAMES))[: draw(st.integers(1, 4))]
    return [Part(StrategyId(name), draw(SHARES), draw(batches())) for name in names]


@st.composite
def contributions(draw: st.DrawFn) -> list[Contribution]:
    names = draw(st.permutations(NAMES))[: draw(st.integers(1, 4))]
    return [a_contribution(name, draw(WEIGHTS), share=draw(SHARES)) for name in names]


def refusal(*given_parts: Part) -> str:
    with pytest.raises(MalformedReply) as refused:
        net_batches(given_parts)
    assert (refused.value.port, refused.value.operation) == ("signals", "fetch")
    return refused.value.cause


def test_a_net_weight_is_the_sum_of_each_share_of_its_weight() -> None:
    net = net_batches(
        [
            a_part("momentum", "0.6", {"AAPL": 0.5, "KO": -0.25}),
            a_part("value", "0.4", {"KO": 0.5, "XOM": -0.1}),
        ]
    )
    assert [(each.symbol, each.rank, each.weight) for each in net.signals] == [
        ("AAPL", 1, Decimal("0.30")),
        ("KO", 2, Decimal("0.05")),
        ("XOM", 3, Decimal("-0.04")),
    ]
    ko = net.signals[1]
    assert [(each.strategy_id, each.weight) for each in ko.contributions] == [
        ("momentum", Decimal("-0.150")),
        ("value", Decimal("0.20")),
    ]
    assert (net.as_of_date, net.num_signals) == (TODAY, 3)


def test_a_forecast_is_weighed_by_shares_too() -> None:
    one, two = a_part("a", "0.5", {"X": 0.1}), a_part("b", "0.25", {"X": 0.1})
    [signal] = net_batches([one, two]).signals
    assert signal.predicted_return == 0.0075


def test_what_cancels_is_ranked_last_and_ties_go_by_symbol() -> None:
    net = net_batches(
        [
            a_part("a", "0.5", {"Z": 0.2, "B": -0.2, "Y": 0.2}),
            a_part("b", "0.5", {"Y": -0.2, "A": 0.2}),
        ]
    )
    assert [(each.symbol, each.rank) for each in net.signals] == [
        ("A", 1),
        ("B", 2),
        ("Z", 3),
        ("Y", 4),
    ]
    assert net.signals[3].weight == 0


def test_ranks_heed_every_digit() -> None:
    net = net_batches([a_part("a", "0.5", {"A": 0.4, "Z": 0.4}), a_part("b", "0.5", {"Z": 5e-324})])
    assert [each.symbol for each in net.signals] == ["Z", "A"]


def test_every_strategys_own_words_are_kept_with_its_share() -> None:
    own = evolve(a_batch([]), metadata={"model_version": "m7", "share": "mine"})
    net = net_batches([Part(StrategyId("b"), Decimal("1E-7"), own), a_part("a", "0.50", {})])
    assert net.metadata == {
        "strategies": {
            "a": {"model_version": "m1", "as_of_date": "2026-03-02", "share": "0.50"},
            "b": {"model_version": "m7", "share": "0.0000001"},
        }
    }
    assert list(net.metadata["strategies"]) == ["a", "b"]


def test_different_dates_refuse_the_net_and_are_named_by_strategy() -> None:
    late = Part(StrategyId("b"), Decimal("0.5"), a_batch([], as_of_date=TODAY - timedelta(days=1)))
    assert refusal(late, a_part("a", "0.5", {})) == (
        "the strategies answered for different dates: a for 2026-03-02, b for 2026-03-01"
    )


def test_a_net_that_cannot_be_kept_exactly_is_refused() -> None:
    share = Decimal(f"0.{'3' * 150}")
    part = Part(StrategyId("a"), share, a_batch([a_signal("X", 0.123456789012345)]))
    assert refusal(part) == "the sum for X has more digits than can be kept exactly"


def test_a_net_beyond_all_floats_is_refused() -> None:
    most = Signal(Symbol("X"), 1.7e308, 1, 0.1)
    one, two = (Part(StrategyId(name), Decimal(1), a_batch([most])) for name in "ab")
    assert refusal(one, two) == "the sum for X is beyond all numbers"


@pytest.mark.parametrize("share", ["0", "-0.1", "1.0000001", "NaN", "Infinity"])
def test_a_share_is_above_0_and_at_most_1(share: str) -> None:
    with pytest.raises(ValueError, match="share: expected a fraction above 0, at most 1"):
        a_part("a", share, {})


def test_there_is_one_part_a_strategy() -> None:
    for wrong in ([], [a_part("a", "0.5", {}), a_part("a", "0.5", {})]):
        with pytest.raises(ValueError, match="expected one a strategy"):
            net_batches(wrong)


@given(parts())
def test_a_net_is_the_exact_sum_of_what_each_strategy_puts_in(drawn: list[Part]) -> None:
    net = net_batches(drawn)
    for signal in net.signals:
        sent = sorted(
            (part.strategy_id, Fraction(part.share) * Fraction(Decimal(repr(each.target_weight))))
            for part in drawn
            for each in part.batch.signals
            if each.symbol == signal.symbol
        )
        kept = [(each.strategy_id, Fraction(each.weight)) for each in signal.contributions]
        assert kept == sent
        assert Fraction(signal.weight) == sum(weight for _, weight in sent)
        assert signal.target_weight == float(signal.weight)
        assert math.isfinite(signal.predicted_return)
    assert [each.rank for each in net.signals] == list(range(1, net.num_signals + 1))
    sizes = [each.weight.copy_abs() for each in net.signals]
    assert sizes == sorted(sizes, reverse=True)


@given(parts(), st.randoms(use_true_random=False))
def test_the_order_of_strategies_does_not_matter(drawn: list[Part], random: Any) -> None:
    shuffled = list(drawn)
    random.shuffle(shuffled)
    assert net_batches(shuffled) == net_batches(drawn)


def a_plan(batch: SignalBatch, *, rules: SizingRules | None = None) -> tuple[Snapshot, OrderPlan]:
    base = a_policy(limits=Limits(max_signal_weight=Decimal(9), max_side_weight=Decimal(9)))
    policy = base if rules is None else evolve(base, sizing=evolve(base.sizing, rules=rules))
    quotes = [a_quote(symbol, "37.13") for symbol in SYMBOLS]
    snapshot = evolve(a_snapshot([], quotes, policy=policy), batch=batch)
    check_batch(batch, a_request(SYMBOLS), policy.limits)
    return snapshot, plan_orders(snapshot, policy)


@given(batches())
def test_one_strategy_with_all_the_capital_is_traded_as_it_is_alone(alone: SignalBatch) -> None:
    netted = net_batches([Part(StrategyId("alpha"), Decimal(1), alone)])
    assert {each.symbol: each.weight for each in netted.signals} == {
        each.symbol: each.weight for each in alone.signals
    }
    assert {
        each.symbol: (each.target_weight, each.predicted_return) for each in netted.signals
    } == {each.symbol: (each.target_weight, each.predicted_return) for each in alone.signals}
    plans = [a_plan(batch)[1] for batch in (netted, alone)]
    decided = [
        {d.signal.symbol: (d.intent, d.sizing, d.skip, d.denial) for d in plan.decisions}
        for plan in plans
    ]
    assert decided[0] == decided[1]


@given(parts())
def test_every_net_within_the_limits_is_planned_and_derived_again(drawn: list[Part]) -> None:
    batch = net_batches(drawn)
    snapshot, plan = a_plan(batch, rules=SizingRules(spends_leftover=True))
    again = decode_snapshot(encode_snapshot(snapshot))
    assert again.batch == batch
    assert plan_orders(again, again.policy) == plan
    cap = snapshot.policy.sizing.max_position_size
    assert all(intent.qty * Decimal("37.13") <= cap for intent in plan.intents)


@pytest.mark.parametrize(
    ("qty", "weights", "shares"),
    [
        (100, {"a": 0.3, "b": 0.1}, {"a": 75, "b": 25}),
        (-100, {"a": -0.3, "b": -0.1}, {"a": -75, "b": -25}),
        (100, {"a": 0.3, "b": -0.1}, {"a": 150, "b": -50}),
        # A position that is made smaller: in the proportions of the net, with the order's sign.
        (-20, {"a": 0.3, "b": -0.1}, {"a": -30, "b": 10}),
        (7, {"a": 0.0, "b": 0.2}, {"a": 0, "b": 7}),
        # Ties by name; the largest remainder before the name.
        (1, {"b": 0.1, "a": 0.1}, {"a": 1, "b": 0}),
        (5, {"c": 0.1, "b": 0.1, "a": 0.1}, {"a": 2, "b": 2, "c": 1}),
        (10, {"a": 0.1, "b": 0.2, "c": 0.4}, {"a": 1, "b": 3, "c": 6}),
        (0, {"a": 0.3, "b": 0.1}, {"a": 0, "b": 0}),
        (50, {"a": 0.2, "b": -0.2}, {"a": 0, "b": 0}),
        (50, {"a": 0.0}, {"a": 0}),
        # Nearly canceled: the first within the bound, the others at it and beyond.
        (10, {"a": 0.5, "b": -0.499998}, {"a": 2_500_000, "b": -2_499_990}),
        (10, {"a": 0.5000005, "b": -0.4999995}, {"a": 0, "b": 0}),
        (10, {"a": 0.5, "b": -0.49999999999999994}, {"a": 0, "b": 0}),
    ],
)
def test_shares_are_given_back_in_proportion(
    qty: int, weights: dict[str, float], shares: dict[str, int]
) -> None:
    given_in = [a_contribution(name, weight) for name, weight in weights.items()]
    assert attribute(qty, given_in) == shares


def nearly_cancels(drawn: Iterable[Contribution]) -> bool:
    weights = [Fraction(each.weight) for each in drawn]
    return sum(map(abs, weights), Fraction()) >= MAX_GROSS_OF_NET * abs(sum(weights, Fraction()))


@given(contributions(), st.integers(-(10**15), 10**15))
def test_attributed_shares_sum_to_the_order_and_miss_by_less_than_one(
    drawn: list[Contribution], qty: int
) -> None:
    shares = attribute(qty, drawn)
    weights = {each.strategy_id: Fraction(each.weight) for each in drawn}
    net = sum(weights.values())
    assert shares.keys() == weights.keys()
    if nearly_cancels(drawn):
        assert set(shares.values()) == {0}
        return
    assert sum(shares.values()) == qty
    for name, weight in weights.items():
        assert abs(shares[name] - qty * weight / net) < 1
        assert weight or shares[name] == 0
        assert abs(shares[name]) <= MAX_GROSS_OF_NET * abs(qty)


@given(st.floats(0.01, 1), st.floats(0, 1e-8), st.integers(-(10**6), 10**6))
def test_strategies_that_nearly_cancel_are_given_nothing(
    weight: float, left: float, qty: int
) -> None:
    drawn = [a_contribution("a", weight), a_contribution("b", left - weight)]
    assert set(attribute(qty, drawn).values()) == {0}


@given(contributions(), st.integers(-(10**6), 10**6), st.randoms(use_true_random=False))
def test_attribution_knows_no_order_and_no_side(
    drawn: list[Contribution], qty: int, random: Any
) -> None:
    shuffled = list(drawn)
    random.shuffle(shuffled)
    shares = attribute(qty, drawn)
    assert attribute(qty, shuffled) == shares
    assert attribute(-qty, drawn) == {name: -each for name, each in shares.items()}
    mirrored = [evolve(each, target_weight=-each.target_weight) for each in drawn]
    assert attribute(qty, mirrored) == shares


@given(parts())
def test_every_order_of_a_netted_plan_is_given_back_whole(drawn: list[Part]) -> None:
    _, plan = a_plan(net_batches(drawn))
    assume(plan.intents)
    for decision in plan.decisions:
        if decision.intent is not None:
            shares = attribute(decision.intent.signed_qty, decision.signal.contributions)
            whole = 0 if nearly_cancels(decision.signal.contributions) else 1
            assert sum(shares.values()) == whole * decision.intent.signed_qty


def test_a_net_next_to_nothing_stays_what_it_is() -> None:
    parts_apart = [a_part("a", "0.5", {"X": 0.3}), a_part("b", "0.5", {"X": -0.1 - 0.2})]
    [signal] = net_batches(parts_apart).signals
    assert signal.weight == Decimal("-2E-17")
    assert signal.target_weight == -2e-17
