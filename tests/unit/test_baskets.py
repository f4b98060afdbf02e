"""What is sent together is within the basket's bounds, or none of it is sent."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_core.baskets import basket_of, first_basket_denial
from orchestrator_core.commits import IdempotencyKey, Lease, RunClosing
from orchestrator_core.driver import run_sync
from orchestrator_core.explaining import Step, StepName, explain
from orchestrator_core.identifiers import Symbol
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.limits import Limits, SessionRule
from orchestrator_core.model import Quote, Side
from orchestrator_core.money import ZERO
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import OrderPlan, SkipReason, Snapshot
from orchestrator_core.record import decode_snapshot, encode_snapshot
from orchestrator_core.recovery import recover_run
from orchestrator_core.runs import FailureKind, Run
from orchestrator_core.sizing import SizingRules
from orchestrator_entrypoints.answers import answer_run
from orchestrator_entrypoints.shown_runs import result_of
from orchestrator_entrypoints.wire import Refusal, RefusalError
from tests.unit.builders import a_policy, a_quote, a_signal, a_snapshot
from tests.unit.world import World

# At a price of 100 and a capital of 100,000: buys for 15,000, sells for 4,000.
WEIGHTS = {"A": 0.1, "B": 0.05, "C": -0.04}
CENT = Decimal("0.01")


def a_basket(
    weights: dict[str, float], limits: Limits, *, dry_run: bool = False, **rules: Any
) -> Snapshot:
    policy = a_policy(limits=limits)
    policy = evolve(policy, sizing=evolve(policy.sizing, rules=SizingRules(**rules)))
    signals = [a_signal(symbol, weight) for symbol, weight in weights.items()]
    quotes = [a_quote(symbol) for symbol in weights]
    return a_snapshot(signals, quotes, policy=policy, dry_run=dry_run)


def planned(snapshot: Snapshot) -> OrderPlan:
    return plan_orders(snapshot, snapshot.policy)


@pytest.mark.parametrize(
    ("name", "exposure", "said"),
    [
        ("long", 15_000, "MAX_BASKET_LONG long=15000 limit=14999.99"),
        ("short", 4_000, "MAX_BASKET_SHORT short=4000 limit=3999.99"),
        ("gross", 19_000, "MAX_BASKET_GROSS gross=19000 limit=18999.99"),
        ("net", 11_000, "MAX_BASKET_NET net=11000 limit=10999.99"),
    ],
)
def test_a_basket_is_sent_up_to_its_bound_and_not_beyond(
    name: str, exposure: int, said: str
) -> None:
    for beside, is_sent in ((CENT, True), (ZERO, True), (-CENT, False)):
        bounds: dict[str, Any] = {f"max_basket_{name}": exposure + beside}
        limits = Limits(**bounds)
        plan = planned(a_basket(WEIGHTS, limits))
        assert (plan.refusal is None) is is_sent
        assert len(plan.intents) == (3 if is_sent else 0)
        if not is_sent:
            assert {str(decision.denial) for decision in plan.decisions} == {said}


@pytest.mark.parametrize(("bound", "is_sent"), [(4, True), (3, True), (2, False)])
def test_a_run_sends_up_to_so_many_orders_or_none(bound: int, is_sent: bool) -> None:
    plan = planned(a_basket(WEIGHTS, Limits(max_orders_a_run=bound)))
    assert len(plan.intents) == (3 if is_sent else 0)
    if not is_sent:
        assert str(plan.refusal) == "MAX_ORDERS_A_RUN orders=3 limit=2"


@pytest.mark.parametrize(("bound", "is_sent"), [("11000", True), ("10999.99", False)])
def test_selling_beyond_buying_is_bounded_as_well(bound: str, is_sent: bool) -> None:
    weights = {symbol: -weight for symbol, weight in WEIGHTS.items()}
    plan = planned(a_basket(weights, Limits(max_basket_net=Decimal(bound))))
    assert (plan.refusal is None) is is_sent
    if not is_sent:
        assert str(plan.refusal) == "MAX_BASKET_NET net=-11000 limit=10999.99"


def test_what_is_denied_or_skipped_by_itself_is_not_in_the_basket() -> None:
    limits = Limits(restricted_symbols=frozenset({Symbol("A")}), max_basket_gross=Decimal(9_000))
    plan = planned(a_basket({**WEIGHTS, "D": 0.0}, limits))
    assert [intent.symbol for intent in plan.intents] == ["C", "B"]
    refused = planned(a_basket({**WEIGHTS, "D": 0.0}, evolve(limits, max_basket_gross=CENT)))
    assert [str(decision.denial or decision.skip).split()[0] for decision in refused.decisions] == [
        "RESTRICTED_SYMBOL",
        "MAX_BASKET_GROSS",
        "MAX_BASKET_GROSS",
        "zero_weight",
    ]


def test_a_run_without_orders_is_within_every_bound() -> None:
    limits = Limits(max_basket_gross=CENT, max_orders_a_run=1)
    assert planned(a_basket({"A": 0.0}, limits)).refusal is None


def test_a_dry_run_says_that_its_basket_would_be_refused() -> None:
    limits = Limits(max_basket_gross=Decimal(18_999))
    assert planned(a_basket(WEIGHTS, limits, dry_run=True)).refusal is not None
    within = planned(a_basket(WEIGHTS, Limits(max_basket_gross=Decimal(19_000)), dry_run=True))
    assert {decision.skip for decision in within.decisions} == {SkipReason.DRY_RUN}


def test_the_waterfall_ends_with_the_baskets_figures() -> None:
    snapshot = a_basket(WEIGHTS, Limits(max_basket_long=Decimal(14_000)))
    steps = explain(planned(snapshot).decisions[0], snapshot)
    assert [step.name for step in steps][-2:] == [StepName.ORDER, StepName.DENIED]
    assert steps[-1] == Step(
        StepName.DENIED, "MAX_BASKET_LONG", bound="14000", note="long=15000 limit=14000"
    )


def test_the_leftover_is_not_spent_where_that_breaks_the_baskets_bound() -> None:
    # 149 and 49 shares of 100, and 150 left: one more of the first.
    weights = {"A": 0.1499, "B": 0.0496}

    def quantities(bound: int) -> list[int]:
        limits = Limits(max_basket_long=Decimal(bound))
        plan = planned(a_basket(weights, limits, spends_leftover=True))
        return [intent.qty for intent in plan.intents]

    assert quantities(19_900) == [150, 49]
    assert quantities(19_899) == [149, 49]
    assert quantities(19_800) == [149, 49]
    assert quantities(19_799) == []


# The market


FRIDAY_CLOSE = datetime(2026, 3, 6, 21, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def at(time: datetime, rule: SessionRule, weights: dict[str, float] | None = None) -> Snapshot:
    snapshot = a_basket(weights or WEIGHTS, Limits(market_session=rule))
    quotes = [a_quote(quote.symbol, as_of=time) for quote in snapshot.quotes]
    return evolve(snapshot, decided_at=time, quotes=tuple(quotes))


def test_nothing_is_sent_while_the_market_is_closed_where_that_is_refused() -> None:
    open_still = planned(at(FRIDAY_CLOSE - SECOND, SessionRule.REFUSE))
    assert len(open_still.intents) == 3
    plan = planned(at(FRIDAY_CLOSE, SessionRule.REFUSE))
    assert plan.intents == ()
    assert {str(decision.denial) for decision in plan.decisions} == {
        "MARKET_CLOSED at=2026-03-06T21:00:00Z opens=2026-03-09T13:30:00Z"
    }


def test_a_run_without_orders_needs_no_market() -> None:
    limits = Limits(market_session=SessionRule.REFUSE)
    assert first_basket_denial(basket_of((), FRIDAY_CLOSE), limits) is None
    assert planned(at(FRIDAY_CLOSE, SessionRule.REFUSE, {"A": 0.0})).refusal is None


@pytest.mark.parametrize("rule", [SessionRule.OFF, SessionRule.WARN])
def test_a_closed_market_stops_nothing_where_it_is_not_refused(rule: SessionRule) -> None:
    assert len(planned(at(FRIDAY_CLOSE, rule)).intents) == 3


def test_the_waterfall_warns_of_a_closed_market() -> None:
    warned = Step(
        StepName.WARNED,
        "MARKET_CLOSED",
        note="at=2026-03-06T21:00:00Z opens=2026-03-09T13:30:00Z",
    )
    for time, rule, steps in (
        (FRIDAY_CLOSE, SessionRule.WARN, [warned]),
        (FRIDAY_CLOSE, SessionRule.OFF, []),
        (FRIDAY_CLOSE - SECOND, SessionRule.WARN, []),
    ):
        snapshot = at(time, rule)
        told = explain(planned(snapshot).decisions[0], snapshot)
        assert [step for step in told if step.name is StepName.WARNED] == steps
        assert told[-1].name is StepName.ORDER


def test_a_run_while_the_market_is_closed_fails_and_says_when_it_opens() -> None:
    world = World(WEIGHTS, clock=VirtualClock(FRIDAY_CLOSE))
    limits = evolve(world.policy.limits, market_session=SessionRule.REFUSE)
    world.policy = evolve(world.policy, limits=limits)
    run = world.run()
    assert run.status is RunStatus.FAILED
    assert run.failure is not None
    assert run.failure.kind is FailureKind.BASKET_REFUSED
    assert run.failure.message.endswith("opens=2026-03-09T13:30:00Z")
    assert world.sink.sent == []


# Runs


def hold_to(world: World, *, gross: int) -> None:
    limits = evolve(world.policy.limits, max_basket_gross=Decimal(gross))
    world.policy = evolve(world.policy, limits=limits)


def a_world(*, gross: int) -> World:
    world = World(WEIGHTS)
    hold_to(world, gross=gross)
    return world


REFUSED = "MAX_BASKET_GROSS gross=19000 limit=18999"


def assert_is_refused(run: Run) -> None:
    assert run.status is RunStatus.FAILED
    assert run.cause is not None
    assert (run.cause.kind, run.cause.message) == (FailureKind.BASKET_REFUSED, REFUSED)
    answer = answer_run(run)
    assert answer.status == 400
    assert isinstance(answer.body, RefusalError)
    assert isinstance(answer.body.detail, Refusal)
    assert (answer.body.detail.error, answer.body.detail.message) == ("Basket refused", REFUSED)
    assert answer.body.detail.run_id == run.run_id
    shown = result_of(run)
    assert (shown.status, shown.error_message) == ("failed", f"Basket refused: {REFUSED}")
    assert {mapping.skip_reason for mapping in shown.mappings} == {f"denied: {REFUSED}"}
    assert (shown.num_orders_submitted, shown.num_orders_rejected) == (0, 0)


def test_a_refused_basket_is_a_failed_run_that_sent_nothing() -> None:
    world = a_world(gross=18_999)
    run = world.run()
    assert_is_refused(run)
    assert run.failure == run.cause
    assert world.stored() == run
    assert set(world.states().values()) == {"denied"}
    assert world.sink.sent == []


def test_a_refused_basket_leaves_its_decision_and_its_key_free() -> None:
    world = a_world(gross=18_999)
    key = IdempotencyKey("k", "print")
    world.run(idempotency=key)
    hold_to(world, gross=19_000)
    again = world.run(idempotency=key)
    assert again.status is RunStatus.COMPLETED
    assert len(world.sink.sent) == 3


def test_a_refused_basket_is_no_success_to_whoever_takes_it_over() -> None:
    world = a_world(gross=18_999)

    class Dead(BaseException):
        pass

    class Dying:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.runs, name)

        async def close_run(self, _lease: Lease, _closing: RunClosing) -> Run:
            raise Dead

    ports = world.ports
    world.set_ports(runs=Dying())
    with pytest.raises(Dead):
        world.run()
    world.ports = ports
    assert world.stored().completed_at is None
    world.clock.advance(world.policy.lease_seconds)
    recovered = run_sync(recover_run(ports=world.ports, policy=world.policy))
    assert recovered is not None
    assert_is_refused(recovered.run)
    assert_is_refused(world.stored())
    assert world.stored().completed_at is not None
    assert world.sink.sent == []


# Whatever the basket


bounds = st.none() | st.decimals(min_value="0.01", max_value=200_000, places=2)


@st.composite
def baskets(draw: st.DrawFn) -> Snapshot:
    names = [f"S{n}" for n in range(draw(st.integers(0, 8)))]
    limits = Limits(
        max_orders_a_run=draw(st.none() | st.integers(1, 8)),
        max_basket_long=draw(bounds),
        max_basket_short=draw(bounds),
        max_basket_gross=draw(bounds),
        max_basket_net=draw(bounds),
        market_session=draw(st.sampled_from(SessionRule)),
        max_order_qty=draw(st.none() | st.integers(1, 2_000)),
    )
    policy = a_policy(limits=limits)
    rules = SizingRules(spends_leftover=draw(st.booleans()))
    policy = evolve(policy, sizing=evolve(policy.sizing, rules=rules))
    signals = [a_signal(name, draw(st.floats(-0.2, 0.2))) for name in names]
    prices = st.decimals(min_value="0.0001", max_value=5_000, places=4)
    quotes = [a_quote(name, str(draw(prices))) for name in names]
    return a_snapshot(signals, quotes, policy=policy, dry_run=draw(st.booleans()))


@given(baskets())
def test_no_more_is_sent_than_the_basket_may_hold(snapshot: Snapshot) -> None:
    plan, limits = planned(snapshot), snapshot.policy.limits
    prices = {quote.symbol: quote.price for quote in snapshot.quotes if isinstance(quote, Quote)}
    worth = {Side.BUY: Decimal(0), Side.SELL: Decimal(0)}
    for intent in plan.intents:
        worth[intent.side] += intent.qty * prices[intent.symbol]
    long, short = worth[Side.BUY], worth[Side.SELL]
    for exposure, bound in (
        (long, limits.max_basket_long),
        (short, limits.max_basket_short),
        (long + short, limits.max_basket_gross),
        (abs(long - short), limits.max_basket_net),
        (len(plan.intents), limits.max_orders_a_run),
    ):
        assert bound is None or exposure <= bound
    if plan.refusal is not None:
        assert plan.intents == ()


@given(baskets())
def test_a_refused_basket_is_derived_again_from_its_record(snapshot: Snapshot) -> None:
    again = decode_snapshot(encode_snapshot(snapshot))
    assert again == snapshot
    assert planned(again) == planned(snapshot)
