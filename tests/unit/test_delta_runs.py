"""Runs that depend on what is held: whole workflows over an account in memory."""

import gc
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from orchestrator_adapters.memory.positions import MemoryPositionSource
from orchestrator_adapters.memory.runs import MemoryRunRepository
from orchestrator_core.commits import ClaimAnswer, Lease, PlanCommit, PlanRecord, WaveClaim
from orchestrator_core.controlling import ControlAnswer, record_control
from orchestrator_core.controls import ControlEvent, ControlEventKind
from orchestrator_core.driver import run_sync
from orchestrator_core.errors import IllegalTransition, MalformedReply, TradingHalted, Unavailable
from orchestrator_core.halting import read_switch
from orchestrator_core.identifiers import StrategyId, Symbol
from orchestrator_core.kill_switch import Halted
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.model import OrderIntent, OrderReport, Position
from orchestrator_core.orders import Settlement
from orchestrator_core.ports import LookUp, LookUpKind, SubmitKind, SubmitOutcome
from orchestrator_core.recovery import recover_run
from orchestrator_core.runs import FailureKind, Run
from orchestrator_core.sizing import SizingMode, SizingRules
from orchestrator_core.stopping import OPERATOR
from orchestrator_core.tracking import follow_orders
from orchestrator_core.waves import WaveSender
from tests.unit.builders import a_batch, a_quote, a_signal
from tests.unit.world import Script, World, outcome

ALPHA = StrategyId("alpha")


def reported(intent: OrderIntent, status: str, filled: int) -> OrderReport:
    return OrderReport(status, intent.client_order_id, f"b-{intent.symbol}", Decimal(filled))


def takes(status: str, share: Decimal | int = 1) -> Script:
    """Return a gateway that takes an order, and has filled so much of it."""

    def answer(intent: OrderIntent) -> SubmitOutcome:
        report = reported(intent, status, int(intent.qty * share))
        return SubmitOutcome(intent.client_order_id, SubmitKind.ACCEPTED, report=report)

    return answer


def looks(intent: OrderIntent, status: str, filled: int) -> LookUp:
    report = reported(intent, status, filled)
    return LookUp(intent.client_order_id, LookUpKind.ACCEPTED, report=report)


class Account(MemoryPositionSource):
    """An account; something may happen just before it is looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[], None] = lambda: None
        self.error: Exception | None = None
        self.asked = 0

    async def positions(self) -> Any:
        self.asked += 1
        self.before()
        if self.error is not None:
            raise self.error
        return await super().positions()

    def hold(self, **held: int) -> None:
        self.put(Position(Symbol(symbol), qty) for symbol, qty in held.items())


def a_world(
    weights: dict[str, float], *, is_delta: bool = True, **rules: Any
) -> tuple[World, Account]:
    """Return a world whose gateway fills each order at once, unless scripted otherwise."""
    world, account = World(weights), Account()
    mode = SizingMode.DELTA if is_delta else SizingMode.ABSOLUTE
    world.policy = evolve(world.policy, sizing=SizingRules(mode=mode, **rules))
    world.set_ports(positions=account)
    for symbol in weights:
        world.script(symbol, takes("filled"))
    return world, account


def settle(world: World, account: Account) -> None:
    """Let every order that was sent be in the positions."""
    for intent in world.sink.sent:
        account.apply(intent)
    world.sink.waves.clear()


def sent(world: World) -> list[tuple[str, int, int]]:
    return [(i.symbol, i.leg, i.signed_qty) for i in world.sink.sent]


def limited(world: World, **limits: Any) -> None:
    world.policy = evolve(world.policy, limits=evolve(world.policy.limits, **limits))


def words(run: Run) -> dict[str, str | None]:
    return {order.signal.symbol: order.skip_reason for order in run.orders or ()}


def test_a_new_key_sends_only_the_difference_and_the_same_key_nothing() -> None:
    world, account = a_world({"A": 0.1, "B": -0.05})
    account.hold(A=40, B=-50)
    assert world.run(rebalance_key="1").status is RunStatus.COMPLETED
    assert sent(world) == [("A", 0, 60)]
    settle(world, account)
    again = [world.run(rebalance_key=key) for key in ("1", "2")]
    assert {run.status for run in again} == {RunStatus.COMPLETED}
    assert sent(world) == []
    assert words(again[-1]) == {"A": "at_target", "B": "at_target"}


def test_the_same_key_adopts_even_where_the_price_has_moved() -> None:
    world, account = a_world({"A": 0.1})
    first = world.run(rebalance_key="1")
    settle(world, account)
    world.refresh_prices("50")
    again = world.run(rebalance_key="1")
    assert sent(world) == []
    assert words(again) == {"A": f"already_ordered: run {first.run_id}"}
    assert world.run(rebalance_key="2").status is RunStatus.COMPLETED
    assert sent(world) == [("A", 0, 100)]


def test_what_was_asked_for_and_no_signal_names_is_closed_where_that_is_on() -> None:
    world, account = a_world({"A": 0.1, "Z": 0.1}, closes_absent=True)
    account.hold(A=100, Z=7, Y=5)
    world.signals.batch = a_batch([a_signal("A", 0.1)])
    world.prices.put([a_quote("Z")])
    run = world.run(rebalance_key="1")
    assert sent(world) == [("Z", 0, -7)]
    assert [order.signal.symbol for order in run.orders or ()] == ["A", "Z"]
    assert run.num_signals == 1


def test_an_empty_answer_closes_nothing() -> None:
    world, account = a_world({"A": 0.1}, closes_absent=True)
    account.hold(A=100)
    world.signals.batch = a_batch([])
    failure = world.run(rebalance_key="1").failure
    assert failure is not None
    assert failure.kind is FailureKind.SIGNALS_MALFORMED
    assert sent(world) == []


def test_an_open_order_counts_as_far_as_it_may_still_fill() -> None:
    world, account = a_world({"A": 0.1})
    world.script("A", takes("partially_filled", Decimal("0.4")))
    world.run(rebalance_key="1")
    [first] = world.sink.sent
    account.hold(A=40)
    world.sink.looks["A"] = [looks(first, "partially_filled", 40)]
    again = world.run(rebalance_key="2")
    assert words(again) == {"A": "at_target"}


def test_an_order_that_fills_while_it_is_looked_at_denies_its_symbol() -> None:
    world, account = a_world({"A": 0.2, "B": 0.1})
    world.script("A", takes("accepted", 0))
    world.run(rebalance_key="1")
    first = next(intent for intent in world.sink.sent if intent.symbol == "A")
    world.sink.looks["A"] = [looks(first, "accepted", 0), looks(first, "filled", first.qty)]
    account.hold(A=first.qty)
    again = world.run(rebalance_key="2")
    denied = f"denied: UNSETTLED_ORDER order={first.client_order_id} state=filling"
    assert words(again)["A"] == denied
    assert [symbol for symbol, *_ in sent(world)] == ["A", "B", "B"]


def test_an_order_that_the_gateway_is_not_clear_about_denies_its_symbol() -> None:
    world, _ = a_world({"A": 0.1})
    world.script("A", takes("accepted", 0))
    world.run(rebalance_key="1")
    [first] = world.sink.sent
    unclear = evolve(looks(first, "failed", 0), kind=LookUpKind.UNCLEAR)
    world.sink.looks["A"] = [unclear]
    again = world.run(rebalance_key="2")
    denied = f"denied: UNSETTLED_ORDER order={first.client_order_id} state=look-up unclear"
    assert words(again) == {"A": denied}


def test_an_unknown_order_denies_its_symbol() -> None:
    world, _ = a_world({"A": 0.1})
    world.script("A", outcome(SubmitKind.UNKNOWN, cause="timeout"))
    assert world.run(rebalance_key="1").status is RunStatus.RUNNING
    [first] = world.sink.sent
    again = world.run(rebalance_key="2")
    denied = f"denied: UNSETTLED_ORDER order={first.client_order_id} state=unknown"
    assert words(again) == {"A": denied}


@pytest.mark.parametrize(
    "error",
    [Unavailable("positions", "positions", "down"), MalformedReply("positions", "positions", "?")],
)
def test_without_positions_nothing_is_decided(error: Exception) -> None:
    world, account = a_world({"A": 0.1})
    account.error = error
    run = world.run(rebalance_key="1")
    assert run.failure is not None
    assert (run.status, run.failure.kind) == (RunStatus.FAILED, FailureKind.POSITIONS_UNAVAILABLE)
    world.set_ports(positions=None)
    unwired = world.run(rebalance_key="2").failure
    assert unwired is not None
    assert unwired.kind is FailureKind.POSITIONS_UNAVAILABLE
    assert sent(world) == []


# Flips


def test_the_second_leg_of_a_flip_goes_once_the_first_has_filled() -> None:
    world, account = a_world({"A": -0.1})
    account.hold(A=30)
    run = world.run(rebalance_key="1")
    assert [len(wave) for wave in world.sink.waves] == [1, 1]
    assert sent(world) == [("A", 0, -30), ("A", 1, -100)]
    assert run.status is RunStatus.COMPLETED
    settle(world, account)
    assert words(world.run(rebalance_key="2")) == {"A": "at_target"}


def test_the_second_leg_waits_until_the_gateway_says_that_the_first_is_filled() -> None:
    world, account = a_world({"A": -0.1})
    account.hold(A=30)
    world.script("A", takes("accepted", 0), takes("filled"))
    asked = []

    def fill_at_the_third_look(intent: OrderIntent) -> LookUp:
        asked.append(world.clock.monotonic())
        return looks(intent, "filled", 30) if len(asked) == 3 else looks(intent, "accepted", 0)

    world.sink.look = fill_at_the_third_look
    assert world.run(rebalance_key="1").status is RunStatus.COMPLETED
    assert sent(world) == [("A", 0, -30), ("A", 1, -100)]
    assert len(asked) == 3
    assert asked[0] < asked[1] < asked[2]


@pytest.mark.parametrize(
    ("first", "look", "why"),
    [
        (takes("accepted", 0), ("accepted", 0), "its first leg has not filled within 10 s"),
        (takes("accepted", 0), ("canceled", 0), "its first leg ended as canceled"),
        (takes("accepted", 0), ("filled", 29), "its first leg ended as filled"),
        (outcome(SubmitKind.REJECTED, cause="no"), None, "its first leg is rejected"),
        (outcome(SubmitKind.UNKNOWN, cause="?"), None, "its first leg is unknown"),
        (outcome(SubmitKind.NOT_PLACED, cause="no"), None, "its first leg is not_placed"),
    ],
)
def test_without_a_fill_of_the_first_leg_the_second_is_not_placed(
    first: Script, look: tuple[str, int] | None, why: str
) -> None:
    world, account = a_world({"A": -0.1})
    account.hold(A=30)
    world.script("A", first)
    if look is not None:
        world.sink.look = lambda intent: looks(intent, *look)
    run = world.run(rebalance_key="1")
    assert sent(world) == [("A", 0, -30)]
    [_, second] = run.orders or ()
    assert second.skip_reason == f"submission_failed: {why}"


def test_buys_go_after_second_legs_were_waited_for_and_a_halt_stops_the_wait() -> None:
    world, account = a_world({"A": -0.1, "B": 0.1})
    account.hold(A=30)
    world.script("A", takes("accepted", 0))

    def engage(intent: OrderIntent) -> LookUp:
        world.engage_shared()
        return looks(intent, "accepted", 0)

    world.sink.look = engage
    run = world.run(rebalance_key="1")
    assert sent(world) == [("A", 0, -30)]
    assert [order.state.value for order in run.orders or ()] == ["accepted", "halted", "halted"]


def test_recovery_sends_a_second_leg_by_the_same_rule() -> None:
    world, account = a_world({"A": -0.1})
    account.hold(A=30)
    world.script("A", takes("accepted", 0))
    world.sink.before = lambda: setattr(world, "stopping", False)
    broken = Unavailable("orders", "look_up", "gone")

    def die(_intent: OrderIntent) -> LookUp:
        raise SystemExit from broken

    world.sink.look = die
    with pytest.raises(SystemExit):
        world.run(rebalance_key="1")
    world.clock.advance(91)
    world.refresh_prices()
    world.sink.look = lambda intent: looks(intent, "filled", 30)
    recovered = run_sync(recover_run(ports=world.ports, policy=world.policy))
    assert recovered is not None
    # Its price is too old by then; were it not, it would go.
    [_, second] = recovered.run.orders or ()
    assert (second.skip_reason or "").startswith("submission_failed: price stale")
    assert sent(world) == [("A", 0, -30)]


# Books that move


def test_a_plan_that_comes_too_late_is_made_again() -> None:
    world, account = a_world({"A": 0.1})
    runs = []

    def trade_first() -> None:
        account.before = lambda: None
        runs.append(world.run(rebalance_key="other"))
        for intent in world.sink.sent:
            account.apply(intent)

    account.before = trade_first
    run = world.run(rebalance_key="1")
    # The first look was made before the other run's fill: deciding on it would have doubled it.
    assert account.asked == 3
    assert sent(world) == [("A", 0, 100)]
    assert words(run) == {"A": "at_target"}


def test_a_run_that_is_always_too_late_says_so() -> None:
    world, account = a_world({"A": 0.1, "B": 0.1})
    number = iter(range(100))

    def trade_first() -> None:
        account.before = lambda: None
        world.run(rebalance_key=f"other {next(number)}")
        account.before = trade_first

    account.before = trade_first
    run = world.run(rebalance_key="1")
    assert run.failure is not None
    assert (run.status, run.failure.kind) == (RunStatus.FAILED, FailureKind.BOOK_MOVED)
    assert run.orders is None


def test_the_days_exposure_holds_across_runs() -> None:
    world, _ = a_world({"A": 0.1}, is_delta=False)
    limited(world, max_day_gross=Decimal(20_000))
    for key in ("1", "2"):
        assert world.run(rebalance_key=key).status is RunStatus.COMPLETED
    refused = world.run(rebalance_key="3")
    assert refused.failure is not None
    assert refused.failure.kind is FailureKind.BASKET_REFUSED
    assert refused.failure.message == "MAX_DAY_GROSS gross=30000 limit=20000"
    # A decision that was made already adds nothing.
    assert world.run(rebalance_key="2").status is RunStatus.COMPLETED
    assert len(world.sink.sent) == 2


# References


def test_a_price_far_from_the_last_accepted_one_is_denied() -> None:
    world, _ = a_world({"A": 0.1}, is_delta=False)
    limited(world, price_band=Decimal("0.1"))
    assert world.run(rebalance_key="1").status is RunStatus.COMPLETED
    world.clock.advance(1)
    world.refresh_prices("111")
    denied = "denied: PRICE_BAND price=111 last_accepted=100 limit=0.1"
    assert words(world.run(rebalance_key="2")) == {"A": denied}
    limited(world, requires_reference=True)
    world.refresh_prices("110")
    assert world.run(rebalance_key="3").status is RunStatus.COMPLETED


# Controls


def turn(world: World, kind: ControlEventKind) -> ControlAnswer:
    event = ControlEvent(ALPHA, kind, world.clock.now(), "ops", "odd fills")
    answer = run_sync(
        record_control(
            event,
            kill_switch=world.kill_switch,
            runs=world.runs,
            clock=world.clock,
            wait_seconds=0.0,
        )
    )
    world.clock.advance(1)
    return answer


def test_reduce_only_mode_lets_only_reductions_go_until_it_is_turned_off() -> None:
    world, account = a_world({"A": 0.1, "B": -0.02}, is_delta=False)
    account.hold(B=20)
    turn(world, ControlEventKind.REDUCE_ONLY_ON)
    run = world.run(rebalance_key="1")
    assert sent(world) == [("B", 0, -20)]
    assert words(run)["A"] == "denied: REDUCE_ONLY position=0 on_order=0 qty=100"
    settle(world, account)
    turn(world, ControlEventKind.REDUCE_ONLY_OFF)
    world.refresh_prices()
    world.run(rebalance_key="2")
    assert ("A", 0, 100) in sent(world)


def test_reduce_only_mode_stops_a_run_under_way() -> None:
    world, _ = a_world({"A": 0.1, "B": 0.1}, is_delta=False)
    world.policy = evolve(world.policy, max_in_flight_orders=1)
    answers: list[ControlAnswer] = []
    world.sink.before = lambda: answers.append(turn(world, ControlEventKind.REDUCE_ONLY_ON))
    run = world.run()
    assert [order.state.value for order in run.orders or ()] == ["accepted", "halted"]
    # Trading itself goes on.
    reading = run_sync(read_switch(world.kill_switch, world.runs))
    assert not isinstance(reading.verdict, Halted)


def test_reduce_only_mode_that_cannot_stop_runs_is_refused_and_not_recorded() -> None:
    world, _ = a_world({"A": 0.1}, is_delta=False)
    run_sync(world.kill_switch.stamp(run_sync(world.kill_switch.read()), latch_epoch=77))  # type: ignore[arg-type]
    with pytest.raises(TradingHalted, match="cannot be stopped"):
        turn(world, ControlEventKind.REDUCE_ONLY_ON)
    assert not run_sync(world.runs.read_controls(ALPHA, count_failures=0)).reduce_only


def test_reduce_only_mode_may_be_turned_on_while_trading_is_stopped() -> None:
    world, _ = a_world({"A": 0.1}, is_delta=False)
    world.engage_latch()
    turn(world, ControlEventKind.REDUCE_ONLY_ON)
    assert run_sync(world.runs.read_controls(ALPHA, count_failures=0)).reduce_only


def test_reduce_only_mode_says_what_is_still_on_its_way() -> None:
    world, _ = a_world({"A": 0.1, "B": 0.1}, is_delta=False)
    answers: list[ControlAnswer] = []
    world.sink.before = lambda: answers.append(turn(world, ControlEventKind.REDUCE_ONLY_ON))
    world.run()
    [answer] = answers
    assert (answer.drained, len(answer.in_flight)) == (False, 2)
    assert turn(world, ControlEventKind.REDUCE_ONLY_ON) == ControlAnswer()


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"reduce_only": True}, "REDUCE_ONLY position=unknown"),
        ({"restricted_symbols": frozenset({Symbol("B")})}, "RESTRICTED_SYMBOL symbol=B"),
        ({"max_order_qty": 99}, "MAX_ORDER_QTY qty=100 limit=99"),
    ],
)
def test_a_takeover_sends_nothing_that_the_limits_of_today_deny(
    limits: dict[str, Any], words: str
) -> None:
    world, _ = a_world({"A": 0.1, "B": 0.1}, is_delta=False)
    world.policy = evolve(world.policy, max_in_flight_orders=1)
    limited(world, max_price_age_seconds=300.0)

    def die() -> None:
        raise SystemExit

    world.sink.before = die
    with pytest.raises(SystemExit):
        world.run()
    world.clock.advance(91)
    world.sink.before = lambda: None
    limited(world, **limits)
    recovered = run_sync(recover_run(ports=world.ports, policy=world.policy))
    assert recovered is not None
    [_, second] = recovered.run.orders or ()
    denied = f"submission_failed: taken over, and not sent: denied by now: {words}"
    assert second.skip_reason == denied
    assert [symbol for symbol, *_ in sent(world)] == ["A"]


def test_failed_runs_in_a_row_need_a_re_arming() -> None:
    world, _ = a_world({"A": 0.1}, is_delta=False)
    world.policy = evolve(world.policy, max_failed_runs=2)
    world.signals.error = Unavailable("signals", "fetch", "down")
    for _ in range(2):
        failure = world.run().failure
        assert failure is not None
        assert failure.kind is FailureKind.SIGNALS_UNAVAILABLE
        world.clock.advance(1)
    world.signals.error = None
    throttled = world.run().failure
    assert throttled is not None
    assert throttled.kind is FailureKind.THROTTLED
    assert "2 runs in a row failed" in throttled.message
    assert world.run(dry_run=True).status is RunStatus.COMPLETED
    assert sent(world) == []
    world.clock.advance(1)
    turn(world, ControlEventKind.REARMED)
    world.refresh_prices()
    assert world.run().status is RunStatus.COMPLETED
    assert sent(world) == [("A", 0, 100)]


# Sent against planned


def is_engaged_by_us(world: World) -> bool:
    state, latch = run_sync(world.kill_switch.read()), run_sync(world.runs.read_latch())
    assert state is not None
    assert latch is not None
    return latch.engaged and state.engaged_by == OPERATOR


def test_more_filled_than_was_planned_engages_the_kill_switch() -> None:
    world, _ = a_world({"A": 0.1}, is_delta=False)
    world.script("A", takes("filled", 2))
    run = world.run()
    assert run.status is RunStatus.COMPLETED
    assert is_engaged_by_us(world)
    state = run_sync(world.kill_switch.read())
    [intent] = world.sink.sent
    assert state is not None
    assert state.engagement_reason == (
        f"surplus: {intent.client_order_id}: planned 100, filled 200"
    )


def test_as_much_filled_as_was_planned_engages_nothing() -> None:
    world, _ = a_world({"A": 0.1}, is_delta=False)
    assert world.run().status is RunStatus.COMPLETED
    assert not is_engaged_by_us(world)


def test_following_finds_a_surplus_too() -> None:
    world, _ = a_world({"A": 0.1}, is_delta=False)
    world.script("A", takes("accepted", 0))
    world.run()
    world.clock.advance(120)
    world.sink.look = lambda intent: looks(intent, "filled", 101)
    found = run_sync(follow_orders(sink=world.sink, runs=world.runs, strategy_id=ALPHA))
    assert found.surplus is not None
    assert str(found.surplus).endswith("planned 100, filled 101")


@pytest.mark.parametrize("later", [False, True])
def test_more_to_be_sent_than_was_planned_is_not_sent_and_engages_the_kill_switch(
    later: bool,
) -> None:
    world, _ = a_world({"A": 0.1}, is_delta=False)
    world.policy = evolve(world.policy, max_in_flight_orders=1)

    def give_out_again() -> None:
        [sender] = [each for each in gc.get_objects() if isinstance(each, WaveSender)]
        [order] = sender.holder.book.orders.values()
        sender._pending.append(order.intent)  # type: ignore[arg-type]  # noqa: SLF001 - the fault
        world.sink.before = lambda: None

    class Twice(MemoryRunRepository):
        """A fault of ours: an order that was claimed is given out once more."""

        async def commit_plan(
            self, lease: Lease, record: PlanRecord, claim: WaveClaim | None
        ) -> PlanCommit:
            commit = await super().commit_plan(lease, record, claim)
            if not later:
                give_out_again()
            return commit

        async def commit_wave(
            self, lease: Lease, settlements: Sequence[Settlement], claim: WaveClaim | None
        ) -> ClaimAnswer:
            answer = await super().commit_wave(lease, settlements, claim)
            return answer if claim is None else ClaimAnswer(claim.client_order_ids)

    if later:
        world.sink.before = give_out_again
    runs = Twice(world.clock, latch=run_sync(world.runs.read_latch()))
    world.runs = world.sink.runs = runs
    world.set_ports(runs=runs)
    with pytest.raises(IllegalTransition, match="more than was planned"):
        world.run()
    assert sent(world) == ([("A", 0, 100)] if later else [])
    assert is_engaged_by_us(world)
