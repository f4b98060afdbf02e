"""The order sink, observed."""

import logging
from collections import Counter
from collections.abc import Sequence
from time import perf_counter

from attrs import frozen

from orchestrator_core.model import OrderIntent, SafetyFlags
from orchestrator_core.ports import (
    CancelOutcome,
    Inquiry,
    LookUp,
    OrderSink,
    SubmitKind,
    SubmitOutcome,
)
from orchestrator_entrypoints.logs import log_event
from orchestrator_entrypoints.metrics import Metrics
from orchestrator_entrypoints.observed.calls import observed

_LOG = logging.getLogger("orchestrator.runs")


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

    async def look_up(self, inquiries: Sequence[Inquiry]) -> Sequence[LookUp]:
        with observed(self.metrics, "orders", "look_up"):
            return await self.inner.look_up(inquiries)

    async def cancel(self, inquiries: Sequence[Inquiry]) -> Sequence[CancelOutcome]:
        with observed(self.metrics, "orders", "cancel"):
            outcomes = await self.inner.cancel(inquiries)
        requested = sum(outcome.is_requested for outcome in outcomes)
        self.metrics.cancels.labels(status="success").inc(requested)
        self.metrics.cancels.labels(status="error").inc(len(outcomes) - requested)
        return outcomes

    async def safety_flags(self) -> SafetyFlags:
        with observed(self.metrics, "orders", "safety_flags"):
            return await self.inner.safety_flags()
