"""Ports that are counted, timed and logged, each around another of the same kind.

They decide nothing and change nothing that passes through them.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter

from attrs import frozen

from orchestrator_core.errors import PortError
from orchestrator_core.identifiers import ClientOrderId, RunId, Symbol
from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    HistoryEntry,
    KillSwitchState,
    Latch,
)
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import (
    NoQuote,
    OrderIntent,
    OrderReport,
    Quote,
    SafetyFlags,
    SignalBatch,
)
from orchestrator_core.ports import (
    KillSwitch,
    OrderSink,
    PriceSource,
    RunRepository,
    SignalSource,
    SubmitKind,
    SubmitOutcome,
    SwitchChange,
)
from orchestrator_core.requests import RunRequest
from orchestrator_core.commits import (
    ClaimAnswer,
    EarlierRun,
    Lease,
    OpenOrder,
    PlanCommit,
    PlanRecord,
    RunClosing,
    RunOpening,
    WaveClaim,
)
from orchestrator_core.orders import Settlement
from orchestrator_core.runs import Run, RunFilter, RunPage
from orchestrator_entrypoints.logs import log_event
from orchestrator_entrypoints.metrics import Metrics

_LOG = logging.getLogger("orchestrator.runs")


@contextmanager
def _observed(metrics: Metrics, port: str, operation: str) -> Iterator[None]:
    began = perf_counter()
    try:
        yield
    except PortError as error:
        metrics.call_errors.labels(port, operation, type(error).__name__).inc()
        raise
    finally:
        metrics.call_seconds.labels(port, operation).observe(perf_counter() - began)


@frozen
class ObservedSignals:
    """A signal source, observed."""

    inner: SignalSource
    metrics: Metrics

    async def fetch(self, request: RunRequest) -> SignalBatch:
        with _observed(self.metrics, "signals", "fetch"):
            batch = await self.inner.fetch(request)
        self.metrics.signals_received.inc(len(batch.signals))
        return batch


@frozen
class ObservedPrices:
    """A price source, observed."""

    inner: PriceSource
    metrics: Metrics

    async def quotes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Quote | NoQuote]:
        with _observed(self.metrics, "prices", "quotes"):
            return await self.inner.quotes(symbols)


@frozen
class ObservedSink:
    """An order sink, observed."""

    inner: OrderSink
    metrics: Metrics

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        metrics = self.metrics
        began = perf_counter()
        metrics.orders_in_flight.inc(len(intents))
        try:
            outcomes = await self.inner.submit(intents, deadline=deadline)
        finally:
            metrics.orders_in_flight.dec(len(intents))
            metrics.wave_seconds.observe(perf_counter() - began)
        self._count(Counter(outcome.kind for outcome in outcomes))
        return outcomes

    def _count(self, kinds: Counter[SubmitKind]) -> None:
        metrics = self.metrics
        accepted = kinds[SubmitKind.ACCEPTED]
        tried = kinds.total() - kinds[SubmitKind.DEFERRED]
        metrics.orders_submitted.labels(status="success").inc(accepted)
        metrics.orders_submitted.labels(status="error").inc(tried - accepted)
        metrics.positions_adjusted.inc(accepted)
        metrics.orders_unknown.inc(kinds[SubmitKind.UNKNOWN])
        counts = {str(kind): count for kind, count in sorted(kinds.items())}
        log_event(_LOG, logging.INFO, "wave sent", orders=kinds.total(), outcomes=counts)

    async def look_up(self, client_order_id: ClientOrderId) -> OrderReport | None:
        with _observed(self.metrics, "orders", "look_up"):
            return await self.inner.look_up(client_order_id)

    async def safety_flags(self) -> SafetyFlags:
        with _observed(self.metrics, "orders", "safety_flags"):
            return await self.inner.safety_flags()


@frozen
class ObservedKillSwitch:
    """The shared half of the kill switch, observed."""

    inner: KillSwitch
    metrics: Metrics

    async def read(self) -> KillSwitchState | None:
        with _observed(self.metrics, "kill_switch", "read"):
            return await self.inner.read()

    async def engage(self, engagement: Engagement, *, latch_epoch: int | None) -> SwitchChange:
        with _observed(self.metrics, "kill_switch", "engage"):
            return await self.inner.engage(engagement, latch_epoch=latch_epoch)

    async def disengage(
        self, disengagement: Disengagement, *, latch_epoch: int, only_create: bool = False
    ) -> SwitchChange:
        with _observed(self.metrics, "kill_switch", "disengage"):
            return await self.inner.disengage(
                disengagement, latch_epoch=latch_epoch, only_create=only_create
            )

    async def stamp(self, expected: KillSwitchState, *, latch_epoch: int) -> bool:
        with _observed(self.metrics, "kill_switch", "stamp"):
            return await self.inner.stamp(expected, latch_epoch=latch_epoch)

    async def history(self, *, limit: int) -> Sequence[HistoryEntry]:
        with _observed(self.metrics, "kill_switch", "history"):
            return await self.inner.history(limit=limit)

    async def check(self) -> None:
        with _observed(self.metrics, "kill_switch", "check"):
            await self.inner.check()


@frozen
class ObservedRuns:
    """A run repository, observed; logs a run's opening and its plan."""

    inner: RunRepository
    metrics: Metrics

    async def open_run(self, opening: RunOpening) -> Lease | EarlierRun:
        with _observed(self.metrics, "runs", "open_run"):
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
        with _observed(self.metrics, "runs", "commit_plan"):
            commit = await self.inner.commit_plan(lease, record, claim)
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
        return commit

    async def commit_wave(
        self, lease: Lease, settlements: Sequence[Settlement], claim: WaveClaim | None
    ) -> ClaimAnswer:
        with _observed(self.metrics, "runs", "commit_wave"):
            return await self.inner.commit_wave(lease, settlements, claim)

    async def close_run(self, lease: Lease, closing: RunClosing) -> Run:
        with _observed(self.metrics, "runs", "close_run"):
            return await self.inner.close_run(lease, closing)

    async def get_run(self, run_id: RunId) -> Run | None:
        with _observed(self.metrics, "runs", "get_run"):
            return await self.inner.get_run(run_id)

    async def list_runs(self, matching: RunFilter, *, limit: int, offset: int) -> RunPage:
        with _observed(self.metrics, "runs", "list_runs"):
            return await self.inner.list_runs(matching, limit=limit, offset=offset)

    async def open_orders(self) -> Sequence[OpenOrder]:
        with _observed(self.metrics, "runs", "open_orders"):
            return await self.inner.open_orders()

    async def read_latch(self) -> Latch | None:
        with _observed(self.metrics, "runs", "read_latch"):
            return await self.inner.read_latch()

    async def swap_latch(self, expected: Latch | None, new: Latch) -> bool:
        with _observed(self.metrics, "runs", "swap_latch"):
            return await self.inner.swap_latch(expected, new)

    async def check(self) -> None:
        with _observed(self.metrics, "runs", "check"):
            await self.inner.check()
