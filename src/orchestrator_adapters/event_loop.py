"""The event loop's share: the system's clock, and two things awaited at once."""

import asyncio
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

First = TypeVar("First")
Second = TypeVar("Second")


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def at_once(first: Awaitable[First], second: Awaitable[Second]) -> tuple[First, Second]:
    """Await both at once, each to its end; raise the first's error first."""
    earlier, later = await asyncio.gather(first, second, return_exceptions=True)
    if isinstance(earlier, BaseException):
        raise earlier
    if isinstance(later, BaseException):
        raise later
    return earlier, later
