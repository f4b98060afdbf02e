from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import frozen

from orchestrator_adapters.conformance.runs import RunRepositoryConformance, RunStage
from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.memory.runs import MemoryRunRepository
from orchestrator_adapters.sqlite.database import SqliteDatabase
from orchestrator_adapters.sqlite.runs import SqliteRunRepository
from orchestrator_core.identifiers import RunId
from orchestrator_core.record import encode_time
from orchestrator_core.commits import Lease
from tests.unit.builders import NOW

LEASE_SECONDS = 90.0


@frozen
class MemoryStage:
    runs: MemoryRunRepository

    async def take_over(self, run_id: RunId) -> Lease:
        return await self.runs.take_over(run_id, seconds=LEASE_SECONDS)


class TestMemoryRunRepository(RunRepositoryConformance):
    @pytest.fixture
    def stage(self) -> RunStage:
        return MemoryStage(MemoryRunRepository(VirtualClock(NOW)))


@frozen
class SqliteStage:
    runs: SqliteRunRepository
    database: SqliteDatabase

    async def take_over(self, run_id: RunId) -> Lease:
        epoch = await self.database.write(
            "runs",
            "take_over",
            lambda connection: connection.execute(
                "UPDATE run_leases SET lease_epoch = lease_epoch + 1, lease_expires_at = ?"
                " WHERE run_id = ? RETURNING lease_epoch",
                (encode_time(NOW), str(run_id)),
            ).fetchone()[0],
        )
        return Lease(run_id, epoch, LEASE_SECONDS)


class TestSqliteRunRepository(RunRepositoryConformance):
    @pytest.fixture
    async def stage(self, tmp_path: Path) -> AsyncIterator[RunStage]:
        database = SqliteDatabase(tmp_path / "runs.db")
        yield SqliteStage(SqliteRunRepository(database, VirtualClock(NOW)), database)
        await database.aclose()
