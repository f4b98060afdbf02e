"""Time, and how two things are awaited."""

from collections.abc import Awaitable
from contextlib import suppress
from datetime import datetime
from typing import Protocol, TypeVar

from orchestrator_core.errors import OrchestratorError

First = TypeVar("First")
Second = TypeVar("Second")


class Clock(Protocol):
    """Time. The core has no other."""

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC. It may jump."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only ever grow, from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


class Together(Protocol):
    """How two things are awaited: one after the other, or at once."""

    async def __call__(
        self, first: Awaitable[First], second: Awaitable[Second]
    ) -> tuple[First, Second]:
        """Await both to their end, then return both results, or raise the first's error first."""
        ...


async def one_after_the_other(
    first: Awaitable[First], second: Awaitable[Second]
) -> tuple[First, Second]:
    """Await the second whatever the first does: `Together` for adapters that never suspend."""
    try:
        earlier = await first
    except OrchestratorError:
        with suppress(OrchestratorError):
            await second
        raise
    return earlier, await second
