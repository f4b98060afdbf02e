"""What the core needs from outside: capabilities, as protocols.

Every method says which errors it raises and whether the action may have happened. `Unavailable`
always means certainly not done. Time-outs, retries and concurrency are the adapters' business; no
method waits without a bound.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from enum import StrEnum
from typing import Protocol, TypeVar

from attrs import frozen

from orchestrator_core.errors import OrchestratorError
from orchestrator_core.identifiers import ClientOrderId, RunId, Symbol
from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    HistoryEntry,
    KillSwitchState,
    Latch,
)
from orchestrator_core.model import (
    NoQuote,
    OrderIntent,
    OrderReport,
    Position,
    Quote,
    SafetyFlags,
    SignalBatch,
)
from orchestrator_core.requests import RunRequest
from orchestrator_core.runs import (
    ClaimAnswer,
    EarlierRun,
    Lease,
    OpenOrder,
    PlanCommit,
    PlanRecord,
    Run,
    RunClosing,
    RunFilter,
    RunOpening,
    RunPage,
    Settlement,
    WaveClaim,
)

First = TypeVar("First")
Second = TypeVar("Second")


class Clock(Protocol):
    """Time. The core has no other."""

    def now(self) -> datetime:
        """Return the time of day, aware, in UTC. It may jump."""
        ...

    def monotonic(self) -> float:
        """Return seconds that only ever grow, from an arbitrary start."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds."""
        ...


class SignalSource(Protocol):
    """Where a strategy's signals come from."""

    async def fetch(self, request: RunRequest) -> SignalBatch:
        """Return the strategy's whole answer to the request. A read: may be repeated.

        Raises:
            Unavailable: Down, warming, inactive, pacing us, or silent beyond its deadline.
            Refused: The strategy refuses this request; `cause` holds its own words.
            MalformedReply: The answer is not of the agreed form.
        """
        ...


class PriceSource(Protocol):
    """Where prices come from."""

    async def quotes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Quote | NoQuote]:
        """Return one answer a symbol: a quote, or why there is none. A read.

        A price's age is not judged here.

        Raises:
            Unavailable: The source cannot be asked.
        """
        ...


class PositionSource(Protocol):
    """What the account holds."""

    async def positions(self) -> Mapping[Symbol, Position]:
        """Return the positions that are not zero. A read.

        Raises:
            Unavailable: The source cannot be asked.
            MalformedReply: The answer is not of the agreed form.
        """
        ...


class SubmitKind(StrEnum):
    """What is known after one try to place an order."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    NOT_PLACED = "not_placed"
    CONFLICT = "conflict"
    UNKNOWN = "unknown"
    DEFERRED = "deferred"


@frozen
class SubmitOutcome:
    """What is known of one intent after a try.

    Attributes:
        kind: UNKNOWN whenever the order may have been placed.
        report: The gateway's word, when it acknowledged the order.
        cause: Why it was not accepted; holds no secret.
        retry_after: Seconds to wait before a deferred order is claimed again.
        stops_run: What went wrong will meet every further order too.
        unreachable: The gateway could not be reached at all.
    """

    client_order_id: ClientOrderId
    kind: SubmitKind
    report: OrderReport | None = None
    cause: str | None = None
    retry_after: float | None = None
    stops_run: bool = False
    unreachable: bool = False


class OrderSink(Protocol):
    """Where orders go."""

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        """Try to place each order once; return one outcome an intent, in order.

        Never raises for an order's fate. An intent whose sending has not begun by `deadline`
        (the clock's monotonic seconds) is dropped, NOT_PLACED.
        """
        ...

    async def look_up(self, client_order_id: ClientOrderId) -> OrderReport | None:
        """Return the gateway's record of an order, or None where it has none. A read.

        None is no evidence while a first try may still be in flight.

        Raises:
            Unavailable: The gateway cannot be asked.
            MalformedReply: The answer is not of the agreed form.
        """
        ...

    async def safety_flags(self) -> SafetyFlags:
        """Return the brakes that the gateway says are on. A read.

        Raises:
            Unavailable: The gateway cannot be asked.
            MalformedReply: The answer is not of the agreed form.
        """
        ...


class RunRepository(Protocol):
    """The durable memory: runs, plans, orders, and the latch that every claim locks.

    Every write is atomic, and repeating a write after `OutcomeUnknown` is safe: the repeat finds
    its own work done, or does it.

    Each method raises `Unavailable` when certainly nothing was done. A write raises
    `OutcomeUnknown` when its commit may have happened. A write under a lease raises `LeaseLost`,
    and changes nothing, when the lease's epoch is old.
    """

    async def open_run(self, opening: RunOpening) -> Lease | EarlierRun:
        """Commit the run's row, its lease and its idempotency key.

        Returns:
            The lease, or the finished run that the key already stands for.

        Raises:
            Conflict: The key stands for another request, or for a run still going.
        """
        ...

    async def commit_plan(
        self, lease: Lease, record: PlanRecord, claim: WaveClaim | None
    ) -> PlanCommit:
        """Commit the plan with its snapshot, and claim the first wave, in one transaction.

        An order whose id another run's row holds is stored ADOPTED. A claim obeys the rules of
        `commit_wave`; the plan is committed whatever becomes of the claim.
        """
        ...

    async def commit_wave(
        self, lease: Lease, settlements: Sequence[Settlement], claim: WaveClaim | None
    ) -> ClaimAnswer:
        """Record outcomes, renew the lease, and claim the next wave as SENDING: one transaction.

        Outcomes are recorded on the lease alone. The claim locks the latch's row against change
        until the commit, and takes PLANNED orders only if the latch stands disengaged at the
        claim's epoch. Repeating a claim's number returns what that claim took before.
        """
        ...

    async def close_run(self, lease: Lease, closing: RunClosing) -> Run:
        """Record the last outcomes, give the lease back, and return the run as stored.

        Nothing open: the run is completed, and runs that adopted its orders are completed with it
        where nothing else of theirs is open. Otherwise it stays `running`.
        """
        ...

    async def get_run(self, run_id: RunId) -> Run | None:
        """Return the run, adopted orders as their owners stand now; None if unknown. A read."""
        ...

    async def list_runs(self, matching: RunFilter, *, limit: int, offset: int) -> RunPage:
        """Return a page of runs, newest first, and how many match in all. A read."""
        ...

    async def open_orders(self) -> Sequence[OpenOrder]:
        """Return all orders SENDING, UNKNOWN, UNRESOLVED or CONFLICT, of every replica. A read."""
        ...

    async def read_latch(self) -> Latch | None:
        """Return the latch, or None where there never was one. A read."""
        ...

    async def swap_latch(self, expected: Latch | None, new: Latch) -> bool:
        """Replace the latch if it still equals `expected`; say whether it did.

        Waits for claims under way to commit: after it returns True, every claim at an earlier
        epoch is committed or will be refused.
        """
        ...

    async def check(self) -> None:
        """Return if the store answers. A read."""
        ...


@frozen
class SwitchChange:
    """The shared state after a change, and whether it was this call that changed it."""

    state: KillSwitchState
    changed: bool


class KillSwitch(Protocol):
    """The shared half of the kill switch. Each change is atomic and goes into the history.

    Each method raises `Unavailable` when certainly nothing was done, and a write `OutcomeUnknown`
    when it may have been. Repeating a write is safe.
    """

    async def read(self) -> KillSwitchState | None:
        """Return the state, or None where there is none.

        Asks in a way that only a writable store answers: an old copy must not say ACTIVE.

        Raises:
            MalformedReply: What stands there is no state.
        """
        ...

    async def engage(self, engagement: Engagement, *, latch_epoch: int | None) -> SwitchChange:
        """Set ENGAGED, whatever stood there.

        A state that is ENGAGED already keeps who engaged it and why, and is not changed but for
        its epoch. The state's epoch becomes the larger of its own and `latch_epoch`.
        """
        ...

    async def disengage(
        self, disengagement: Disengagement, *, latch_epoch: int, only_create: bool = False
    ) -> SwitchChange:
        """Set ACTIVE at that epoch; unchanged if it stands so already.

        A state at a later epoch is left as it stands: somebody changed the switch since the latch
        was read. Anything else that stood there gives way, also what is no state.

        Args:
            disengagement: Who lets go.
            latch_epoch: Epoch of the latch, as it was read before.
            only_create: Leave a state that is ENGAGED as it stands.
        """
        ...

    async def stamp(self, expected: KillSwitchState, *, latch_epoch: int) -> bool:
        """Write the epoch into the state if it still equals `expected`; say whether it did."""
        ...

    async def history(self, *, limit: int) -> Sequence[HistoryEntry]:
        """Return the last changes, newest first. A read."""
        ...

    async def check(self) -> None:
        """Return if the store answers. A read."""
        ...


class BreakerState(StrEnum):
    """The circuit breaker's word."""

    OPEN = "OPEN"
    TRIPPED = "TRIPPED"


@frozen
class Breaker:
    """The shared circuit breaker.

    Attributes:
        state: OPEN lets trading go on, as the breaker's owner writes it.
        reason: Why it tripped.
    """

    state: BreakerState
    reason: str | None = None


class CircuitBreaker(Protocol):
    """A brake that other services pull."""

    async def read(self) -> Breaker | None:
        """Return the breaker, or None where none was ever set. A read.

        Raises:
            Unavailable: The store cannot be asked.
            MalformedReply: What stands there is no state.
        """
        ...


class Together(Protocol):
    """How two things are awaited: one after the other, or at once."""

    async def __call__(
        self, first: Awaitable[First], second: Awaitable[Second]
    ) -> tuple[First, Second]:
        """Await both to their end, then return both results, or raise the first's error first."""
        ...


async def one_after_the_other(
    first: Awaitable[First], second: Awaitable[Second]
) -> tuple[First, Second]:
    """Await the second whatever the first does: `Together` for adapters that never suspend."""
    try:
        earlier = await first
    except OrchestratorError:
        with suppress(OrchestratorError):
            await second
        raise
    return earlier, await second


@frozen
class RunPorts:
    """All that `execute_run` reaches outside through.

    Attributes:
        breaker: None where none is enabled.
        together: How reads that do not wait for each other are awaited.
        stopping: Whether the process was told to end: no further wave is claimed.
    """

    signals: SignalSource
    prices: PriceSource
    sink: OrderSink
    runs: RunRepository
    kill_switch: KillSwitch
    clock: Clock
    breaker: CircuitBreaker | None = None
    together: Together = one_after_the_other
    stopping: Callable[[], bool] = lambda: False
