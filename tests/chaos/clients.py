"""Clients that ask for runs: once, again, of several replicas at one moment, and look later."""

import asyncio
import random
import time
from typing import Any

import httpx
from attrs import define, field

from tests.chaos.decisions import Deciding, Decision
from tests.chaos.journal import AnswerSeen, Journal
from tests.chaos.stage import Stage
from tests.servers.service import RUN, RUNS

CLIENT_SECONDS = 20.0
AGAIN_SHARE = 0.3
TWIN_SHARE = 0.3
RETRY_SECONDS = 0.2
RETRY_SHARE = 0.7
LOOKS = 3
RUNNING = 202
FAILED_FROM = 500


@define
class Client:
    """One client, which asks for one thing after the other.

    Attributes:
        number: From 0.
        pause: Seconds between two decisions, at most.
    """

    number: int
    stage: Stage
    journal: Journal
    deciding: Deciding
    pause: float
    _draw: random.Random = field(init=False)
    _decided: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        seed = f"{self.stage.setting.seed}:client:{self.number}"
        self._draw = random.Random(seed)  # noqa: S311 - a plan, no secret

    async def go_on(self) -> None:
        """Ask until cancelled."""
        while True:
            await self._ask(self._next())
            await asyncio.sleep(self._draw.uniform(0, self.pause))

    def _next(self) -> Decision:
        if self._decided and self._draw.random() < AGAIN_SHARE:
            number = self._draw.randint(max(0, self._decided - 8), self._decided - 1)
            return self.deciding.decision(self.number, number)
        decision = self.deciding.decision(self.number, self._decided)
        self._decided += 1
        return decision

    async def _ask(self, decision: Decision) -> None:
        fresh = set(decision.symbols) - self.stage.priced
        self.stage.priced.update(fresh)
        await self.stage.price(fresh)
        replicas = self._draw.sample(range(len(self.stage.replicas)), len(self.stage.replicas))
        at_once = self._draw.randint(2, 3) if self._draw.random() < TWIN_SHARE else 1
        first, *_ = await asyncio.gather(
            *(self._post(decision, replica) for replica in replicas[:at_once])
        )
        for replica in replicas[at_once:] + replicas[:1]:
            if first.status is not None and first.status < FAILED_FROM:
                break
            if self._draw.random() > RETRY_SHARE:
                return
            await asyncio.sleep(RETRY_SECONDS)
            first = await self._post(decision, replica)
        if first.status == RUNNING and first.run_id is not None:
            await self._look(first.run_id)

    async def _look(self, run_id: str) -> None:
        for _ in range(LOOKS):
            replica = self._draw.randrange(len(self.stage.replicas))
            seen = await look_at(self.stage, self.journal, run_id, replica, wait=2)
            if seen.status == httpx.codes.OK and seen.body["status"] != "running":
                return
            await asyncio.sleep(0.5)

    async def _post(self, decision: Decision, replica: int) -> AnswerSeen:
        return await ask(self.stage, self.journal, decision, replica)


async def ask(stage: Stage, journal: Journal, decision: Decision, replica: int) -> AnswerSeen:
    """Ask a replica for a run, and note what was seen."""
    journal.decisions[decision.name] = decision
    key = decision.idempotency_key
    headers = {} if key is None else {"Idempotency-Key": key}
    url = stage.replicas[replica].url + RUN
    begun = time.monotonic()
    status, body, replayed = await _seen(
        stage.http.post(url, json=decision.body(), headers=headers, timeout=CLIENT_SECONDS)
    )
    seen = AnswerSeen(begun, time.monotonic(), decision, replica, status, body, replayed)
    journal.answers.append(seen)
    return seen


async def look_at(
    stage: Stage, journal: Journal, run_id: str, replica: int, *, wait: int = 0
) -> AnswerSeen:
    """Look at a run through a replica, and note what was seen."""
    begun = time.monotonic()
    query = f"?wait={wait}" if wait else ""
    url = f"{stage.replicas[replica].url}{RUNS}/{run_id}{query}"
    status, body, _ = await _seen(stage.http.get(url, timeout=CLIENT_SECONDS))
    seen = AnswerSeen(begun, time.monotonic(), None, replica, status, body)
    journal.answers.append(seen)
    return seen


async def _seen(call: Any) -> tuple[int | None, Any, bool]:
    try:
        response = await call
        body = response.json()
    except (httpx.HTTPError, ValueError) as error:
        return None, type(error).__name__, False
    return response.status_code, body, "idempotency-replayed" in response.headers
