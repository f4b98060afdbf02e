"""What recovery does with a run that nobody holds any more."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from orchestrator_core.commits import TAKEN_OVER, IdempotencyKey
from orchestrator_core.driver import run_sync
from orchestrator_core.errors import Conflict, OutcomeUnknown, PortError, Unavailable
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.model import OrderIntent, SafetyFlags
from orchestrator_core.ports import LookUp, LookUpKind, SubmitKind
from orchestrator_core.recovery import LOOKS_AT_ONCE, Recovered, recover_run
from orchestrator_core.runs import FailureKind, Run, RunFailure
from tests.unit.world import World, accepted, outcome

LIVE = SafetyFlags(dry_run=False, alpaca_paper=False, circuit_breaker_enabled=True)


class Dead(BaseException):
    """The process ends here: nothing of the core may catch it."""


def dies() -> None:
    raise Dead


def a_world(*, waves_of: int = 32, lease_seconds: float = 20.0, **weights: float) -> World:
    world = World(weights or {"A": 0.1})
    world.policy = evolve(
        world.policy,
        lease_seconds=lease_seconds,
        max_in_flight_orders=waves_of,
        unresolved_after_seconds=60.0,
    )
    # The gateway was seen to keep our ids.
    world.run(rebalance_key="before")
    world.sink.waves.clear()
    return world


def recover(world: World) -> Recovered | None:
    return run_sync(recover_run(ports=world.ports, policy=world.policy))


def recovered(world: World) -> Recovered:
    found = recover(world)
    assert found is not None
    return found


def crash_when(world: World, crash: Callable[[], None] = dies) -> None:
    """Let the process die with its first wave claimed, before anything of it is sent."""
    world.sink.before = crash
    with pytest.raises(Dead):
        world.run()
    world.sink.before = lambda: None
    world.sink.waves.clear()


def lease_ends(world: World) -> None:
    world.clock.advance(world.policy.lease_seconds)


def lost_answer(world: World) -> Run:
    """Make a run whose only order's answer is lost."""
    world.script("A", outcome(SubmitKind.UNKNOWN, cause="reset"))
    run = world.run()
    world.sink.scripts.clear()
    world.sink.looks["A"] = [found(world, LookUpKind.ABSENT, cause="no such order")]
    assert run.status is RunStatus.RUNNING
    return run


def states(run: Run) -> dict[str, str]:
    return {order.signal.symbol: str(order.state) for order in run.orders or ()}


def test_nothing_is_due_while_a_lease_runs() -> None:
    world = a_world()
    crash_when(world)
    assert recover(world) is None
    lease_ends(world)
    assert recover(world) is not None


def test_a_run_without_a_plan_is_abandoned_and_frees_its_key() -> None:
    world = a_world()
    key = IdempotencyKey("k", "body")

    class Fatal:
        async def quotes(self, _symbols: object) -> None:
            raise Dead

    world.set_ports(prices=Fatal())
    with pytest.raises(Dead):
        world.run(idempotency=key)
    world.set_ports(prices=world.prices)
    with pytest.raises(Conflict):
        world.run(idempotency=key)
    lease_ends(world)
    run = recovered(world).run
    assert run.status is RunStatus.FAILED
    assert run.failure is not None
    assert run.failure.kind is FailureKind.ABANDONED
    assert run.completed_at is not None
    assert not world.sink.sent
    assert world.run(idempotency=key).status is RunStatus.COMPLETED


def test_what_was_being_sent_is_looked_up_before_anything_else() -> None:
    world = a_world()
    crash_when(world)
    lease_ends(world)
    world.sink.looks["A"] = [found(world)]
    run = recovered(world).run
    assert states(run) == {"A": "accepted"}
    assert run.status is RunStatus.COMPLETED
    assert not world.sink.sent


def found(world: World, kind: LookUpKind = LookUpKind.ACCEPTED, **details: object) -> LookUp:
    intent = next(o.intent for o in world.stored(2).orders or () if o.intent is not None)
    report = accepted(intent, status="accepted").report if kind is LookUpKind.ACCEPTED else None
    return LookUp(intent.client_order_id, kind, report=report, **details)  # type: ignore[arg-type]


def test_what_the_gateway_does_not_have_is_sent_again_with_the_same_bytes() -> None:
    world = a_world()
    crash_when(world)
    [before] = [order.intent for order in world.stored(2).orders or ()]
    lease_ends(world)
    world.refresh_prices("250")
    found = recovered(world)
    assert found.resent == 1
    assert world.sink.sent == [before]
    assert states(found.run) == {"A": "accepted"}


def test_an_order_in_doubt_is_looked_for_again_and_again_until_its_time_is_up() -> None:
    world = a_world()
    lost_answer(world)
    world.clock.advance(31)
    seconds, looks = 31.0, 0
    while world.stored(2).orders[0].state == "unknown":  # type: ignore[index]
        looks += recover(world) is not None
        world.clock.advance(1)
        seconds += 1
        assert seconds < 100
    assert 3 <= looks <= 12
    order = (world.stored(2).orders or ())[0]
    assert str(order.state) == "unresolved"
    assert order.reason is not None
    assert order.reason.startswith("reset; at the gateway for 60 s: ")
    assert world.stored(2).status is RunStatus.RUNNING


def test_the_order_that_is_left_to_an_operator_is_told() -> None:
    world = a_world()
    lost_answer(world)
    world.clock.advance(61)
    found = recovered(world)
    assert [str(each.state) for each in found.unresolved] == ["unresolved"]
    assert found.settled == ()


def test_a_late_look_still_settles_what_was_left_to_an_operator() -> None:
    world = a_world()
    lost_answer(world)
    world.clock.advance(61)
    recover(world)
    assert recover(world) is None
    world.sink.looks["A"] = [found(world)]
    world.clock.advance(300)
    assert states(recovered(world).run) == {"A": "accepted"}


def test_a_contradicting_record_is_a_conflict_and_never_sent_again() -> None:
    world = a_world()
    crash_when(world)
    lease_ends(world)
    world.sink.looks["A"] = [found(world, LookUpKind.CONFLICT, cause="qty is 7, sent was 10")]
    run = recovered(world).run
    assert states(run) == {"A": "conflict"}
    assert run.status is RunStatus.RUNNING
    assert not world.sink.sent
    world.clock.advance(1_000)
    assert recover(world) is None


@pytest.mark.parametrize("kind", [LookUpKind.UNCLEAR, LookUpKind.UNANSWERED])
def test_no_other_answer_lets_an_order_be_sent_again(kind: LookUpKind) -> None:
    world = a_world()
    crash_when(world)
    lease_ends(world)
    world.sink.looks["A"] = [found(world, kind, cause="odd")]
    assert states(recovered(world).run) == {"A": "unknown"}
    assert not world.sink.sent


def test_a_price_that_is_stale_by_now_is_not_sent_on_again() -> None:
    world = a_world(lease_seconds=31.0)
    crash_when(world)
    lease_ends(world)
    assert states(recovered(world).run) == {"A": "unknown"}
    assert not world.sink.sent


def test_a_clock_set_back_makes_no_stale_price_fresh() -> None:
    world = a_world(lease_seconds=31.0)
    crash_when(world)
    lease_ends(world)
    began = world.clock.now()
    world.ports = evolve(world.ports, clock=Behind(world))
    assert states(recovered(world).run) == {"A": "unknown"}
    assert not world.sink.sent
    assert world.clock.now() == began


class Behind:
    """A replica's clock that runs half a minute behind the database's."""

    def __init__(self, world: World) -> None:
        self._clock = world.clock

    def now(self) -> datetime:
        return self._clock.now() - timedelta(seconds=30)

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


def test_nothing_is_sent_again_while_the_switch_is_engaged() -> None:
    world = a_world()
    crash_when(world)
    world.engage_shared()
    lease_ends(world)
    assert states(recovered(world).run) == {"A": "unknown"}
    assert not world.sink.sent


def test_nothing_is_sent_again_to_a_gateway_that_was_never_seen_to_keep_our_ids() -> None:
    world = World({"A": 0.1})
    world.policy = evolve(world.policy, lease_seconds=20.0)
    crash_when(world)
    lease_ends(world)
    assert [str(o.state) for o in recovered(world).run.orders or ()] == ["unknown"]
    assert not world.sink.sent


def test_what_was_planned_and_not_sent_goes_on() -> None:
    world = a_world(waves_of=1, A=0.1, B=0.2)
    crash_when(world)
    lease_ends(world)
    run = recovered(world).run
    assert states(run) == {"A": "accepted", "B": "accepted"}
    assert [intent.symbol for intent in world.sink.sent] == ["A", "B"]


def test_what_was_planned_is_halted_under_an_engaged_switch() -> None:
    world = a_world(waves_of=1, A=0.1, B=0.2)
    crash_when(world)
    world.engage_shared()
    lease_ends(world)
    run = recovered(world).run
    assert states(run) == {"A": "unknown", "B": "halted"}


def test_what_was_planned_on_stale_prices_is_not_placed() -> None:
    world = a_world(waves_of=1, lease_seconds=40.0, A=0.1, B=0.2)
    crash_when(world)
    lease_ends(world)
    assert states(recovered(world).run) == {"A": "unknown", "B": "not_placed"}


@pytest.mark.parametrize("changed", [{"claimed_flags": LIVE}, {"environment": "production"}])
def test_a_plan_for_another_world_is_not_sent_into_this_one(changed: dict[str, Any]) -> None:
    world = a_world(waves_of=1, A=0.1, B=0.2)
    crash_when(world)
    lease_ends(world)
    world.policy = evolve(world.policy, **changed)
    world.sink.flags = LIVE
    assert states(recovered(world).run) == {"A": "unknown", "B": "not_placed"}
    assert not world.sink.sent


def test_a_gateway_that_is_less_safe_than_we_claim_is_sent_nothing() -> None:
    world = a_world(waves_of=1, A=0.1, B=0.2)
    crash_when(world)
    lease_ends(world)
    world.sink.flags = LIVE
    assert states(recovered(world).run) == {"A": "unknown", "B": "not_placed"}
    assert not world.sink.sent


@pytest.mark.parametrize(
    ("kind", "state"),
    [
        (SubmitKind.ACCEPTED, "accepted"),
        (SubmitKind.CONFLICT, "conflict"),
        (SubmitKind.REJECTED, "unknown"),
        (SubmitKind.NOT_PLACED, "unknown"),
        (SubmitKind.DEFERRED, "unknown"),
        (SubmitKind.UNKNOWN, "unknown"),
    ],
)
def test_only_the_gateways_record_settles_a_second_try(kind: SubmitKind, state: str) -> None:
    world = a_world()
    crash_when(world)
    lease_ends(world)

    def answer(intent: OrderIntent) -> object:
        return accepted(intent) if kind is SubmitKind.ACCEPTED else outcome(kind)(intent)

    world.script("A", answer)  # type: ignore[arg-type]
    assert states(recovered(world).run) == {"A": state}
    assert len(world.sink.sent) == 1


def test_a_gateway_that_stops_the_run_stops_recovery_too() -> None:
    world = a_world(waves_of=1, A=0.1, B=0.2)
    crash_when(world)
    lease_ends(world)
    world.script("A", outcome(SubmitKind.NOT_PLACED, stops_run=True, cause="HTTP 401"))
    assert states(recovered(world).run) == {"A": "unknown", "B": "not_placed"}
    assert [intent.symbol for intent in world.sink.sent] == ["A"]


def test_the_lease_is_kept_while_many_orders_are_looked_up() -> None:
    names = {f"S{n}": 0.001 for n in range(3 * LOOKS_AT_ONCE)}
    world = a_world(waves_of=1_000, lease_seconds=30.0, **names)
    crash_when(world)
    lease_ends(world)
    look_up = world.sink.look_up

    class Slow:
        def __getattr__(self, name: str) -> object:
            return getattr(world.sink, name)

        async def look_up(self, inquiries: object) -> object:
            world.clock.advance(19)
            assert run_sync(world.runs.backlog()).runs_due == 0
            return await look_up(inquiries)  # type: ignore[arg-type]

    world.set_ports(sink=Slow())
    found = recovered(world)
    assert not found.lost
    assert len(world.sink.looked_up) == 3 * LOOKS_AT_ONCE


def test_a_taker_that_was_overtaken_says_so_and_changes_nothing() -> None:
    world = a_world()
    crash_when(world)
    lease_ends(world)
    look_up = world.sink.look_up

    class Overtaken:
        def __getattr__(self, name: str) -> object:
            return getattr(world.sink, name)

        async def look_up(self, inquiries: object) -> object:
            lease_ends(world)
            assert (
                await world.runs.take_run(world.policy.strategy_id, lease_seconds=20.0) is not None
            )
            return await look_up(inquiries)  # type: ignore[arg-type]

    world.set_ports(sink=Overtaken())
    world.sink.looks["A"] = [found(world)]
    assert recovered(world).lost
    assert world.states(2) == {"A": "unknown"}


def test_the_words_of_an_order_that_was_taken_over_say_so() -> None:
    world = a_world()
    crash_when(world)
    lease_ends(world)
    world.sink.looks["A"] = [found(world, LookUpKind.UNANSWERED, cause="down")]
    [order] = recovered(world).run.orders or ()
    assert (order.order_status, order.skip_reason) == ("unknown", f"outcome_unknown: {TAKEN_OVER}")


def test_a_client_is_not_told_that_nothing_was_sent_while_a_plan_may_stand() -> None:
    world = a_world()

    class Losing:
        """Commits a plan, loses the answer, and is gone from then on."""

        def __init__(self) -> None:
            self.is_gone = False

        def __getattr__(self, name: str) -> object:
            if self.is_gone:
                return self._refuse
            return getattr(world.runs, name)

        async def _refuse(self, *_arguments: object, **_named: object) -> None:
            raise Unavailable("runs", "any", "gone")

        async def commit_plan(self, *arguments: object) -> object:
            if self.is_gone:
                raise Unavailable("runs", "commit_plan", "gone")
            await world.runs.commit_plan(*arguments)  # type: ignore[arg-type]
            self.is_gone = True
            raise OutcomeUnknown("runs", "commit_plan", "no answer")

    world.set_ports(runs=Losing())
    run = world.run()
    assert run.status is RunStatus.RUNNING
    assert run.failure is None


def test_a_run_that_was_refused_is_closed_as_such() -> None:
    world = a_world()

    class Failing:
        def __getattr__(self, name: str) -> object:
            return getattr(world.runs, name)

        async def commit_plan(self, *_arguments: object) -> object:
            raise Unavailable("runs", "commit_plan", "gone")

    world.set_ports(runs=Failing())
    with pytest.raises(PortError):
        world.run()
    stored = world.stored(2)
    assert stored.failure == RunFailure(FailureKind.DATABASE_UNAVAILABLE, "gone")
    assert stored.status is RunStatus.FAILED
