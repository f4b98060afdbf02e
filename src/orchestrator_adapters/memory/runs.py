"""The run database in memory: the same rules as the durable ones, no durability.

No method suspends, so each is atomic among the tasks of one event loop.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from attrs import evolve

from orchestrator_adapters.memory.books import MemoryBooks
from orchestrator_adapters.memory.following import MemoryFollowing
from orchestrator_adapters.memory.records import page_of, record_of
from orchestrator_adapters.memory.stored_run import StoredRun
from orchestrator_adapters.memory.stored_runs import StoredRuns
from orchestrator_adapters.run_rows import summarise
from orchestrator_adapters.run_rules import (
    FIRST_LEASE_EPOCH,
    REGISTERED_OPEN,
    frees_key_of_adopter,
    settle_once,
    taken_over,
)
from orchestrator_adapters.switch_rows import newest_first
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
from orchestrator_core.errors import IllegalTransition, LeaseLost
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId, Symbol
from orchestrator_core.kill_switch import EntryIdentity, HistoryEntry, Latch
from orchestrator_core.lifecycle import HOLDS_ID, OrderState, RunStatus
from orchestrator_core.model import Reference
from orchestrator_core.orders import Order, Settlement
from orchestrator_core.ports import Clock
from orchestrator_core.replay import RecordFilter, StoredRecord
from orchestrator_core.runs import Run, RunFailure, RunFilter, RunPage, RunSummary


class MemoryRunRepository:
    """Runs, plans, orders and the latch, for as long as the process lives."""

    def __init__(self, clock: Clock, *, latch: Latch | None = None) -> None:
        """Hold nothing.

        Args:
            clock: Tells when a lease ends.
            latch: The latch to begin with.
        """
        self._clock = clock
        self._latch = latch
        self._runs = StoredRuns()
        self._following = MemoryFollowing(clock)
        self._keeps_ids: dict[StrategyId, bool] = {}
        self._history: dict[EntryIdentity, HistoryEntry] = {}
        self._books = MemoryBooks()

    async def open_run(self, opening: RunOpening) -> Lease | EarlierRun:
        lease = Lease(opening.run_id, FIRST_LEASE_EPOCH, opening.lease_seconds)
        earlier = self._runs.get(opening.run_id)
        if earlier is not None:
            self._require_lease(lease)
            if earlier.run.request != opening.request:
                raise IllegalTransition(f"run {opening.run_id} was opened with another request")
            return lease
        key = opening.idempotency
        if key is not None:
            answer = self._runs.answer_of_key(opening.strategy_id, key)
            if answer is not None:
                return answer
        stored = StoredRun(
            run=Run(
                run_id=opening.run_id,
                strategy_id=opening.strategy_id,
                as_of_date=opening.as_of_date,
                request=opening.request,
                started_at=opening.started_at,
            ),
            key=key,
            lease_expires_at=self._expiry(lease),
            number=len(self._runs),
        )
        self._runs.add(stored)
        return lease

    async def commit_plan(
        self, lease: Lease, record: PlanRecord, claim: WaveClaim | None
    ) -> PlanCommit:
        stored = self._require_lease(lease)
        if stored.record is None:
            if record.book_version is not None:
                if self._books.version != record.book_version:
                    return PlanCommit((), is_stale=True)
                self._books.move()
            self._runs.add_plan(stored, record)
            self._books.add_plan(stored)
        elif stored.record != record:
            raise IllegalTransition(f"run {lease.run_id} has another plan already")
        stored.lease_expires_at = self._expiry(lease)
        answer = self._claim(stored, claim)
        return PlanCommit(self._runs.orders_of(stored), answer)

    async def commit_wave(
        self, lease: Lease, settlements: Sequence[Settlement], claim: WaveClaim | None
    ) -> ClaimAnswer:
        stored = self._require_lease(lease)
        if claim is None or not stored.has_made(claim):
            self._settle(stored, settlements)
        stored.lease_expires_at = self._expiry(lease)
        return self._claim(stored, claim)

    async def close_run(self, lease: Lease, closing: RunClosing) -> Run:
        stored = self._require_lease(lease, given_back=True)
        self._settle(stored, closing.settlements)
        stored.lease_expires_at = None
        wait = closing.look_again_seconds
        stored.recover_at = None if wait is None else self._clock.now() + timedelta(seconds=wait)
        run = self._leave(stored, failure=closing.failure, at=closing.at)
        if closing.frees_key and run.status is RunStatus.FAILED:
            self._runs.free_key(stored)
        for adopter in self._runs.waiting_adopters(stored):
            if frees_key_of_adopter(self._leave(adopter, failure=None, at=closing.at)):
                self._runs.free_key(adopter)
        return run

    def _leave(self, stored: StoredRun, *, failure: RunFailure | None, at: datetime) -> Run:
        was_completed = stored.run.completed_at is not None
        run = self._runs.leave(stored, failure=failure, at=at)
        if not was_completed:
            self._books.controls.end(run, number=stored.number)
        return run

    async def get_run(self, run_id: RunId) -> Run | None:
        stored = self._runs.get(run_id)
        return None if stored is None else self._runs.as_it_stands(stored)

    async def list_runs(self, matching: RunFilter, *, limit: int, offset: int) -> RunPage:
        found = [
            summary
            for summary in self._summaries()
            if matching.strategy_id in (None, summary.strategy_id)
            and matching.status in (None, summary.status)
        ]
        found.sort(key=lambda summary: summary.started_at, reverse=True)
        return RunPage(tuple(found[offset : offset + limit]), total=len(found))

    async def get_record(self, run_id: RunId) -> StoredRecord | None:
        stored = self._runs.get(run_id)
        return None if stored is None else record_of(stored, self._runs.as_it_stands(stored))

    async def records(
        self, matching: RecordFilter, *, after: StoredRecord | None, limit: int
    ) -> Sequence[StoredRecord]:
        page = page_of(self._runs, matching, after=after, limit=limit)
        records = (record_of(stored, self._runs.as_it_stands(stored)) for stored in page)
        return tuple(record for record in records if record is not None)

    async def open_orders(self) -> Sequence[OpenOrder]:
        return tuple(
            OpenOrder(
                stored.run.run_id, order.intent.client_order_id, order.intent.symbol, order.state
            )
            for stored in self._runs.running
            for order in stored.orders
            if order.intent is not None and order.state in REGISTERED_OPEN
        )

    async def take_run(
        self, strategy_id: StrategyId, *, lease_seconds: float, run_id: RunId | None = None
    ) -> TakenRun | None:
        now = self._clock.now()
        stored = self._runs.takable(strategy_id, run_id, now)
        if stored is None:
            return None
        stored.lease_epoch += 1
        lease = Lease(stored.run.run_id, stored.lease_epoch, lease_seconds)
        stored.lease_expires_at = self._expiry(lease)
        for id_ in stored.places:
            order = stored.order(id_)
            if order.state is OrderState.SENDING:
                stored.put(id_, taken_over(order))
        return TakenRun(
            lease=lease,
            run=self._runs.as_it_stands(stored),
            snapshot=None if stored.record is None else stored.record.snapshot,
            claim_ages={id_: (now - at).total_seconds() for id_, at in stored.claimed_at.items()},
            keeps_ids=self._keeps_ids.get(strategy_id),
        )

    async def take_followed(
        self, strategy_id: StrategyId, *, limit: int, hold_seconds: float
    ) -> Sequence[FollowedOrder]:
        return self._following.take(strategy_id, limit=limit, hold_seconds=hold_seconds)

    async def record_news(self, news: Sequence[OrderNews]) -> None:
        for each in news:
            stored = self._runs[each.run_id]
            order = stored.order(each.client_order_id)
            if order.report == each.before:
                stored.put(each.client_order_id, evolve(order, report=each.report))
                self._following.go_on(each)
                self._books.look_again(stored)

    async def live_orders(
        self, *, after: ClientOrderId | None, limit: int
    ) -> Sequence[FollowedOrder]:
        now = self._clock.now()
        found = [
            FollowedOrder(
                stored.run.run_id,
                intent,
                order.report,
                (now - stored.claimed_at.get(intent.client_order_id, now)).total_seconds(),
            )
            for stored, intent, order in self._books.open_orders()
            if order.state is OrderState.ACCEPTED
            and order.report is not None
            and (after is None or intent.client_order_id > after)
        ]
        found.sort(key=lambda order: order.intent.client_order_id)
        return tuple(found[:limit])

    async def backlog(self) -> Backlog:
        now = self._clock.now()
        due = [s.due_at for s in self._runs.running if s.due_at is not None and s.due_at <= now]
        return Backlog(
            runs_due=len(due),
            oldest_due_seconds=(now - min(due)).total_seconds() if due else 0.0,
            orders_followed=self._following.count,
        )

    async def read_book(self, strategy_id: StrategyId, as_of_date: date) -> StrategyBook:
        return self._books.read(strategy_id, as_of_date)

    async def last_accepted(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Reference]:
        return self._books.last_accepted(symbols)

    async def read_controls(
        self, strategy_id: StrategyId, *, count_failures: int
    ) -> StrategyControls:
        return self._books.controls.read(strategy_id, count_failures=count_failures)

    async def add_control_event(self, event: ControlEvent) -> None:
        self._books.controls.add(event)

    async def control_events(
        self, strategy_id: StrategyId, *, limit: int
    ) -> Sequence[ControlEvent]:
        return self._books.controls.events(strategy_id)[: max(limit, 0)]

    async def read_latch(self) -> Latch | None:
        return self._latch

    async def swap_latch(
        self, expected: Latch | None, new: Latch, *, entry: HistoryEntry | None = None
    ) -> bool:
        if self._latch != expected:
            return False
        self._latch = new
        if entry is not None:
            self._history.setdefault(entry.identity, entry)
        return True

    async def switch_history(self, *, limit: int) -> Sequence[HistoryEntry]:
        return newest_first(self._history.values())[: max(limit, 0)]

    def forget_runs(self) -> bool:
        """Let go of every run and book, and return whether it was done: not while a run is open.

        For a history so long that memory would grow with it. The latch, its history and what
        gateways keep stay; nothing more is known of a day's orders, of prices last accepted, or of
        runs that failed.
        """
        if any(True for _ in self._runs.running) or self._following.count:
            return False
        self._runs, self._books = StoredRuns(), MemoryBooks()
        self._following = MemoryFollowing(self._clock)
        return True

    async def check(self) -> None:
        return

    def _expiry(self, lease: Lease) -> datetime:
        return self._clock.now() + timedelta(seconds=lease.seconds)

    def _require_lease(self, lease: Lease, *, given_back: bool = False) -> StoredRun:
        stored = self._runs.get(lease.run_id)
        if stored is None or stored.lease_epoch != lease.epoch:
            raise LeaseLost(f"run {lease.run_id} is no longer ours")
        if stored.lease_expires_at is None and not given_back:
            raise LeaseLost(f"run {lease.run_id} was given back")
        return stored

    def _claim(self, stored: StoredRun, claim: WaveClaim | None) -> ClaimAnswer:
        if claim is None:
            return ClaimAnswer()
        if not stored.has_made(claim):
            latch = self._latch
            if latch is None or latch.engaged or latch.epoch != claim.latch_epoch:
                return ClaimAnswer(halted=True)
            stored.make(claim, at=self._clock.now())
        return ClaimAnswer(stored.sending_by(claim))

    def _settle(self, stored: StoredRun, settlements: Iterable[Settlement]) -> None:
        # All are judged before the first is stored: an illegal one changes nothing.
        judged: list[tuple[Settlement, Order]] = []
        settled: dict[ClientOrderId, Order] = {}
        for settlement in settlements:
            id_ = settlement.client_order_id
            settled[id_] = settle_once(settled.get(id_) or stored.order(id_), settlement)
            judged.append((settlement, settled[id_]))
        for settlement, order in judged:
            id_ = settlement.client_order_id
            if settlement.report is not None:
                kept = settlement.report.gateway_order_id == id_
                self._keeps_ids[stored.run.strategy_id] = kept
            claimed_at = stored.claimed_at.get(id_)
            self._following.settle(stored.run, order, settlement, claimed_at)
            is_news = order.state is not stored.order(id_).state
            if is_news and order.state is OrderState.ACCEPTED and claimed_at is not None:
                self._books.accept(order, claimed_at)
            stored.put(id_, order)
            if order.state not in HOLDS_ID:
                self._runs.let_go_of_id(stored, id_)

    def _summaries(self) -> Iterable[RunSummary]:
        # Newest first, so that runs of one moment stay so in a stable sort.
        return (summarise(self._runs.as_it_stands(stored)) for stored in reversed(self._runs))
