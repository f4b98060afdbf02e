"""The run repository, observed.

What it commits is what happened, so it is logged here: a run's opening and its plan, its taking
over, and each order that waits for an operator from then on.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from attrs import frozen

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
from orchestrator_core.kill_switch import HistoryEntry, Latch
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import Reference
from orchestrator_core.orders import Settlement
from orchestrator_core.ports import RunRepository
from orchestrator_core.replay import RecordFilter, StoredRecord
from orchestrator_core.resolving import RESOLVABLE
from orchestrator_core.runs import Run, RunFilter, RunPage
from orchestrator_entrypoints.explanations import warning_of
from orchestrator_entrypoints.logs import RUN_ID, log_event
from orchestrator_entrypoints.metrics import Metrics
from orchestrator_entrypoints.observed.calls import observed

_LOG = logging.getLogger("orchestrator.runs")

TO_RESOLVE = (
    "find out at the broker what became of it, then: orchestrator orders resolve {id} "
    "--as accepted|rejected|not_placed --operator NAME --evidence TEXT"
)


@frozen
class ObservedRuns:
    """A run repository, observed."""

    inner: RunRepository
    metrics: Metrics

    async def open_run(self, opening: RunOpening) -> Lease | EarlierRun:
        with observed(self.metrics, "runs", "open_run"):
            opened = await self.inner.open_run(opening)
        if isinstance(opened, Lease):
            log_event(
                _LOG,
                logging.INFO,
                "run opened",
                symbols=len(opening.request.symbols),
                as_of_date=opening.as_of_date,
                capital=opening.request.capital,
                dry_run=opening.request.dry_run,
            )
        return opened

    async def commit_plan(
        self, lease: Lease, record: PlanRecord, claim: WaveClaim | None
    ) -> PlanCommit:
        with observed(self.metrics, "runs", "commit_plan"):
            commit = await self.inner.commit_plan(lease, record, claim)
        if commit.is_stale:
            log_event(_LOG, logging.INFO, "plan came too late", book_version=record.book_version)
            return commit
        for decision in record.plan.decisions:
            if decision.denial is not None:
                self.metrics.orders_denied.labels(str(decision.denial.code)).inc()
        states = Counter(order.state for order in commit.orders)
        log_event(
            _LOG,
            logging.INFO,
            "plan committed",
            signals=len(commit.orders),
            claimed=len(commit.answer.claimed),
            skipped=states[OrderState.SKIPPED],
            denied=states[OrderState.DENIED],
            adopted=states[OrderState.ADOPTED],
        )
        warning = warning_of(record.snapshot)
        if warning is not None:
            log_event(_LOG, logging.WARNING, "decided against a warning", warning=warning)
        return commit

    async def commit_wave(
        self, lease: Lease, settlements: Sequence[Settlement], claim: WaveClaim | None
    ) -> ClaimAnswer:
        with observed(self.metrics, "runs", "commit_wave"):
            answer = await self.inner.commit_wave(lease, settlements, claim)
        self._tell_operator(settlements)
        if claim is not None and claim.resends:
            self.metrics.orders_resent.inc(len(answer.claimed))
        return answer

    async def close_run(self, lease: Lease, closing: RunClosing) -> Run:
        with observed(self.metrics, "runs", "close_run"):
            run = await self.inner.close_run(lease, closing)
        self._tell_operator(closing.settlements)
        return run

    def _tell_operator(self, settlements: Iterable[Settlement]) -> None:
        for settlement in settlements:
            if settlement.state not in RESOLVABLE:
                continue
            self.metrics.orders_left_to_operator.labels(str(settlement.state)).inc()
            log_event(
                _LOG,
                logging.ERROR,
                "order waits for an operator",
                client_order_id=settlement.client_order_id,
                state=str(settlement.state),
                reason=settlement.reason,
                to_do=TO_RESOLVE.format(id=settlement.client_order_id),
            )

    async def take_run(
        self, strategy_id: StrategyId, *, lease_seconds: float, run_id: RunId | None = None
    ) -> TakenRun | None:
        with observed(self.metrics, "runs", "take_run"):
            taken = await self.inner.take_run(
                strategy_id, lease_seconds=lease_seconds, run_id=run_id
            )
        if taken is not None:
            # What its taker logs from here on is of this run.
            RUN_ID.set(str(taken.run.run_id))
            log_event(
                _LOG,
                logging.INFO,
                "run taken over",
                epoch=taken.lease.epoch,
                open=taken.run.tally.open,
                has_plan=taken.snapshot is not None,
            )
        return taken

    async def take_followed(
        self, strategy_id: StrategyId, *, limit: int, hold_seconds: float
    ) -> Sequence[FollowedOrder]:
        with observed(self.metrics, "runs", "take_followed"):
            return await self.inner.take_followed(
                strategy_id, limit=limit, hold_seconds=hold_seconds
            )

    async def record_news(self, news: Sequence[OrderNews]) -> None:
        with observed(self.metrics, "runs", "record_news"):
            await self.inner.record_news(news)

    async def live_orders(
        self, *, after: ClientOrderId | None, limit: int
    ) -> Sequence[FollowedOrder]:
        with observed(self.metrics, "runs", "live_orders"):
            return await self.inner.live_orders(after=after, limit=limit)

    async def backlog(self) -> Backlog:
        with observed(self.metrics, "runs", "backlog"):
            return await self.inner.backlog()

    async def get_run(self, run_id: RunId) -> Run | None:
        with observed(self.metrics, "runs", "get_run"):
            return await self.inner.get_run(run_id)

    async def list_runs(self, matching: RunFilter, *, limit: int, offset: int) -> RunPage:
        with observed(self.metrics, "runs", "list_runs"):
            return await self.inner.list_runs(matching, limit=limit, offset=offset)

    async def get_record(self, run_id: RunId) -> StoredRecord | None:
        with observed(self.metrics, "runs", "get_record"):
            return await self.inner.get_record(run_id)

    async def records(
        self, matching: RecordFilter, *, after: StoredRecord | None, limit: int
    ) -> Sequence[StoredRecord]:
        with observed(self.metrics, "runs", "records"):
            return await self.inner.records(matching, after=after, limit=limit)

    async def read_book(self, strategy_id: StrategyId, as_of_date: date) -> StrategyBook:
        with observed(self.metrics, "runs", "read_book"):
            return await self.inner.read_book(strategy_id, as_of_date)

    async def last_accepted(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Reference]:
        with observed(self.metrics, "runs", "last_accepted"):
            return await self.inner.last_accepted(symbols)

    async def read_controls(
        self, strategy_id: StrategyId, *, count_failures: int
    ) -> StrategyControls:
        with observed(self.metrics, "runs", "read_controls"):
            return await self.inner.read_controls(strategy_id, count_failures=count_failures)

    async def add_control_event(self, event: ControlEvent) -> None:
        with observed(self.metrics, "runs", "add_control_event"):
            await self.inner.add_control_event(event)

    async def control_events(
        self, strategy_id: StrategyId, *, limit: int
    ) -> Sequence[ControlEvent]:
        with observed(self.metrics, "runs", "control_events"):
            return await self.inner.control_events(strategy_id, limit=limit)

    async def open_orders(self) -> Sequence[OpenOrder]:
        with observed(self.metrics, "runs", "open_orders"):
            return await self.inner.open_orders()

    async def read_latch(self) -> Latch | None:
        with observed(self.metrics, "runs", "read_latch"):
            return await self.inner.read_latch()

    async def swap_latch(
        self, expected: Latch | None, new: Latch, *, entry: HistoryEntry | None = None
    ) -> bool:
        with observed(self.metrics, "runs", "swap_latch"):
            return await self.inner.swap_latch(expected, new, entry=entry)

    async def switch_history(self, *, limit: int) -> Sequence[HistoryEntry]:
        with observed(self.metrics, "runs", "switch_history"):
            return await self.inner.switch_history(limit=limit)

    async def check(self) -> None:
        with observed(self.metrics, "runs", "check"):
            await self.inner.check()
