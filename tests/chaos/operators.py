"""What people do: stop and release trading, set the switch up after a flush, close open orders."""

import asyncio
import json
import random
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
from attrs import define, field
from redis.exceptions import RedisError

from tests.chaos.audit import read_all
from tests.chaos.journal import Deed, Journal, Mark
from tests.chaos.stage import KILL_SWITCH, Stage

ENGAGE = "/api/v1/kill-switch/engage"
DISENGAGE = "/api/v1/kill-switch/disengage"
STATUS = "/api/v1/kill-switch/status"
OPERATOR_SECONDS = 16.0
LOOK_SECONDS = 0.5
# How long trading may stand without anybody holding it, before the watch lets it go: it sleeps at
# times.
PATIENCE_SECONDS = (0.5, 0.5, 1.0, 7.0)
WAITING_FOR_OPERATOR = """
    SELECT client_order_id, state FROM signal_order_mappings
    WHERE state IN ('unresolved', 'conflict') AND holds_id
"""


@define
class Operators:
    """Everybody who may stop trading or let it go on.

    Attributes:
        holds: How many engagements are meant to stand now.
        log: What the tools of the operators said where they failed.
    """

    stage: Stage
    journal: Journal
    holds: int = 0
    log: list[str] = field(factory=list)
    _draw: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        seed = f"{self.stage.setting.seed}:operators"
        self._draw = random.Random(seed)  # noqa: S311 - a plan, no secret

    async def engage(self, replica: int) -> Mark:
        """Engage through a replica."""
        body = {"operator": "ann", "reason": "a trial", "details": {"by": "chaos"}}
        return await self._post(Deed.ENGAGE, replica, ENGAGE, body)

    async def disengage(self, replica: int) -> Mark:
        """Disengage through a replica."""
        return await self._post(Deed.DISENGAGE, replica, DISENGAGE, {"operator": "bob"})

    async def _post(self, deed: Deed, replica: int, path: str, body: dict[str, Any]) -> Mark:
        url = self.stage.replicas[replica].url + path
        mark = Mark(deed, time.monotonic(), target=str(replica))
        self.journal.marks.append(mark)
        try:
            response = await self.stage.http.post(url, json=body, timeout=OPERATOR_SECONDS)
            mark.status, mark.body = response.status_code, response.json()
        except httpx.ReadTimeout:
            # A frozen replica does it when it goes on.
            return mark
        except (httpx.HTTPError, ValueError) as error:
            mark.body = type(error).__name__
        mark.ended_at = time.monotonic()
        return mark

    async def hold(self, *, seconds: float, replicas: list[int]) -> None:
        """Engage through each of the replicas at once, hold, and let go if nobody else holds."""
        self.holds += 1
        try:
            await asyncio.gather(*(self.engage(replica) for replica in replicas))
            await asyncio.sleep(seconds)
            if len(replicas) > 1:
                await self.engage(replicas[0])
        finally:
            self.holds -= 1
        await self._let_go()

    async def _let_go(self) -> None:
        """Disengage through one replica after the other, until one does it or somebody holds."""
        count = len(self.stage.replicas)
        for replica in self._draw.sample(range(count), count):
            if self.holds:
                return
            mark = await self.disengage(replica)
            if mark.status in {httpx.codes.OK, httpx.codes.BAD_REQUEST}:
                return

    async def hold_elsewhere(self, *, seconds: float, releases: bool) -> None:
        """Engage straight in Redis, as another service does, and perhaps release there too."""
        self.holds += 1
        try:
            with self.journal.doing(Deed.FOREIGN_ENGAGE) as mark:
                mark.body = await self._write_elsewhere(engages=True)
            await asyncio.sleep(seconds)
            if releases:
                with self.journal.doing(Deed.FOREIGN_DISENGAGE) as mark:
                    mark.body = await self._write_elsewhere(engages=False)
        except (RedisError, OSError):
            return
        finally:
            self.holds -= 1

    async def _write_elsewhere(self, *, engages: bool) -> bool:
        """Change the shared state as another service would, which keeps fields it does not know."""
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        async with self.stage.shared_keys() as client, client.pipeline() as change:
            await change.watch(KILL_SWITCH)
            text = await change.get(KILL_SWITCH)
            if text is None or (not engages and json.loads(text)["state"] != "ENGAGED"):
                return False
            state = json.loads(text)
            if engages:
                state |= {"state": "ENGAGED", "engaged_at": now, "engaged_by": "elsewhere"}
                state |= {"engagement_reason": "foreign"}
            else:
                state |= {"state": "ACTIVE", "disengaged_at": now, "disengaged_by": "elsewhere"}
            change.multi()  # type: ignore[no-untyped-call]
            change.set(KILL_SWITCH, json.dumps(state))
            await change.execute()
        return True

    # The watch

    async def watch(self) -> None:
        """Bring trading back whenever nobody means to hold it, until cancelled."""
        halted_since: float | None = None
        patience = 0.0
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.holds or await self._is_trading():
                halted_since = None
                continue
            now = time.monotonic()
            if halted_since is None:
                halted_since, patience = now, self._draw.choice(PATIENCE_SECONDS)
            if now - halted_since > patience:
                await self._release()
                halted_since = None

    async def _is_trading(self) -> bool:
        """Ask a replica that answers whether orders may leave; not knowing counts as yes."""
        for replica in self.stage.replicas:
            if not replica.is_alive or replica.is_frozen:
                continue
            try:
                response = await self.stage.http.get(replica.url + STATUS, timeout=5)
            except httpx.HTTPError:
                continue
            if response.status_code != httpx.codes.OK:
                return False
            return bool(response.json()["trading_allowed"])
        return True

    async def _release(self) -> None:
        if await self._is_missing() and self._draw.random() < 1 / 2:
            with self.journal.doing(Deed.INIT) as mark:
                done = await self.stage.orchestrator("kill-switch", "init", "--operator", "cleo")
                mark.status, mark.body = done.returncode, done.stderr[-200:]
            return
        await self._let_go()

    async def _is_missing(self) -> bool:
        try:
            async with self.stage.shared_keys() as client:
                return await client.get(KILL_SWITCH) is None
        except (RedisError, OSError):
            return False

    # Orders that wait for somebody

    async def resolve(self) -> None:
        """Close orders that wait for an operator, on the gateway's evidence, until cancelled."""
        while True:
            await asyncio.sleep(2 * LOOK_SECONDS)
            try:
                waiting = await read_all(self.stage.database_url, WAITING_FOR_OPERATOR)
            except psycopg.Error:
                continue
            if waiting:
                await self._resolve_each([str(id_) for id_, _ in waiting])

    async def _resolve_each(self, ids: list[str]) -> None:
        says = await self.stage.peers.tell(self.stage.http, "orders")
        for id_ in ids:
            # The broker says that it may still come: a person waits.
            if id_ in says["late"]:
                continue
            with self.journal.doing(Deed.RESOLVE, id_) as mark:
                done = await self.stage.orchestrator(*_closing(id_, says["held"].get(id_)))
                mark.status, mark.body = done.returncode, (done.stdout + done.stderr)[-300:]
            if mark.status != 0:
                self.log.append(f"resolve {id_}: {mark.body}")


def _closing(id_: str, held: dict[str, Any] | None) -> tuple[str, ...]:
    fate = "not_placed" if held is None else "accepted"
    more: tuple[str, ...] = ()
    if held is not None and held["status"] == "rejected":
        fate = "rejected"
    elif held is not None and held["broker_order_id"] is not None:
        more = ("--broker-order-id", held["broker_order_id"])
    said = ("--as", fate, "--operator", "cleo", "--evidence", "the broker's own book")
    return ("orders", "resolve", id_, *said, *more)
