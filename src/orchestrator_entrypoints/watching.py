"""Waiting for a run's end, by looking at the run database: any process may be making it."""

from collections.abc import Awaitable, Callable

from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.ports import Clock
from orchestrator_core.runs import Run

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0
PAUSE_GROWTH = 1.5


async def never() -> bool:
    """Say that nobody has given up."""
    return False


async def watch_run(
    look: Callable[[], Awaitable[Run | None]],
    *,
    clock: Clock,
    seconds: float,
    is_given_up: Callable[[], Awaitable[bool]] = never,
) -> Run | None:
    """Return the run once it is no longer running, or as it stands when the time is up.

    None if there is no such run. It is looked at with growing pauses between.

    Args:
        look: Reads the run as it is stored.
        clock: Waits between looks.
        seconds: How long to wait; 0 looks once.
        is_given_up: Asked often: whether nobody waits any more.

    Raises:
        PortError: The run database failed.
    """
    until = clock.monotonic() + seconds
    pause = FIRST_PAUSE_SECONDS
    while True:
        run = await look()
        left = until - clock.monotonic()
        if run is None or run.status is not RunStatus.RUNNING or left <= 0:
            return run
        if not await _pause(min(pause, left), clock, is_given_up):
            return run
        pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE_SECONDS)


async def _pause(seconds: float, clock: Clock, is_given_up: Callable[[], Awaitable[bool]]) -> bool:
    """Wait; return whether somebody still waits then."""
    until = clock.monotonic() + seconds
    while not await is_given_up():
        left = until - clock.monotonic()
        if left <= 0:
            return True
        await clock.sleep(min(left, FIRST_PAUSE_SECONDS))
    return False
