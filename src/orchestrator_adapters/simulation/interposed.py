"""Boundaries round the ports: where the driver's faults come in."""

from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from typing import Any, Protocol, TypeVar, cast

from attrs import frozen

from orchestrator_adapters.simulation.faults import FaultKind, is_write
from orchestrator_adapters.simulation.loop import Call, Loop, Process
from orchestrator_core.errors import OutcomeUnknown, PortError, Unavailable
from orchestrator_core.model import OrderIntent, SafetyFlags
from orchestrator_core.ports import (
    CancelOutcome,
    Inquiry,
    LookUp,
    LookUpKind,
    OrderSink,
    SubmitKind,
    SubmitOutcome,
    one_after_the_other,
)

Answer = TypeVar("Answer")
Port = TypeVar("Port")
First = TypeVar("First")
Second = TypeVar("Second")

STALL_SECONDS = 45.0
LATE_SECONDS = 25.0
# Beyond the pause that a gateway asks for, and before whoever stands still goes on.
ECHO_SECONDS = 2.0


class _InTurn:
    """Two things awaited one after the other, both let go of if their process dies meanwhile."""

    def __init__(self, first: Awaitable[Any], second: Awaitable[Any]) -> None:
        self._both = (first, second)

    def __await__(self) -> Generator[Any, Any, tuple[Any, Any]]:
        try:
            return (yield from one_after_the_other(*self._both).__await__())
        finally:
            self.close()

    def close(self) -> None:
        for each in self._both:
            if isinstance(each, Coroutine | _InTurn):
                each.close()


class InTurn:
    """Awaits both, the first first: `Together` for actors, which may die at any boundary."""

    def __call__(
        self, first: Awaitable[First], second: Awaitable[Second]
    ) -> Coroutine[Any, Any, tuple[First, Second]]:
        # All that anybody does with it is to await it or to close it.
        return cast("Coroutine[Any, Any, tuple[First, Second]]", _InTurn(first, second))


class Surroundings(Protocol):
    """What a boundary needs to know of the world."""

    @property
    def loop(self) -> Loop: ...

    def is_down(self, port: str) -> bool:
        """Whether the port cannot be reached now."""
        ...

    def note_call(self, process: Process, call: Call, answer: object) -> None:
        """Learn that a call had its effect."""
        ...

    def begin_post(self, process: Process, intent: OrderIntent) -> None:
        """Learn that the bytes of an order leave."""
        ...

    def echo(self, call: Call, perform: Callable[[], Awaitable[object]]) -> None:
        """Let a call that was made be made once more, after `ECHO_SECONDS`."""
        ...

    def deliver_late(self, intent: OrderIntent, seconds: float) -> None:
        """Let an order that has left arrive after that long."""
        ...


@frozen
class Boundary:
    """The place before each call of one process."""

    world: Surroundings
    process: Process

    async def call(
        self, port: str, operation: str, perform: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        """Make the call, or what the driver lets become of it.

        Raises:
            Unavailable: Nothing was done.
            OutcomeUnknown: It may have been.
        """
        call = Call(port, operation)
        fault = await self.world.loop.boundary(call)
        kind = None if fault is None else fault.kind
        if kind is FaultKind.STALL:
            await self.world.loop.sleep(STALL_SECONDS)
        if kind is FaultKind.REFUSED or self.world.is_down(port):
            raise self._told(Unavailable(port, operation, "down"))
        if kind is FaultKind.LOST:
            raise self._told(OutcomeUnknown(port, operation, "no answer"))
        if kind is FaultKind.TWICE:
            self.world.note_call(self.process, call, await perform())
        try:
            answer = await perform()
        except Exception as error:
            self._note(error)
            raise
        self.world.note_call(self.process, call, answer)
        if kind is FaultKind.ECHO:
            self.world.echo(call, perform)
        if kind is FaultKind.CRASH_AFTER:
            await self.world.loop.die()
        if kind is FaultKind.ANSWER_LOST:
            lost = OutcomeUnknown if is_write(port, operation) else Unavailable
            raise self._told(lost(port, operation, "no answer"))
        self._note(answer)
        return answer

    def _told(self, error: PortError) -> PortError:
        self._note(error)
        return error

    def _note(self, told: object) -> None:
        actor = self.world.loop.current
        if actor is not None:
            actor.note(told)


@frozen
class _Interposed:
    """Any port, each of whose calls is a boundary."""

    inner: object
    port: str
    boundary: Boundary

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self.inner, operation)

        async def call(*arguments: Any, **named: Any) -> Any:
            return await self.boundary.call(
                self.port, operation, lambda: method(*arguments, **named)
            )

        return call


def interposed(inner: Port, port: str, boundary: Boundary) -> Port:
    """Return the port with a boundary before each of its calls."""
    return cast("Port", _Interposed(inner, port, boundary))


@frozen
class InterposedSink:
    """A gateway each of whose orders, look-ups and cancels is a boundary of its own."""

    inner: OrderSink
    boundary: Boundary

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        return [await self._place(intent, deadline) for intent in intents]

    async def look_up(self, inquiries: Sequence[Inquiry]) -> Sequence[LookUp]:
        return [await self._look_up(inquiry) for inquiry in inquiries]

    async def cancel(self, inquiries: Sequence[Inquiry]) -> Sequence[CancelOutcome]:
        return [await self._cancel(inquiry) for inquiry in inquiries]

    async def safety_flags(self) -> SafetyFlags:
        return await self.boundary.call("orders", "safety_flags", self.inner.safety_flags)

    async def _place(self, intent: OrderIntent, deadline: float) -> SubmitOutcome:
        world, process = self.boundary.world, self.boundary.process
        fault = await world.loop.boundary(Call("orders", "submit"))
        kind = None if fault is None else fault.kind
        if kind is FaultKind.STALL:
            await world.loop.sleep(STALL_SECONDS)
        if kind is FaultKind.REFUSED or world.is_down("orders"):
            outcome = _not_placed(intent, "refused", unreachable=True)
        elif world.loop.now > deadline:
            outcome = _not_placed(intent, "not sent before its deadline")
        else:
            world.begin_post(process, intent)
            outcome = _answer_of_gates(intent, kind) or await self._deliver(intent, kind, deadline)
        actor = world.loop.current
        if actor is not None:
            actor.note(outcome)
        return outcome

    async def _deliver(
        self, intent: OrderIntent, kind: FaultKind | None, deadline: float
    ) -> SubmitOutcome:
        world = self.boundary.world
        unknown = SubmitOutcome(intent.client_order_id, SubmitKind.UNKNOWN, cause="no answer")
        if kind is FaultKind.LOST:
            return unknown
        if kind is FaultKind.LATE:
            world.deliver_late(intent, LATE_SECONDS)
            return unknown
        if kind is FaultKind.TWICE:
            await self.inner.submit([intent], deadline=deadline)
        [outcome] = await self.inner.submit([intent], deadline=deadline)
        if kind is FaultKind.ECHO:
            world.deliver_late(intent, ECHO_SECONDS)
        world.note_call(self.boundary.process, Call("orders", "submit"), outcome)
        if kind is FaultKind.CRASH_AFTER:
            await world.loop.die()
        return unknown if kind is FaultKind.ANSWER_LOST else outcome

    async def _look_up(self, inquiry: Inquiry) -> LookUp:
        try:
            [answer] = await self.boundary.call(
                "orders", "look_up", lambda: self.inner.look_up([inquiry])
            )
        except PortError as error:
            id_ = inquiry.intent.client_order_id
            return LookUp(id_, LookUpKind.UNANSWERED, cause=error.cause)
        return answer

    async def _cancel(self, inquiry: Inquiry) -> CancelOutcome:
        try:
            [answer] = await self.boundary.call(
                "orders", "cancel", lambda: self.inner.cancel([inquiry])
            )
        except PortError as error:
            return CancelOutcome(
                inquiry.intent.client_order_id, is_requested=False, cause=error.cause
            )
        return answer


def _not_placed(intent: OrderIntent, cause: str, *, unreachable: bool = False) -> SubmitOutcome:
    return SubmitOutcome(
        intent.client_order_id, SubmitKind.NOT_PLACED, cause=cause, unreachable=unreachable
    )


def _answer_of_gates(intent: OrderIntent, kind: FaultKind | None) -> SubmitOutcome | None:
    """Return what the gateway answers before it looks into its book, if it does."""
    id_ = intent.client_order_id
    if kind is FaultKind.DEFERRED:
        return SubmitOutcome(id_, SubmitKind.DEFERRED, cause="HTTP 429", retry_after=1.0)
    if kind is FaultKind.BLOCKED:
        return SubmitOutcome(id_, SubmitKind.REJECTED, cause="HTTP 422 at the gates")
    return None
