"""What an operator does to the kill switch: engage with its barrier, disengage, initialise.

Theory of operation. Engaging commits the latch first, so that no later claim succeeds, then writes
the shared state; each is tried whatever the other's fate. Every claim holds the latch's row locked
until its commit, so once the latch has moved, the orders found SENDING or UNKNOWN are all that can
still be on the wire: the barrier waits for those. Disengaging writes the shared state first and the
latch last. Whoever moves the latch does so by compare-and-set, and is told when another was faster.
"""

from collections.abc import Sequence
from contextlib import suppress

from attrs import evolve, frozen

from orchestrator_core.canceling import Canceling, cancel_live_orders
from orchestrator_core.commits import OpenOrder
from orchestrator_core.errors import (
    InvalidRequest,
    OutcomeUnknown,
    PortError,
    TradingHalted,
    Unavailable,
)
from orchestrator_core.halting import ask_shared, read_latch
from orchestrator_core.history import entry_of_disengagement, entry_of_engagement
from orchestrator_core.kill_switch import (
    FIRST_EPOCH,
    Absent,
    Disengagement,
    Engagement,
    KillSwitchState,
    Latch,
    SharedReading,
    SwitchState,
    Trading,
    Unreadable,
    judge,
)
from orchestrator_core.lifecycle import IN_FLIGHT
from orchestrator_core.ports import Clock, KillSwitch, OrderSink, RunRepository

BARRIER_POLL_SECONDS = 0.02
MAX_SWAPS = 8


@frozen
class EngageAnswer:
    """What engaging brought.

    Attributes:
        state: The shared state; None where it could not be written.
        latch: The latch; None where it could not be moved.
        durable: The latch holds.
        shared: The shared state holds.
        drained: No order is SENDING or UNKNOWN: none is on the wire, and none can start.
        in_flight: Orders SENDING or UNKNOWN when the wait ended.
        unresolved: Orders that wait for an operator.
        cause: What failed, where a store does not hold.
        canceling: What became of the requests to cancel live orders; None where none were asked
            for.
    """

    state: KillSwitchState | None
    latch: Latch | None
    durable: bool
    shared: bool
    drained: bool
    in_flight: tuple[OpenOrder, ...]
    unresolved: tuple[OpenOrder, ...]
    cause: str | None = None
    canceling: Canceling | None = None


class AlreadyInState(InvalidRequest):
    """The switch stands already where it was asked to go."""


async def engage(
    engagement: Engagement,
    *,
    kill_switch: KillSwitch,
    runs: RunRepository,
    clock: Clock,
    wait_seconds: float,
    cancel_at: OrderSink | None = None,
) -> EngageAnswer:
    """Stop all trading, then wait until nothing is on the wire.

    Where the switch stands engaged already and `cancel_at` is given, live orders are canceled all
    the same: that is what was asked for.

    Args:
        engagement: Who stops, and why.
        kill_switch: The shared half.
        runs: The run database, which holds the latch and the orders.
        clock: Waits between looks.
        wait_seconds: How long to wait for orders in flight.
        cancel_at: The gateway that live orders are to be canceled at, once none can start.

    Raises:
        AlreadyInState: Both stores were engaged already, and stay so.
    """
    halves = await _engage_both(engagement, kill_switch, runs)
    if halves.stood and cancel_at is None:
        raise AlreadyInState("kill_switch", "the kill switch is engaged already")
    drained, in_flight, unresolved = await drain(runs, clock, wait_seconds)
    canceling = None if cancel_at is None else await cancel_live_orders(cancel_at, runs)
    return EngageAnswer(
        state=halves.state,
        latch=halves.latch,
        durable=halves.latch is not None,
        shared=halves.state is not None,
        drained=drained and halves.latch is not None,
        in_flight=in_flight,
        unresolved=unresolved,
        cause="; ".join(halves.causes) or None,
        canceling=canceling,
    )


@frozen
class _Halves:
    """What engaging brought in each store.

    Attributes:
        latch: None where it is not known to hold.
        state: None where it is not known to hold.
        stood: Both stood engaged before.
        causes: What failed.
    """

    latch: Latch | None
    state: KillSwitchState | None
    stood: bool
    causes: tuple[str, ...]


async def _engage_both(
    engagement: Engagement, kill_switch: KillSwitch, runs: RunRepository
) -> _Halves:
    """Engage the latch, then the shared state, each whatever the other's fate.

    Somebody who lets go of the latch between the two would leave only the shared state to hold, and
    a wave that read it before may still claim. So the latch is looked at once more at the end, and
    both are engaged again where it was let go.
    """
    halves = await _engage_each(engagement, kill_switch, runs)
    for _ in range(MAX_SWAPS):
        if halves.latch is None:
            return halves
        confirmed = await read_latch(runs)
        if isinstance(confirmed, Unreadable):
            causes = (*halves.causes, f"run database: {confirmed.cause}")
            return evolve(halves, latch=None, stood=False, causes=causes)
        if isinstance(confirmed, Latch) and confirmed.engaged:
            return halves
        halves = evolve(await _engage_each(engagement, kill_switch, runs), stood=False)
    causes = (*halves.causes, "run database: the latch is let go again and again")
    return evolve(halves, latch=None, stood=False, causes=causes)


async def _engage_each(
    engagement: Engagement, kill_switch: KillSwitch, runs: RunRepository
) -> _Halves:
    causes = []
    latch: Latch | None = None
    state: KillSwitchState | None = None
    latch_stood = state_stood = False
    try:
        latch, latch_stood = await _raise_latch(engagement, runs)
    except PortError as error:
        causes.append(f"run database: {error.cause}")
    try:
        epoch = None if latch is None else latch.epoch
        change = await kill_switch.engage(engagement, latch_epoch=epoch)
        state, state_stood = change.state, not change.changed
        if latch is not None and latch_stood and change.changed:
            # The latch told of an earlier engagement; this one is a change of its own.
            with suppress(PortError):
                await runs.swap_latch(latch, latch, entry=entry_of_engagement(engagement))
    except PortError as error:
        causes.append(f"shared state: {error.cause}")
    return _Halves(latch, state, latch_stood and state_stood, tuple(causes))


async def _raise_latch(engagement: Engagement, runs: RunRepository) -> tuple[Latch, bool]:
    """Engage the latch at a new epoch; say too whether it stood engaged before.

    The epoch is raised even then, so that a disengage under way, which holds the old one, cannot
    finish after this; who engaged it first and why is kept.
    """
    for _ in range(MAX_SWAPS):
        current = await runs.read_latch()
        stood = current is not None and current.engaged
        if current is not None and stood:
            raised = evolve(current, epoch=current.epoch + 1)
        else:
            raised = Latch(
                engaged=True,
                epoch=(FIRST_EPOCH if current is None else current.epoch) + 1,
                changed_by=engagement.operator,
                reason=engagement.reason,
                changed_at=engagement.at,
                breaker_seen=current is not None and current.breaker_seen,
            )
        entry = None if stood else entry_of_engagement(engagement)
        if await runs.swap_latch(current, raised, entry=entry):
            return raised, stood
    raise Unavailable("runs", "swap_latch", "the latch keeps changing under us")


async def drain(
    runs: RunRepository, clock: Clock, wait_seconds: float
) -> tuple[bool, tuple[OpenOrder, ...], tuple[OpenOrder, ...]]:
    """Wait until no order is SENDING or UNKNOWN, that long at most.

    Returns:
        Whether that came to be, the orders that are, and those that wait for an operator.
    """
    until = clock.monotonic() + wait_seconds
    while True:
        try:
            found = await runs.open_orders()
        except PortError:
            return False, (), ()
        in_flight, unresolved = _split_open(found)
        if not in_flight or clock.monotonic() >= until:
            return not in_flight, in_flight, unresolved
        await clock.sleep(BARRIER_POLL_SECONDS)


def _split_open(
    orders: Sequence[OpenOrder],
) -> tuple[tuple[OpenOrder, ...], tuple[OpenOrder, ...]]:
    """Return the orders that may be on the wire, and those that wait for an operator."""
    in_flight = tuple(order for order in orders if order.state in IN_FLIGHT)
    unresolved = tuple(order for order in orders if order.state not in IN_FLIGHT)
    return in_flight, unresolved


async def disengage(
    disengagement: Disengagement,
    *,
    kill_switch: KillSwitch,
    runs: RunRepository,
) -> KillSwitchState:
    """Let trading go on; also re-creates a state that is missing, corrupt or an old copy.

    Raises:
        AlreadyInState: Orders may leave already.
        Unavailable: A store cannot be asked; nothing was changed.
        OutcomeUnknown: The shared state may be disengaged; the latch then follows it.
        TradingHalted: Somebody changed the switch meanwhile; it still halts.
    """
    shared, latch = await _read_to_release(kill_switch, runs)
    if isinstance(judge(shared, latch or Absent()), Trading):
        raise AlreadyInState("kill_switch", "the kill switch is not engaged")
    return await _release(disengagement, shared, latch, kill_switch, runs, only_create=False)


async def initialise(
    disengagement: Disengagement,
    *,
    kill_switch: KillSwitch,
    runs: RunRepository,
) -> KillSwitchState:
    """Create the state where there is none, by name; never lets go of a switch that is engaged.

    Raises:
        AlreadyInState: There is a state: engaged, or letting orders through.
        Unavailable: A store cannot be asked; nothing was created.
        OutcomeUnknown: The shared state may have been created; the latch then follows it.
        TradingHalted: Somebody changed the switch meanwhile; it still halts.
    """
    shared, latch = await _read_to_release(kill_switch, runs)
    verdict = judge(shared, latch or Absent())
    if isinstance(verdict, Trading):
        raise AlreadyInState("kill_switch", "the kill switch is initialised already")
    if verdict.engaged:
        raise AlreadyInState("kill_switch", "the kill switch is engaged: disengage it instead")
    return await _release(disengagement, shared, latch, kill_switch, runs, only_create=True)


async def _read_to_release(
    kill_switch: KillSwitch, runs: RunRepository
) -> tuple[SharedReading, Latch | None]:
    # In this order: an engage moves the latch first, so an epoch read from the shared state is
    # never later than the latch's. Its epoch would let go of an engagement that nobody has seen.
    shared = await ask_shared(kill_switch)
    return shared, await runs.read_latch()


async def _release(
    disengagement: Disengagement,
    shared: SharedReading,
    latch: Latch | None,
    kill_switch: KillSwitch,
    runs: RunRepository,
    *,
    only_create: bool,
) -> KillSwitchState:
    shared_epoch = shared.latch_epoch if isinstance(shared, KillSwitchState) else None
    epoch = max(FIRST_EPOCH, shared_epoch or 0, 0 if latch is None else latch.epoch)
    change = await kill_switch.disengage(disengagement, latch_epoch=epoch, only_create=only_create)
    meanwhile = TradingHalted("the kill switch was changed meanwhile: look again", engaged=True)
    if change.state.state is SwitchState.ENGAGED or change.state.latch_epoch != epoch:
        raise meanwhile
    released = Latch(
        engaged=False,
        epoch=epoch,
        changed_by=disengagement.operator,
        reason=disengagement.notes or "disengaged",
        changed_at=disengagement.at,
        breaker_seen=latch is not None and latch.breaker_seen,
    )
    try:
        entry = entry_of_disengagement(disengagement)
        swapped = await runs.swap_latch(latch, released, entry=entry)
    except Unavailable as error:
        cause = f"{error.cause}; the shared state is disengaged, and the latch follows it"
        raise OutcomeUnknown(error.port, error.operation, cause) from error
    if not swapped:
        raise meanwhile
    return change.state
