"""The durable memory."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Protocol

from orchestrator_core.books import StrategyBook
from orchestrator_core.commits import (
    Backlog,
    ClaimAnswer,
    EarlierRun,
    FollowedOrder,
    Lease,
    OpenOrder,
    OrderNews,
    PlanCommit,
    PlanRecord,
    RunClosing,
    RunOpening,
    TakenRun,
    WaveClaim,
)
from orchestrator_core.controls import ControlEvent, StrategyControls
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId, Symbol
from orchestrator_core.kill_switch import (
    HistoryEntry,
    Latch,
)
from orchestrator_core.model import Reference
from orchestrator_core.orders import Settlement
from orchestrator_core.replay import RecordFilter, StoredRecord
from orchestrator_core.runs import Run, RunFilter, RunPage


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

        A record that names a book's version is committed only while the run database has it, and
        makes the next version, for every strategy, in the same commit; else nothing is stored, and
        the answer is stale. Commits that name one wait for each other, whatever their strategies. A
        plan that is stored already is never stale.
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
        where nothing else of theirs is open. Otherwise it stays `running`, and recovery may take it
        after `closing.look_again_seconds`.
        """
        ...

    async def take_run(
        self, strategy_id: StrategyId, *, lease_seconds: float, run_id: RunId | None = None
    ) -> TakenRun | None:
        """Take over one run of the strategy that is due, the longest due first; None if none is.

        Due is a run whose lease has ended, or that was given back to be looked at again after a
        time that has passed. Runs that another taker holds locked are passed over. In one commit
        the lease goes to the taker, one epoch later, and each order that is SENDING becomes
        UNKNOWN. Time is the database's own.

        Not to be repeated: after `OutcomeUnknown` the run may be held until that lease ends.

        Args:
            strategy_id: Whose runs: another strategy's gateway may be another.
            lease_seconds: How long the taker may stay silent.
            run_id: This run alone, due or not, if it is open and nobody holds it.
        """
        ...

    async def take_followed(
        self, strategy_id: StrategyId, *, limit: int, hold_seconds: float
    ) -> Sequence[FollowedOrder]:
        """Take orders whose time to be asked about has come, the longest due first.

        Each is due again after `hold_seconds`, unless `record_news` says otherwise. Orders that
        another taker holds locked are passed over. Repeating it is harmless.
        """
        ...

    async def record_news(self, news: Sequence[OrderNews]) -> None:
        """Record what looks at followed orders brought, in one commit.

        A word that is no longer the one compared with stays. The count of filled orders is brought
        up to date in the runs of these orders, and in the runs that adopted them; the columns that
        reports read of an adopted order show its owner's word.
        """
        ...

    async def live_orders(
        self, *, after: ClientOrderId | None, limit: int
    ) -> Sequence[FollowedOrder]:
        """Return accepted orders that had not ended when last heard of, of every strategy. A read.

        Args:
            after: Only those behind this one, in the order of client order ids.
            limit: As many at most.
        """
        ...

    async def backlog(self) -> Backlog:
        """Return what waits for recovery. A read."""
        ...

    async def get_run(self, run_id: RunId) -> Run | None:
        """Return the run, adopted orders as their owners stand now; None if unknown. A read."""
        ...

    async def list_runs(self, matching: RunFilter, *, limit: int, offset: int) -> RunPage:
        """Return a page of runs, newest first, and how many match in all. A read."""
        ...

    async def get_record(self, run_id: RunId) -> StoredRecord | None:
        """Return what the run's plan was derived from, as stored, with the plan's rows. A read.

        Nothing is checked: a damaged record comes as it stands. None: the run is unknown, has no
        plan yet, or is of the replaced service.
        """
        ...

    async def records(
        self, matching: RecordFilter, *, after: StoredRecord | None, limit: int
    ) -> Sequence[StoredRecord]:
        """Return a page of the runs' records, as `get_record` does, oldest first. A read.

        Args:
            matching: Which of them.
            after: Only those behind this one, by start and then by id.
            limit: As many at most.
        """
        ...

    async def read_book(self, strategy_id: StrategyId, as_of_date: date) -> StrategyBook:
        """Return the strategy's book for one date. A read.

        The version is read no later than the orders: what is committed between is in the orders, or
        makes the version stale. An accepted order of which the gateway has no record of its own
        (`dry_run`) or that has ended is no open order.
        """
        ...

    async def last_accepted(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Reference]:
        """Return the price that each symbol's latest accepted order was sized with. A read.

        Of every strategy; the latest by the time of its claim. A symbol without one is left out.
        """
        ...

    async def read_controls(
        self, strategy_id: StrategyId, *, count_failures: int
    ) -> StrategyControls:
        """Return how the strategy's controls stand. A read.

        Args:
            strategy_id: Whose.
            count_failures: How far failed runs are counted; 0 spares the counting.
        """
        ...

    async def add_control_event(self, event: ControlEvent) -> None:
        """Record what an operator did, once: the same event is there already when repeated.

        It is the latest event from then on, whatever time it tells.
        """
        ...

    async def control_events(
        self, strategy_id: StrategyId, *, limit: int
    ) -> Sequence[ControlEvent]:
        """Return what operators did for the strategy, what was recorded last first. A read."""
        ...

    async def open_orders(self) -> Sequence[OpenOrder]:
        """Return all orders SENDING, UNKNOWN, UNRESOLVED or CONFLICT, of every replica. A read."""
        ...

    async def read_latch(self) -> Latch | None:
        """Return the latch, or None where there never was one. A read."""
        ...

    async def swap_latch(
        self, expected: Latch | None, new: Latch, *, entry: HistoryEntry | None = None
    ) -> bool:
        """Replace the latch if it still equals `expected`; say whether it did.

        Waits for claims under way to commit: after it returns True, every claim at an earlier
        epoch is committed or will be refused.

        Args:
            expected: The latch as it was read; None where there was none.
            new: What is to stand there.
            entry: Goes into the durable history in the same commit, once: an entry of the same
                event, time and operator is there already.
        """
        ...

    async def switch_history(self, *, limit: int) -> Sequence[HistoryEntry]:
        """Return the durable history of the kill switch, newest first. A read."""
        ...

    async def check(self) -> None:
        """Return if the store answers. A read."""
        ...
