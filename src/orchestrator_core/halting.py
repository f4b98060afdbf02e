"""What halts a run: both stores read, the guard before a run, and following from store to store.

Both stores are read shared state first, latch second, against the order in which they are engaged:
then no epoch is read from the shared state that the latch, as read, has not reached.
"""

from collections.abc import Sequence
from typing import NoReturn

from attrs import evolve, frozen

from orchestrator_core.commits import OpenOrder
from orchestrator_core.errors import (
    MalformedReply,
    PortError,
    TradingHalted,
    Unavailable,
)
from orchestrator_core.history import entry_of_engaged_state, entry_of_released_state
from orchestrator_core.kill_switch import (
    FIRST_EPOCH,
    Absent,
    FollowUp,
    Halted,
    KillSwitchState,
    Latch,
    LatchReading,
    SharedReading,
    SwitchState,
    Unreadable,
    Verdict,
    judge,
)
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import (
    Breaker,
    BreakerState,
    CircuitBreaker,
    Clock,
    KillSwitch,
    RunPorts,
    RunRepository,
)
from orchestrator_core.requests import RunRequest


@frozen
class SwitchReading:
    """Both stores as they were read, and what they mean together."""

    shared: SharedReading
    latch: LatchReading

    @property
    def verdict(self) -> Verdict:
        """What both stores mean together."""
        return judge(self.shared, self.latch)


async def read_switch(kill_switch: KillSwitch, runs: RunRepository) -> SwitchReading:
    """Read both stores; a store that fails becomes `Unreadable`."""
    return SwitchReading(await read_shared(kill_switch), await read_latch(runs))


async def read_shared(kill_switch: KillSwitch) -> SharedReading:
    """Read the shared state; never raises for a store's failure."""
    try:
        return await ask_shared(kill_switch)
    except PortError as error:
        return Unreadable(error.cause)


async def ask_shared(kill_switch: KillSwitch) -> SharedReading:
    """Read the shared state; text that is no state becomes `Unreadable`.

    Raises:
        PortError: The store does not answer.
    """
    try:
        return await kill_switch.read() or Absent()
    except MalformedReply as error:
        return Unreadable(error.cause, answered=True)


async def read_latch(runs: RunRepository) -> LatchReading:
    """Read the latch; never raises for a store's failure."""
    try:
        return await runs.read_latch() or Absent()
    except PortError as error:
        return Unreadable(error.cause)


async def read_open_orders(runs: RunRepository) -> Sequence[OpenOrder] | None:
    """Return the orders that may be on the wire or wait for an operator; None: cannot be read."""
    try:
        return await runs.open_orders()
    except PortError:
        return None


async def guard(ports: RunPorts) -> Latch:
    """Return the latch, disengaged, if orders may leave now.

    A follow-up that the stores ask for is done first.

    Raises:
        TradingHalted: Engaged, or in doubt, or the circuit breaker blocks.
        Unavailable: The run database does not answer, and nothing says that trading is engaged.
    """
    # All are read at once: each claim asks both stores again. Only what halts is read in order,
    # since it may be followed.
    (shared, latch), breaker = await ports.together(
        ports.together(read_shared(ports.kill_switch), read_latch(ports.runs)),
        _read_breaker(ports.breaker),
    )
    reading = SwitchReading(shared, latch)
    if isinstance(reading.verdict, Halted):
        reading = await read_switch(ports.kill_switch, ports.runs)
    verdict = reading.verdict
    if isinstance(verdict, Halted) and verdict.follow_up is not None:
        await follow(reading, ports.kill_switch, ports.runs, ports.clock)
        reading = await read_switch(ports.kill_switch, ports.runs)
        verdict = reading.verdict
    if isinstance(verdict, Halted):
        if isinstance(reading.latch, Unreadable) and not verdict.engaged:
            raise Unavailable("runs", "read_latch", reading.latch.cause)
        raise_halted(verdict)
    if not isinstance(reading.latch, Latch):
        raise TradingHalted("the latch is missing", engaged=False)
    if ports.breaker is not None:
        await _heed_breaker(breaker, reading.latch, ports.runs)
    return reading.latch


def raise_halted(halted: Halted) -> NoReturn:
    """Raise what a halted verdict means for a run."""
    raise TradingHalted(
        halted.reason,
        engaged=halted.engaged,
        engaged_by=halted.engaged_by,
        engaged_at=halted.engaged_at,
    )


async def _read_breaker(breaker: CircuitBreaker | None) -> Breaker | Absent | Unreadable:
    try:
        found = None if breaker is None else await breaker.read()
    except PortError as error:
        return Unreadable(error.cause)
    return found or Absent()


async def _heed_breaker(
    breaker: Breaker | Absent | Unreadable, latch: Latch, runs: RunRepository
) -> None:
    if isinstance(breaker, Unreadable):
        raise TradingHalted(breaker.cause, engaged=False, by_breaker=True)
    if isinstance(breaker, Absent):
        if latch.breaker_seen:
            raise TradingHalted("its state is gone", engaged=False, by_breaker=True)
        return
    if not latch.breaker_seen:
        await runs.swap_latch(latch, evolve(latch, breaker_seen=True))
    if breaker.state is BreakerState.TRIPPED:
        reason = breaker.reason or "no reason given"
        raise TradingHalted(reason, engaged=True, by_breaker=True)


async def follow(
    reading: SwitchReading, kill_switch: KillSwitch, runs: RunRepository, clock: Clock
) -> None:
    """Bring one store to what a person did through the other, by compare-and-set.

    A store that fails meanwhile leaves the verdict halted, to be followed up next time.
    """
    verdict, shared, latch = reading.verdict, reading.shared, reading.latch
    if not isinstance(verdict, Halted) or not isinstance(shared, KillSwitchState):
        return
    try:
        match verdict.follow_up, latch:
            case FollowUp.TAKE_OVER, Absent():
                await _take_over(shared, kill_switch, runs, clock)
            case FollowUp.ENGAGE_LATCH | FollowUp.RAISE_LATCH, Latch():
                raised = _raised_by_another(shared, latch, clock)
                entry = None if latch.engaged else entry_of_engaged_state(shared)
                if await runs.swap_latch(latch, raised, entry=entry):
                    await kill_switch.stamp(shared, latch_epoch=raised.epoch)
            case FollowUp.RELEASE_LATCH, Latch():
                released = _released_by_another(shared, latch, clock)
                await runs.swap_latch(latch, released, entry=entry_of_released_state(shared))
            case FollowUp.STAMP_SHARED, Latch():
                await kill_switch.stamp(shared, latch_epoch=latch.epoch)
            case _:
                return
    except PortError:
        return


def _raised_by_another(shared: KillSwitchState, latch: Latch, clock: Clock) -> Latch:
    # Beyond both epochs: an older copy of either store must not name this one.
    epoch = max(latch.epoch, shared.latch_epoch or 0) + 1
    if latch.engaged:
        return evolve(latch, epoch=epoch)
    return evolve(
        latch,
        engaged=True,
        epoch=epoch,
        changed_by=shared.engaged_by or "another service",
        reason=shared.engagement_reason or "no reason given",
        changed_at=clock.now(),
    )


def _released_by_another(shared: KillSwitchState, latch: Latch, clock: Clock) -> Latch:
    return evolve(
        latch,
        engaged=False,
        changed_by=shared.disengaged_by or "another service",
        reason=shared.disengagement_notes or "disengaged through another service",
        changed_at=clock.now(),
    )


async def _take_over(
    shared: KillSwitchState, kill_switch: KillSwitch, runs: RunRepository, clock: Clock
) -> None:
    # The shared state is stamped first: a crash between the two leaves an epoch of a latch that
    # nobody holds, which halts until an operator initialises the switch.
    epoch = max(FIRST_EPOCH, shared.latch_epoch or 0)
    if shared.latch_epoch != epoch and not await kill_switch.stamp(shared, latch_epoch=epoch):
        return
    engaged = shared.state is SwitchState.ENGAGED
    who = shared.engaged_by if engaged else shared.disengaged_by
    await runs.swap_latch(
        None,
        Latch(
            engaged=engaged,
            epoch=epoch,
            changed_by=who or "first start",
            reason=(shared.engagement_reason if engaged else None) or "taken over as found",
            changed_at=clock.now(),
        ),
        entry=entry_of_engaged_state(shared) if engaged else entry_of_released_state(shared),
    )


async def distrust_gateway(request: RunRequest, ports: RunPorts, policy: RunPolicy) -> str | None:
    """Say why the gateway must not be given an order of this request, or return None."""
    if request.dry_run:
        return None
    try:
        flags = await ports.sink.safety_flags()
    except PortError as error:
        return policy.distrust_silence(error.cause)
    return policy.distrust_flags(flags)
