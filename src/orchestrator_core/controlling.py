"""What an operator sets for a strategy while the service runs: reduce-only mode, and re-arming.

Theory of operation. A run reads the controls after the latch. Turning reduce-only on is recorded
first; then the latch's epoch is raised and the shared state stamped with it, as a disengaged switch
at a new epoch. So a run that read the controls too early holds an epoch at which nothing can be
claimed any more. What was claimed before may still be on its way: that is waited for, and once the
answer says `drained`, no order leaves that was planned without reduce-only mode. Runs under way of
other strategies are stopped with it, and may be asked for again.
"""

from attrs import evolve, frozen

from orchestrator_core.commits import OpenOrder
from orchestrator_core.controls import ControlEvent, ControlEventKind
from orchestrator_core.engaging import drain
from orchestrator_core.errors import PortError, TradingHalted, Unavailable
from orchestrator_core.halting import read_switch
from orchestrator_core.kill_switch import Halted, KillSwitchState, Latch
from orchestrator_core.ports import Clock, KillSwitch, RunRepository

MAX_RAISES = 8


@frozen
class ControlAnswer:
    """What recording a control brought.

    Attributes:
        drained: No order is SENDING or UNKNOWN that may have been planned without the control.
        in_flight: Orders that are, when the wait ended.
    """

    drained: bool = True
    in_flight: tuple[OpenOrder, ...] = ()


async def record_control(
    event: ControlEvent,
    *,
    kill_switch: KillSwitch,
    runs: RunRepository,
    clock: Clock,
    wait_seconds: float,
) -> ControlAnswer:
    """Record what an operator did, and let no run go on that does not know of it.

    Args:
        event: What he did.
        kill_switch: Its shared half.
        runs: The run database, which holds its latch.
        clock: Waits between looks.
        wait_seconds: How long to wait for orders in flight, where some may not leave any more.

    Raises:
        TradingHalted: Both stores of the kill switch do not agree, so that runs under way could not
            be stopped: nothing is recorded. Engage the kill switch instead.
        PortError: The run database failed.
        Unavailable: The event is recorded, and the shared state could not be stamped: all trading
            halts until an operator disengages, or initialises, the kill switch.
    """
    if event.kind is not ControlEventKind.REDUCE_ONLY_ON:
        await runs.add_control_event(event)
        return ControlAnswer()
    reading = await read_switch(kill_switch, runs)
    if isinstance(reading.verdict, Halted) and not reading.verdict.engaged:
        raise TradingHalted(
            f"runs under way cannot be stopped: {reading.verdict.reason}", engaged=False
        )
    await runs.add_control_event(event)
    await _raise_epoch(kill_switch, runs)
    drained, in_flight, _ = await drain(runs, clock, wait_seconds)
    return ControlAnswer(drained, in_flight)


async def _raise_epoch(kill_switch: KillSwitch, runs: RunRepository) -> None:
    """Make every claim of a run under way fail; an engaged latch has done so already."""
    for _ in range(MAX_RAISES):
        reading = await read_switch(kill_switch, runs)
        latch, shared = reading.latch, reading.shared
        if isinstance(latch, Latch) and latch.engaged:
            return
        if not isinstance(latch, Latch) or not isinstance(shared, KillSwitchState):
            break
        raised = evolve(latch, epoch=latch.epoch + 1)
        if not await runs.swap_latch(latch, raised):
            continue
        try:
            await kill_switch.stamp(shared, latch_epoch=raised.epoch)
        except PortError as error:
            raise Unavailable("kill_switch", "stamp", _halts(error.cause)) from error
        return
    raise Unavailable("kill_switch", "stamp", _halts("its two stores cannot be read together"))


def _halts(cause: str) -> str:
    return (
        f"{cause}: reduce-only mode is recorded, and trading may halt until the kill switch is "
        "disengaged or initialised"
    )
