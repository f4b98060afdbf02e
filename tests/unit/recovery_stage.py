"""What tests of recovery and following share: lines as they are logged, and waiting for a cause."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, field

from orchestrator_entrypoints.logs import describe_record


@define(eq=False)
class Lines(logging.Handler):
    """Every line logged, as it is written out."""

    found: list[dict[str, Any]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        logging.Handler.__init__(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(describe_record(record))

    def of(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.found if line["event"] == event]


@contextmanager
def all_lines() -> Iterator[Lines]:
    lines, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(lines)
    root.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        root.removeHandler(lines)
        root.setLevel(level)


async def until(holds: Callable[[], Awaitable[object]], *, seconds: float = 10) -> None:
    """Ask again and again until it holds."""
    async with asyncio.timeout(seconds):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)
