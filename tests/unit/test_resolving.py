"""What an operator may say of an order that waits for one."""

from collections.abc import Sequence
from datetime import datetime

import pytest
from attrs import evolve, frozen

from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_core.commits import OpenOrder
from orchestrator_core.driver import run_sync
from orchestrator_core.errors import InvalidRequest, Unavailable
from orchestrator_core.holding import FIRST_LOOK_SECONDS
from orchestrator_core.identifiers import ClientOrderId, StrategyId
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.model import OrderReport
from orchestrator_core.ports import LookUp, LookUpKind, RunRepository, SubmitKind
from orchestrator_core.recovery import recover_run
from orchestrator_core.resolving import Resolution, resolve_order
from orchestrator_core.runs import Run
from tests.unit.world import World, outcome

S = OrderState


@frozen
class DyingClock:
    """Ends the process where it is to wait."""

    inner: VirtualClock

    def now(self) -> datetime:
        return self.inner.now()

    def monotonic(self) -> float:
        return self.inner.monotonic()

    async def sleep(self, seconds: float) -> None:
        raise KeyboardInterrupt


@frozen
class SeenBefore:
    """A run database whose open orders were read before what happened since."""

    inner: RunRepository
    seen: Sequence[OpenOrder]

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    async def open_orders(self) -> Sequence[OpenOrder]:
        return self.seen


def waiting_world(*, conflict: bool = False, others: int = 0) -> World:
    """Return a world whose first order waits for an operator."""
    weights = {"A": 0.1} | {f"B{n}": 0.1 for n in range(others)}
    world = World(weights)
    kind = SubmitKind.CONFLICT if conflict else SubmitKind.UNKNOWN
    world.script("A", outcome(kind, cause="odd"))
    world.run()
    world.sink.scripts.clear()
    look(world, LookUpKind.ABSENT)
    world.clock.advance(world.policy.unresolved_after_seconds)
    run_sync(recover_run(ports=world.ports, policy=world.policy))
    assert world.states()["A"] == ("conflict" if conflict else "unresolved")
    return world


def id_of(world: World) -> ClientOrderId:
    intent = (world.stored().orders or ())[0].intent
    assert intent is not None
    return intent.client_order_id


def look(world: World, kind: LookUpKind, status: str | None = None) -> None:
    report = None if status is None else OrderReport(status, id_of(world), "b-1")
    world.sink.looks["A"] = [LookUp(id_of(world), kind, report=report, cause="looked")]


def resolve(world: World, state: OrderState, **details: object) -> Run:
    resolution = Resolution(id_of(world), state, operator="ann", evidence="statement 7")
    resolution = evolve(resolution, **details)  # type: ignore[arg-type]
    return run_sync(resolve_order(resolution, ports=world.ports, policy=world.policy))


@pytest.mark.parametrize("conflict", [False, True])
@pytest.mark.parametrize("state", [S.REJECTED, S.NOT_PLACED])
def test_an_order_is_closed_with_who_said_so_and_why(state: OrderState, conflict: bool) -> None:
    world = waiting_world(conflict=conflict)
    run = resolve(world, state)
    [order] = run.orders or ()
    assert order.state is state
    assert order.reason == "closed by ann: statement 7"
    assert run.status is RunStatus.FAILED
    assert run.completed_at is not None


def test_an_accepted_order_takes_the_gateways_word_where_it_has_one() -> None:
    world = waiting_world()
    look(world, LookUpKind.ACCEPTED, "filled")
    run = resolve(world, S.ACCEPTED)
    [order] = run.orders or ()
    assert (order.state, order.order_status) == (S.ACCEPTED, "filled")
    assert run.status is RunStatus.COMPLETED
    assert run.tally.filled == 1


def test_an_accepted_order_that_the_gateway_does_not_show_needs_the_brokers_id() -> None:
    world = waiting_world()
    with pytest.raises(InvalidRequest, match="broker_order_id"):
        resolve(world, S.ACCEPTED)
    [order] = resolve(world, S.ACCEPTED, broker_order_id="b-9").orders or ()
    assert order.report is not None
    assert (order.order_status, order.report.broker_order_id) == ("accepted", "b-9")


def test_an_order_accepted_by_hand_is_followed_from_then_on() -> None:
    world = waiting_world()
    resolve(world, S.ACCEPTED, broker_order_id="b-9")
    world.clock.advance(2)
    taken = run_sync(world.runs.take_followed(world.policy.strategy_id, limit=9, hold_seconds=30.0))
    assert [order.intent.client_order_id for order in taken] == [id_of(world)]


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        (LookUpKind.ACCEPTED, "filled", S.NOT_PLACED),
        (LookUpKind.ACCEPTED, "filled", S.REJECTED),
        (LookUpKind.REJECTED, "rejected", S.ACCEPTED),
        (LookUpKind.REJECTED, "rejected", S.NOT_PLACED),
    ],
)
def test_the_gateways_own_record_is_not_overruled(
    kind: LookUpKind, status: str, said: OrderState
) -> None:
    world = waiting_world()
    look(world, kind, status)
    with pytest.raises(InvalidRequest, match=f"on record as .* \\({status}\\)"):
        resolve(world, said)
    assert world.states() == {"A": "unresolved"}


@pytest.mark.parametrize("state", [S.ACCEPTED, S.REJECTED, S.NOT_PLACED])
def test_a_word_that_the_gateway_cannot_be_asked_about_counts_only_where_that_is_said(
    state: OrderState,
) -> None:
    world = waiting_world()
    look(world, LookUpKind.UNANSWERED)
    broker_order_id = "b-9" if state is S.ACCEPTED else None
    with pytest.raises(Unavailable) as caught:
        resolve(world, state, broker_order_id=broker_order_id)
    assert (caught.value.port, caught.value.cause) == ("orders", "looked")
    assert world.states() == {"A": "unresolved"}
    # The run was given back.
    run = resolve(world, state, broker_order_id=broker_order_id, stands_unasked=True)
    [order] = run.orders or ()
    assert order.state is state
    assert order.reason == "closed by ann, the gateway not asked: statement 7"


@pytest.mark.parametrize("kind", [LookUpKind.ABSENT, LookUpKind.UNCLEAR, LookUpKind.CONFLICT])
def test_a_gateway_that_answers_was_asked_whatever_was_allowed(kind: LookUpKind) -> None:
    world = waiting_world()
    look(world, kind)
    [order] = resolve(world, S.REJECTED, stands_unasked=True).orders or ()
    assert order.reason == "closed by ann: statement 7"


def test_no_permission_overrules_the_gateways_own_record() -> None:
    world = waiting_world()
    look(world, LookUpKind.ACCEPTED, "filled")
    with pytest.raises(InvalidRequest, match="on record as accepted"):
        resolve(world, S.NOT_PLACED, stands_unasked=True)


def test_a_refused_word_leaves_the_run_to_be_looked_at_again() -> None:
    world = waiting_world()
    look(world, LookUpKind.ACCEPTED, "filled")
    with pytest.raises(InvalidRequest):
        resolve(world, S.NOT_PLACED)
    world.clock.advance(300)
    recovered = run_sync(recover_run(ports=world.ports, policy=world.policy))
    assert recovered is not None
    assert world.states() == {"A": "accepted"}


def test_an_order_that_recovery_still_looks_for_is_left_to_it() -> None:
    world = World({"A": 0.1})
    world.script("A", outcome(SubmitKind.UNKNOWN, cause="reset"))
    world.run()
    with pytest.raises(InvalidRequest, match="the order is unknown: recovery still looks"):
        resolve(world, S.NOT_PLACED)


def test_an_id_that_nothing_open_has_is_refused() -> None:
    world = World({"A": 0.1})
    world.run()
    with pytest.raises(InvalidRequest, match="no open order has this id"):
        resolve(world, S.NOT_PLACED)


def test_a_state_that_is_no_end_is_refused() -> None:
    world = waiting_world()
    with pytest.raises(InvalidRequest, match="expected one of accepted, not_placed, rejected"):
        resolve(world, S.UNKNOWN)


def test_another_strategys_run_is_not_touched() -> None:
    world = waiting_world()
    world.policy = evolve(world.policy, strategy_id=StrategyId("beta"))
    with pytest.raises(Unavailable, match="another strategy"):
        resolve(world, S.NOT_PLACED)


def test_a_run_that_recovery_holds_is_not_touched() -> None:
    world = waiting_world()
    world.clock.advance(1_000)
    taken = run_sync(world.runs.take_run(world.policy.strategy_id, lease_seconds=60.0))
    assert taken is not None
    with pytest.raises(Unavailable, match="recovery is at work"):
        resolve(world, S.NOT_PLACED)
    assert world.states() == {"A": "unresolved"}


def test_a_runs_other_orders_stay_as_they_are() -> None:
    world = waiting_world(others=2)
    run = resolve(world, S.NOT_PLACED)
    assert run.status is RunStatus.PARTIAL
    assert world.states() == {"A": "not_placed", "B0": "accepted", "B1": "accepted"}


def test_what_a_dead_sender_left_planned_is_brought_on_after_the_word() -> None:
    world = World({"A": 0.1, "B": 0.1})
    world.script("A", outcome(SubmitKind.CONFLICT, cause="odd"))
    world.script("B", outcome(SubmitKind.DEFERRED, retry_after=5.0))
    world.set_ports(clock=DyingClock(world.clock))
    with pytest.raises(KeyboardInterrupt):
        world.run()
    world.set_ports(clock=world.clock)
    assert world.states() == {"A": "conflict", "B": "planned"}
    look(world, LookUpKind.ABSENT)
    world.clock.advance(world.policy.lease_seconds)
    assert resolve(world, S.NOT_PLACED).status is RunStatus.RUNNING
    world.clock.advance(FIRST_LOOK_SECONDS)
    assert run_sync(recover_run(ports=world.ports, policy=world.policy)) is not None
    assert world.states() == {"A": "not_placed", "B": "not_placed"}
    assert world.stored().status is RunStatus.FAILED


@pytest.mark.parametrize(("second", "agrees"), [(S.REJECTED, True), (S.NOT_PLACED, False)])
def test_of_two_words_at_once_the_first_stands(second: OrderState, agrees: bool) -> None:
    world = World({"A": 0.1, "B": 0.1})
    world.script("A", outcome(SubmitKind.CONFLICT, cause="odd"))
    world.script("B", outcome(SubmitKind.CONFLICT, cause="odd"))
    world.run()
    look(world, LookUpKind.ABSENT)
    world.set_ports(runs=SeenBefore(world.runs, run_sync(world.runs.open_orders())))
    resolve(world, S.REJECTED)
    if agrees:
        resolve(world, second)
    else:
        with pytest.raises(InvalidRequest, match="settled meanwhile: rejected"):
            resolve(world, second)
    assert world.states() == {"A": "rejected", "B": "conflict"}
    # The run was given back.
    resolve(world, S.REJECTED)
