"""Actors on virtual time: coroutines that stand still at each port call and each sleep.

Nothing runs by itself: the driver chooses which actor goes on, and when time passes.
"""

import heapq
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import count
from types import coroutine
from typing import Any

from attrs import define, frozen

from orchestrator_adapters.simulation.faults import Fault
from orchestrator_core.identifiers import RunId


@frozen
class Call:
    """A call of a port that is about to be made."""

    port: str
    operation: str

    def __str__(self) -> str:
        return f"{self.port}.{self.operation}"


@frozen
class _Sleep:
    until: float


@frozen
class _Death:
    """The process ends here, whatever the coroutine would do next."""


Request = Call | _Sleep | _Death


@coroutine
def _suspend(request: Request) -> Generator[Request, Fault | None, Fault | None]:
    return (yield request)


@define(eq=False)
class Process:
    """One replica's life, from a start to a crash.

    Attributes:
        skew_seconds: How far its clock runs ahead of true time.
    """

    name: str
    skew_seconds: float = 0.0
    is_alive: bool = True


@define(eq=False)
class Actor:
    """A coroutine of a process.

    Attributes:
        call: The boundary that it stands at; None while it sleeps or has ended.
        wake_at: Until when it sleeps.
        history: Digest of all that it was told, which determines where it stands.
        subject: The run that a client asked for.
    """

    name: str
    process: Process
    coroutine: Coroutine[Request, Fault | None, Any]
    call: Call | None = None
    wake_at: float | None = None
    is_done: bool = False
    result: Any = None
    error: Exception | None = None
    history: str = ""
    subject: RunId | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it can go on now."""
        return self.call is not None and self.process.is_alive and not self.is_done

    def note(self, told: object) -> None:
        """Take what it was told into its history."""
        self.history = sha256(f"{self.history}|{told!r}".encode()).hexdigest()


class Loop:
    """All actors, and the time.

    Attributes:
        now: True time, seconds since the start.
        steps: Boundaries passed.
    """

    def __init__(
        self, start: datetime, *, on_kill: Callable[[Process], None] = lambda _: None
    ) -> None:
        """Begin at that time of day; `on_kill` is told of each process that ends."""
        self.on_kill = on_kill
        self.now = 0.0
        self.steps = 0
        self.actors: list[Actor] = []
        self.current: Actor | None = None
        self._start = start
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._trace = sha256()

    def spawn(self, name: str, process: Process, body: Coroutine[Any, Any, Any]) -> Actor:
        """Begin a coroutine; it goes on to its first boundary or sleep."""
        actor = Actor(name, process, body)
        self.actors.append(actor)
        self._resume(actor, None)
        return actor

    def ready(self) -> list[Actor]:
        """Return the actors that stand at a boundary, the longest alive first."""
        return [actor for actor in self.actors if actor.is_ready]

    def step(self, actor: Actor, fault: Fault | None = None) -> None:
        """Let an actor make its call, and go on to its next boundary, sleep or end."""
        self.steps += 1
        self.trace(actor.name, actor.call, fault)
        self._resume(actor, fault)

    def advance(self) -> bool:
        """Let time pass until something happens; say whether anything will."""
        sleepers = [actor for actor in self.actors if actor.wake_at is not None]
        times = [actor.wake_at for actor in sleepers if actor.wake_at is not None]
        if self._timers:
            times.append(self._timers[0][0])
        if not times:
            return False
        self.now = max(self.now, min(times))
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()
        for actor in sleepers:
            if actor.wake_at is not None and actor.wake_at <= self.now and actor.process.is_alive:
                self._resume(actor, None)
        return True

    def pass_time(self, seconds: float) -> None:
        """Let that much time pass; whoever slept until then wakes."""
        self.later(seconds, lambda: None)
        until = self.now + seconds
        while self.now < until:
            self.advance()

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something after that many seconds."""
        heapq.heappush(self._timers, (self.now + seconds, next(self._order), do))

    @property
    def has_timers(self) -> bool:
        """Whether something is still to happen by itself."""
        return bool(self._timers)

    @property
    def has_more(self) -> bool:
        """Whether anything will happen if time passes."""
        return self.has_timers or any(actor.wake_at is not None for actor in self.actors)

    def kill(self, process: Process) -> None:
        """End a process: all that it knew is gone."""
        process.is_alive = False
        self.trace(process.name, "killed")
        for actor in self.actors:
            if actor.process is process and not actor.is_done:
                actor.is_done, actor.call, actor.wake_at = True, None, None
                if actor is not self.current:
                    actor.coroutine.close()
        self.actors = [actor for actor in self.actors if actor.process.is_alive]
        self.on_kill(process)

    def trace(self, *what: object) -> None:
        """Take something that happened into the trace."""
        self._trace.update(f"{self.now:.3f}|{'|'.join(map(str, what))}\n".encode())

    @property
    def trace_hash(self) -> str:
        """The digest of all that happened: equal for equal plans, whatever the machine."""
        return self._trace.hexdigest()

    def time_of_day(self, skew_seconds: float = 0.0) -> datetime:
        """Return the time that a clock with that skew shows."""
        return self._start + timedelta(seconds=self.now + skew_seconds)

    def _resume(self, actor: Actor, fault: Fault | None) -> None:
        actor.call = actor.wake_at = None
        with self._running(actor):
            try:
                request = actor.coroutine.send(fault)
            except StopIteration as ended:
                actor.is_done, actor.result = True, ended.value
                self.trace(actor.name, "ended")
                return
            except Exception as error:  # noqa: BLE001 - kept for the checker, which judges it
                actor.is_done, actor.error = True, error
                self.trace(actor.name, "raised", type(error).__name__)
                return
        match request:
            case Call():
                actor.call = request
            case _Sleep(until):
                actor.wake_at = until
            case _Death():
                self.kill(actor.process)
                actor.coroutine.close()

    @contextmanager
    def _running(self, actor: Actor) -> Iterator[None]:
        before, self.current = self.current, actor
        try:
            yield
        finally:
            self.current = before

    # What actors await

    async def boundary(self, call: Call) -> Fault | None:
        """Stand still before a call until the driver lets it be made; return what goes wrong."""
        return await _suspend(call)

    async def sleep(self, seconds: float) -> None:
        """Stand still for that long."""
        await _suspend(_Sleep(self.now + max(0.0, seconds)))

    async def die(self) -> None:
        """End the process."""
        await _suspend(_Death())


@frozen
class ProcessClock:
    """A process's clock: its time of day may be wrong, its seconds are not."""

    loop: Loop
    process: Process

    def now(self) -> datetime:
        return self.loop.time_of_day(self.process.skew_seconds)

    def monotonic(self) -> float:
        return self.loop.now

    async def sleep(self, seconds: float) -> None:
        await self.loop.sleep(seconds)
