"""Real memory adapters whose calls can be made to fail, or be come between."""

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import TypeVar

from attrs import define, field

from orchestrator_adapters.memory.kill_switch import MemoryKillSwitch
from orchestrator_adapters.memory.runs import MemoryRunRepository
from orchestrator_core.commits import OpenOrder
from orchestrator_core.controls import ControlEvent
from orchestrator_core.errors import OutcomeUnknown, Unavailable
from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    HistoryEntry,
    KillSwitchState,
    Latch,
)
from orchestrator_core.ports import Clock, SwitchChange

Answer = TypeVar("Answer")


class Failing(Enum):
    """When a call fails: before it had its effect, or after."""

    BEFORE = "before"
    AFTER = "after"


@define
class Calls:
    """What happens at which call; the calls of all stores are counted together, from 1.

    Attributes:
        fail_at: Number of the call that fails.
        failing: When it does.
        down: Ports whose every call fails before its effect.
        interrupt_at: Number of the call before which `interrupt` is awaited; what it calls itself
            is neither counted nor made to fail.
        seen: The calls so far, as `port.operation`.
    """

    fail_at: int | None = None
    failing: Failing = Failing.BEFORE
    down: frozenset[str] = frozenset()
    interrupt_at: int | None = None
    interrupt: Callable[[], Awaitable[object]] | None = None
    seen: list[str] = field(factory=list)
    _is_interrupting: bool = field(default=False, init=False)

    async def make(
        self, port: str, operation: str, call: Callable[[], Awaitable[Answer]], *, writes: bool
    ) -> Answer:
        if self._is_interrupting:
            return await call()
        self.seen.append(f"{port}.{operation}")
        number = len(self.seen)
        if number == self.interrupt_at and self.interrupt is not None:
            self._is_interrupting = True
            await self.interrupt()
            self._is_interrupting = False
        fails = number == self.fail_at
        if port in self.down or (fails and self.failing is Failing.BEFORE):
            raise Unavailable(port, operation, "down")
        answer = await call()
        if fails:
            kind = OutcomeUnknown if writes else Unavailable
            raise kind(port, operation, "no answer")
        return answer


@define(eq=False)
class InterruptedKillSwitch:
    """The memory kill switch behind `calls`."""

    inner: MemoryKillSwitch
    calls: Calls

    async def read(self) -> KillSwitchState | None:
        return await self.calls.make("kill_switch", "read", self.inner.read, writes=False)

    async def engage(self, engagement: Engagement, *, latch_epoch: int | None) -> SwitchChange:
        return await self.calls.make(
            "kill_switch",
            "engage",
            lambda: self.inner.engage(engagement, latch_epoch=latch_epoch),
            writes=True,
        )

    async def disengage(
        self, disengagement: Disengagement, *, latch_epoch: int, only_create: bool = False
    ) -> SwitchChange:
        return await self.calls.make(
            "kill_switch",
            "disengage",
            lambda: self.inner.disengage(
                disengagement, latch_epoch=latch_epoch, only_create=only_create
            ),
            writes=True,
        )

    async def stamp(self, expected: KillSwitchState, *, latch_epoch: int) -> bool:
        return await self.calls.make(
            "kill_switch",
            "stamp",
            lambda: self.inner.stamp(expected, latch_epoch=latch_epoch),
            writes=True,
        )

    async def history(self, *, limit: int) -> Sequence[HistoryEntry]:
        return await self.inner.history(limit=limit)

    async def check(self) -> None:
        await self.inner.check()


class InterruptedRuns(MemoryRunRepository):
    """The memory run database, with its latch, open orders and controls behind `calls`."""

    def __init__(self, clock: Clock, calls: Calls) -> None:
        super().__init__(clock)
        self.calls = calls

    async def open_orders(self) -> Sequence[OpenOrder]:
        return await self.calls.make("runs", "open_orders", super().open_orders, writes=False)

    async def read_latch(self) -> Latch | None:
        return await self.calls.make("runs", "read_latch", super().read_latch, writes=False)

    async def swap_latch(
        self, expected: Latch | None, new: Latch, *, entry: HistoryEntry | None = None
    ) -> bool:
        swap = super().swap_latch
        return await self.calls.make(
            "runs", "swap_latch", lambda: swap(expected, new, entry=entry), writes=True
        )

    async def add_control_event(self, event: ControlEvent) -> None:
        add = super().add_control_event
        await self.calls.make("runs", "add_control_event", lambda: add(event), writes=True)
