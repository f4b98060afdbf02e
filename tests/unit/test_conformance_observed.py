"""Observed ports under their suites: nothing that passes through them changes."""

from collections.abc import Sequence

import pytest
from attrs import frozen

from orchestrator_adapters.conformance.closes import CloseSourceConformance, ClosesStage
from orchestrator_adapters.conformance.positions import PositionSourceConformance, PositionsStage
from orchestrator_adapters.conformance.runs import RunRepositoryConformance, RunStage
from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.memory.closes import MemoryCloseSource
from orchestrator_adapters.memory.positions import MemoryPositionSource
from orchestrator_adapters.memory.runs import MemoryRunRepository
from orchestrator_core.driver import run_sync
from orchestrator_core.errors import Unavailable
from orchestrator_core.identifiers import StrategyId, Symbol
from orchestrator_core.model import Position
from orchestrator_entrypoints.metrics import Metrics
from orchestrator_entrypoints.observed import ObservedCloses, ObservedPositions, ObservedRuns
from tests.unit.builders import NOW, TODAY
from tests.unit.test_conformance_memory_peers import MemoryPositions
from tests.unit.test_conformance_runs import VirtualStage


class TestObservedRuns(RunRepositoryConformance):
    @pytest.fixture
    def stage(self) -> RunStage:
        clock = VirtualClock(NOW)
        return VirtualStage(ObservedRuns(MemoryRunRepository(clock), Metrics()), clock)


@frozen
class ObservedAccount:
    inner: MemoryPositions
    source: ObservedPositions

    async def hold(self, positions: Sequence[Position]) -> None:
        await self.inner.hold(positions)


class TestObservedPositions(PositionSourceConformance):
    @pytest.fixture
    def stage(self) -> PositionsStage:
        inner = MemoryPositions()
        return ObservedAccount(inner, ObservedPositions(inner.source, Metrics()))


@frozen
class ObservedFeed:
    inner: MemoryCloseSource
    source: ObservedCloses

    async def put_text(self, symbol: Symbol, text: str) -> None:
        self.inner.put_text(symbol, text)


class TestObservedCloses(CloseSourceConformance):
    @pytest.fixture
    def stage(self) -> ClosesStage:
        inner = MemoryCloseSource()
        return ObservedFeed(inner, ObservedCloses(inner, Metrics()))


class BrokenPositions(MemoryPositionSource):
    async def positions(self) -> dict[Symbol, Position]:
        raise Unavailable("positions", "positions", "down")


def test_calls_are_timed_and_their_failures_counted() -> None:
    metrics = Metrics()
    runs = ObservedRuns(MemoryRunRepository(VirtualClock(NOW)), metrics)
    run_sync(runs.read_book(StrategyId("alpha"), TODAY))
    run_sync(runs.read_controls(StrategyId("alpha"), count_failures=1))
    run_sync(ObservedCloses(MemoryCloseSource(), metrics).closes([], before=TODAY))
    with pytest.raises(Unavailable):
        run_sync(ObservedPositions(BrokenPositions(), metrics).positions())
    seconds, errors = "orchestrator_port_duration_seconds_count", "orchestrator_port_errors_total"
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in (*metrics.call_seconds.collect(), *metrics.call_errors.collect())
        for sample in family.samples
        if sample.name in {seconds, errors}
    }
    assert samples == {
        (seconds, "runs", "read_book"): 1,
        (seconds, "runs", "read_controls"): 1,
        (seconds, "closes", "closes"): 1,
        (seconds, "positions", "positions"): 1,
        (errors, "positions", "positions", "Unavailable"): 1,
    }
