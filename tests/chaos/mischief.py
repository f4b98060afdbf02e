"""Doing what the plan says: each trouble is begun at its time and undone after its length."""

import asyncio
import signal
import time

import httpx
from attrs import define, field
from redis.exceptions import RedisError

from tests.chaos.journal import Deed, Journal
from tests.chaos.operators import Operators
from tests.chaos.processes import Replica, until
from tests.chaos.stage import KILL_SWITCH, Stage
from tests.chaos.troubles import Kind, Trouble

ARMED_SECONDS = 3.0
STOPPING_SECONDS = 10.0
DELAY_SECONDS = 0.05
MOST_DELAY_SECONDS = 0.3


@define
class Mischief:
    """Whoever does the damage, and makes it good.

    Attributes:
        failures: Troubles that could not be begun or undone, which is a fault of the trial.
    """

    stage: Stage
    journal: Journal
    operators: Operators
    failures: list[str] = field(factory=list)
    _postgres: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _redis: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _old_copy: str | None = field(default=None, init=False)
    _hurt: set[int] = field(factory=set, init=False)

    async def play(self, troubles: tuple[Trouble, ...]) -> None:
        """Play the plan; return when its last trouble is undone."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for trouble in troubles:
                await asyncio.sleep(max(0.0, begun + trouble.at - time.monotonic()))
                group.create_task(self._play(trouble))

    async def _play(self, trouble: Trouble) -> None:
        try:
            await self._do(trouble)
        except (OSError, RuntimeError, httpx.HTTPError, RedisError, TimeoutError) as error:
            self.failures.append(f"{trouble.kind}: {type(error).__name__} {error}")

    async def _do(self, trouble: Trouble) -> None:
        first = trouble.replicas[0]
        match trouble.kind:
            case Kind.KILL | Kind.FREEZE | Kind.STOP | Kind.KILL_AT_POST | Kind.FREEZE_AT_POST:
                await self._hurt_one(trouble)
            case Kind.POSTGRES_CRASH:
                await self._crash_postgres(trouble.seconds)
            case Kind.REDIS_RESTART:
                await self._restart_redis(trouble.seconds)
            case Kind.FLUSH | Kind.OLD_COPY:
                await self._spoil_shared_state(flushes=trouble.kind is Kind.FLUSH)
            case Kind.ENGAGE:
                await self.operators.hold(seconds=trouble.seconds, replicas=[first])
            case Kind.ENGAGE_TWICE:
                both = list(trouble.replicas[:2])
                await self.operators.hold(seconds=trouble.seconds, replicas=both)
            case Kind.FOREIGN_ENGAGE:
                await self.operators.hold_elsewhere(
                    seconds=trouble.seconds, releases=trouble.count % 2 == 0
                )
            case Kind.CUT | Kind.SILENCE | Kind.DELAY | Kind.LOSE_ANSWER:
                await self._spoil_network(trouble)
            case Kind.STORM:
                self.journal.note(Deed.STORM, trouble.storm)
                await self.stage.peers.tell(
                    self.stage.http, "storm", kind=trouble.storm, seconds=trouble.seconds
                )

    # Replicas

    async def _hurt_one(self, trouble: Trouble) -> None:
        """Kill, stop or freeze the first replica that nothing else is done to."""
        number = next((n for n in trouble.replicas if n not in self._hurt), None)
        if number is None:
            return
        self._hurt.add(number)
        replica = self.stage.replicas[number]
        try:
            match trouble.kind:
                case Kind.KILL:
                    self.journal.note(Deed.KILL, number)
                    replica.kill()
                case Kind.STOP:
                    await self._stop(replica)
                case Kind.FREEZE:
                    self.journal.note(Deed.FREEZE, number)
                    replica.freeze()
                case _:
                    await self._at_post(trouble, replica)
            await asyncio.sleep(trouble.seconds)
        finally:
            await self._revive(replica)
            self._hurt.discard(number)

    async def _stop(self, replica: Replica) -> None:
        with self.journal.doing(Deed.STOP, replica.number):
            replica.stop()
            if not await until(lambda: not replica.is_alive, STOPPING_SECONDS):
                self.failures.append(f"replica {replica.number} did not stop when told to")

    async def _at_post(self, trouble: Trouble, replica: Replica) -> None:
        """Have the gateway signal the replica at a point of one of its next POSTs."""
        kills = trouble.kind is Kind.KILL_AT_POST
        peers, http = self.stage.peers, self.stage.http
        await peers.tell(
            http,
            "arm",
            via=replica.number,
            pid=replica.pid,
            signal=int(signal.SIGKILL if kills else signal.SIGSTOP),
            point=trouble.point,
            posts=trouble.count,
        )
        await until(lambda: kills and not replica.is_alive, ARMED_SECONDS)
        await peers.tell(http, "disarm", via=replica.number)
        replica.is_frozen = not kills
        if not kills or not replica.is_alive:
            self.journal.note(Deed.KILL_AT_POST if kills else Deed.FREEZE, replica.number)

    async def _revive(self, replica: Replica) -> None:
        replica.thaw()
        if not replica.is_alive:
            replica.start()
            self.journal.note(Deed.START, replica.number)
            await replica.wait_until_serving(self.stage.http)

    # Stores

    async def _crash_postgres(self, seconds: float) -> None:
        async with self._postgres:
            with self.journal.doing(Deed.POSTGRES_CRASH):
                await asyncio.to_thread(self.stage.postgres.stop, immediate=True)
                await asyncio.sleep(seconds)
            await asyncio.to_thread(self.stage.postgres.start)

    async def _restart_redis(self, seconds: float) -> None:
        async with self._redis:
            with self.journal.doing(Deed.REDIS_RESTART):
                await asyncio.to_thread(self.stage.redis.stop)
                await asyncio.sleep(seconds)
            await asyncio.to_thread(self.stage.redis.start)

    async def _spoil_shared_state(self, *, flushes: bool) -> None:
        """Empty Redis, or put back a state that stood there before, as a fail-over may."""
        async with self._redis, self.stage.shared_keys() as client:
            found = _text(await client.get(KILL_SWITCH))
            if flushes:
                with self.journal.doing(Deed.FLUSH):
                    await client.flushall()
            elif self._old_copy is not None:
                with self.journal.doing(Deed.OLD_COPY) as mark:
                    await client.set(KILL_SWITCH, self._old_copy)
                    mark.body = self._old_copy
            self._old_copy = found or self._old_copy
        await self.stage.price(sorted(self.stage.priced))

    # Network

    async def _spoil_network(self, trouble: Trouble) -> None:
        """Do it to one replica, or to more at the same time."""
        deed = {
            Kind.CUT: Deed.CUT,
            Kind.SILENCE: Deed.SILENCE,
            Kind.DELAY: Deed.DELAY,
            Kind.LOSE_ANSWER: Deed.LOST_ANSWER,
        }[trouble.kind]
        affected = trouble.replicas[: 1 + trouble.count % len(trouble.replicas)]
        proxies = [self.stage.proxy(number, trouble.target) for number in affected]
        with self.journal.doing(deed, f"{trouble.target} {affected}"):
            for proxy in proxies:
                match trouble.kind:
                    case Kind.CUT:
                        proxy.cut()
                    case Kind.SILENCE:
                        proxy.fall_silent()
                    case Kind.DELAY:
                        share = trouble.count / 3
                        proxy.delay_seconds = DELAY_SECONDS + share * MOST_DELAY_SECONDS
                    case _:
                        proxy.answers_to_lose = 1 + trouble.count
            await asyncio.sleep(trouble.seconds)
            for proxy in proxies:
                proxy.mend()

    async def cease(self) -> None:
        """End every fault: from now on all works."""
        with self.journal.doing(Deed.CEASE):
            await self.stage.peers.tell(self.stage.http, "calm")
            for proxy in self.stage.proxies.values():
                proxy.mend()
            if not self.stage.postgres.is_running:
                await asyncio.to_thread(self.stage.postgres.start)
            if not self.stage.redis.is_running:
                await asyncio.to_thread(self.stage.redis.start)
            for replica in self.stage.replicas:
                await self._revive(replica)


def _text(value: bytes | str | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
