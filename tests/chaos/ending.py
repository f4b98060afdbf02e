"""What every trial shares: work beside it, waiting for its end, and gathering what it left."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from attrs import define, field

from tests.chaos.audit import read_books, read_one
from tests.chaos.decisions import Deciding
from tests.chaos.evidence import Evidence
from tests.chaos.journal import Journal
from tests.chaos.ledger import read_ledger
from tests.chaos.stage import ENVIRONMENT, STRATEGY, Stage

LOOK_SECONDS = 0.5
UNFORESEEN = ("Traceback", "unforeseen", "broken")
SHOWN_CHARACTERS = 700
OPEN_RUNS: LiteralString = "SELECT count(*) FROM orchestration_runs WHERE status = 'running'"
UNHEARD: LiteralString = """
    SELECT count(*) FROM signal_order_mappings
    WHERE state = 'accepted' AND holds_id
      AND gateway_status NOT IN ('filled', 'canceled', 'rejected', 'new')
"""


@define
class Background:
    """Tasks that go on until they are ended; an error of one is the trial's."""

    tasks: list["asyncio.Task[None]"] = field(factory=list)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def end(self) -> None:
        left = set(self.tasks)
        while left:
            # A library may take a cancellation for a time-out of its own, and go on.
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=1.0)
        results = await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()
        for result in results:
            if isinstance(result, Exception):
                raise result


@asynccontextmanager
async def in_background(*works: Coroutine[Any, Any, None]) -> AsyncIterator[Background]:
    background = Background()
    for work in works:
        background.start(work)
    try:
        yield background
    finally:
        await background.end()


async def settle(stage: Stage, seconds: float, open_count: LiteralString) -> float:
    """Wait until nothing is open, for that long at most; return the seconds it took."""
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        try:
            [count] = await read_one(stage.database_url, open_count)
        except psycopg.Error:
            count = None
        if count == 0:
            break
        await asyncio.sleep(LOOK_SECONDS)
    return time.monotonic() - begun


async def gather_evidence(stage: Stage, journal: Journal) -> Evidence:
    said = await stage.peers.tell(stage.http, "orders")
    books = await read_books(stage.database_url)
    return Evidence(
        entries=list(read_ledger(stage.peers.ledger)),
        held=said["held"],
        books=books,
        journal=journal,
        deciding=Deciding(stage.setting.seed, ENVIRONMENT, STRATEGY),
        wall_offset=time.time() - time.monotonic(),
    )


def unforeseen(stage: Stage) -> list[str]:
    """Return the unforeseen faults that the replicas logged, each once."""
    found: Counter[str] = Counter()
    for replica in stage.replicas:
        for line in replica.log.read_text(errors="replace").splitlines():
            if not any(word in line for word in UNFORESEEN):
                continue
            try:
                logged = json.loads(line)
            except ValueError:
                logged = {"event": line}
            found[f"{logged['event']}: {logged.get('exception', '')[-SHOWN_CHARACTERS:]}"] += 1
    return [f"logged {count} times: {text}" for text, count in found.most_common()]
