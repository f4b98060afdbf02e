from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import frozen

from orchestrator_adapters.conformance.runs import RunRepositoryConformance, RunStage
from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.memory.runs import MemoryRunRepository
from orchestrator_adapters.sqlite.database import SqliteDatabase
from orchestrator_adapters.sqlite.runs import SqliteRunRepository
from orchestrator_core.ports import RunRepository
from tests.unit.builders import NOW


@frozen
class VirtualStage:
    """A stage whose store asks a clock that the test owns."""

    runs: RunRepository
    clock: VirtualClock

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestMemoryRunRepository(RunRepositoryConformance):
    @pytest.fixture
    def stage(self) -> RunStage:
        clock = VirtualClock(NOW)
        return VirtualStage(MemoryRunRepository(clock), clock)


class TestSqliteRunRepository(RunRepositoryConformance):
    @pytest.fixture
    async def stage(self, tmp_path: Path) -> AsyncIterator[RunStage]:
        database, clock = SqliteDatabase(tmp_path / "runs.db"), VirtualClock(NOW)
        yield VirtualStage(SqliteRunRepository(database, clock), clock)
        await database.aclose()
