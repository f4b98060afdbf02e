"""The long trial: load, operators and faults for a while; then all must come true."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import asynccontextmanager
from typing import Any, LiteralString

import psycopg
from attrs import define, field, frozen

from tests.chaos.audit import Books, read_books, read_one
from tests.chaos.clients import Client
from tests.chaos.decisions import Deciding
from tests.chaos.evidence import Evidence
from tests.chaos.journal import Journal
from tests.chaos.ledger import read_ledger
from tests.chaos.mischief import Mischief
from tests.chaos.operators import Operators
from tests.chaos.stage import ENVIRONMENT, STRATEGY, Setting, Stage, set_up
from tests.chaos.troubles import plan_troubles
from tests.chaos.verdict import Verdict, judge_trial

LOOK_SECONDS = 0.5
UNFORESEEN = ("Traceback", "unforeseen", "broken")
SHOWN_CHARACTERS = 700
# From the end of all faults until everything must be true.
SETTLE_SECONDS = 90.0
# And until the last word of the gateway on a finished order must be known.
FOLLOW_SECONDS = 75.0
OPEN_RUNS: LiteralString = "SELECT count(*) FROM orchestration_runs WHERE status = 'running'"
UNHEARD: LiteralString = """
    SELECT count(*) FROM signal_order_mappings
    WHERE state = 'accepted' AND holds_id
      AND gateway_status NOT IN ('filled', 'canceled', 'rejected', 'new')
"""


@frozen
class Soak:
    """How long, and with what load.

    Attributes:
        clients: Who ask at the same time.
        pause: Seconds between two requests of one, at most.
        share: Scales what the gateway does wrong.
        follow_seconds: How long the gateway's last words are waited for; 0 for not at all.
    """

    seconds: float
    seed: int
    clients: int = 5
    pause: float = 1.0
    share: float = 1.0
    settle_seconds: float = SETTLE_SECONDS
    follow_seconds: float = FOLLOW_SECONDS


@define
class _Background:
    """Tasks that go on until they are ended; an error of one is the trial's."""

    tasks: list["asyncio.Task[None]"] = field(factory=list)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        results = await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()
        for result in results:
            if isinstance(result, Exception):
                raise result


@asynccontextmanager
async def _background(*works: Coroutine[Any, Any, None]) -> Any:
    background = _Background()
    for work in works:
        background.start(work)
    try:
        yield background
    finally:
        await background.end()


async def run_soak(soak: Soak) -> Verdict:
    """Run the trial and return what it showed."""
    async with set_up(Setting(seed=soak.seed, share=soak.share)) as stage:
        journal = Journal()
        operators = Operators(stage, journal)
        mischief = Mischief(stage, journal, operators)
        deciding = Deciding(soak.seed, ENVIRONMENT, STRATEGY)
        clients = [
            Client(number, stage, journal, deciding, soak.pause) for number in range(soak.clients)
        ]
        async with _background(stage.keep_priced(), operators.watch(), operators.resolve()):
            async with _background(*(client.go_on() for client in clients)):
                await mischief.play(plan_troubles(soak.seed, soak.seconds))
            await mischief.cease()
            settled = await _settle(stage, soak.settle_seconds, OPEN_RUNS)
            followed = await _settle(stage, soak.follow_seconds, UNHEARD)
        notes = [
            f"settled {settled:.1f} s after the faults ceased, followed {followed:.1f} s later",
            *mischief.failures,
            *operators.log,
            *_unforeseen(stage),
        ]
        return judge_trial(await _gather(stage, journal, deciding), notes)


async def _settle(stage: Stage, seconds: float, open_count: LiteralString) -> float:
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


async def _gather(stage: Stage, journal: Journal, deciding: Deciding) -> Evidence:
    said = await stage.peers.tell(stage.http, "orders")
    books: Books = await read_books(stage.database_url)
    return Evidence(
        entries=list(read_ledger(stage.peers.ledger)),
        held=said["held"],
        books=books,
        journal=journal,
        deciding=deciding,
        wall_offset=time.time() - time.monotonic(),
    )


def _unforeseen(stage: Stage) -> list[str]:
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
