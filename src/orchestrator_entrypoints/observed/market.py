"""Signals, prices, closes and positions, observed."""

from collections.abc import Mapping, Sequence
from datetime import date

from attrs import frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import NoQuote, Position, Quote, Reference, SignalBatch
from orchestrator_core.ports import CloseSource, PositionSource, PriceSource, SignalSource
from orchestrator_core.requests import RunRequest
from orchestrator_entrypoints.metrics import Metrics
from orchestrator_entrypoints.observed.calls import observed


@frozen
class ObservedSignals:
    """A signal source, observed."""

    inner: SignalSource
    metrics: Metrics

    async def fetch(self, request: RunRequest) -> SignalBatch:
        with observed(self.metrics, "signals", "fetch"):
            batch = await self.inner.fetch(request)
        self.metrics.signals_received.inc(len(batch.signals))
        return batch


@frozen
class ObservedPrices:
    """A price source, observed."""

    inner: PriceSource
    metrics: Metrics

    async def quotes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Quote | NoQuote]:
        with observed(self.metrics, "prices", "quotes"):
            return await self.inner.quotes(symbols)


@frozen
class ObservedCloses:
    """A source of closing prices, observed."""

    inner: CloseSource
    metrics: Metrics

    async def closes(
        self, symbols: Sequence[Symbol], *, before: date
    ) -> Mapping[Symbol, Reference]:
        with observed(self.metrics, "closes", "closes"):
            return await self.inner.closes(symbols, before=before)


@frozen
class ObservedPositions:
    """A position source, observed."""

    inner: PositionSource
    metrics: Metrics

    async def positions(self) -> Mapping[Symbol, Position]:
        with observed(self.metrics, "positions", "positions"):
            return await self.inner.positions()
