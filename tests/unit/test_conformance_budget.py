from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import field, frozen

from orchestrator_adapters.conformance.budget import BudgetStage, OrderBudgetConformance
from orchestrator_adapters.conformance.budget_model import ids
from orchestrator_adapters.memory.budget import MemoryOrderBudget
from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.sqlite.budget import SqliteOrderBudget
from orchestrator_adapters.sqlite.database import SqliteDatabase
from orchestrator_core.ports import Allowance
from tests.unit.builders import NOW


@frozen
class MemoryBudgetStage:
    clock: VirtualClock = field(factory=lambda: VirtualClock(NOW))
    only: MemoryOrderBudget = field()

    @only.default
    def _make(self) -> MemoryOrderBudget:
        return MemoryOrderBudget(self.clock, max_in_flight=None, max_per_minute=None)

    def budget(
        self, *, max_in_flight: int | None = None, max_per_minute: int | None = None
    ) -> MemoryOrderBudget:
        self.only.max_in_flight, self.only.max_per_minute = max_in_flight, max_per_minute
        return self.only

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestMemoryOrderBudget(OrderBudgetConformance):
    @pytest.fixture
    def stage(self) -> BudgetStage:
        return MemoryBudgetStage()


@frozen
class SqliteBudgetStage:
    databases: list[SqliteDatabase]
    clock: VirtualClock = field(factory=lambda: VirtualClock(NOW))

    def budget(
        self, *, max_in_flight: int | None = None, max_per_minute: int | None = None
    ) -> SqliteOrderBudget:
        # In turn, so that the file's users are not all of one process.
        self.databases.append(self.databases.pop(0))
        return SqliteOrderBudget(self.databases[0], self.clock, max_in_flight, max_per_minute)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)


@pytest.fixture
async def sqlite_stage(tmp_path: Path) -> AsyncIterator[SqliteBudgetStage]:
    databases = [SqliteDatabase(tmp_path / "budget.db") for _ in range(2)]
    yield SqliteBudgetStage(databases)
    for database in databases:
        await database.aclose()


class TestSqliteOrderBudget(OrderBudgetConformance):
    @pytest.fixture
    def stage(self, sqlite_stage: SqliteBudgetStage) -> BudgetStage:
        return sqlite_stage


@pytest.mark.anyio
async def test_a_clock_that_is_put_back_keeps_nobody_waiting_longer_than_a_minute(
    sqlite_stage: SqliteBudgetStage,
) -> None:
    budget = sqlite_stage.budget(max_per_minute=2)
    await budget.take(ids("a", "b"), hold_seconds=30)
    sqlite_stage.clock.set_time_of_day(NOW.replace(year=NOW.year - 1))
    assert await budget.take(ids("c"), hold_seconds=30) == Allowance(0, 60.0)
    sqlite_stage.clock.advance(60)
    assert await budget.take(ids("c"), hold_seconds=30) == Allowance(1)


@pytest.mark.parametrize("limits", [(0, 1), (1, 0), (-1, None), (None, -1)])
def test_a_limit_that_lets_nothing_go_is_no_limit(limits: tuple[int | None, int | None]) -> None:
    with pytest.raises(ValueError, match="must be >= 1"):
        MemoryOrderBudget(VirtualClock(NOW), *limits)


@pytest.mark.anyio
async def test_what_is_past_leaves_nothing_behind(sqlite_stage: SqliteBudgetStage) -> None:
    budget = sqlite_stage.budget(max_in_flight=100, max_per_minute=100)
    for _ in range(5):
        await budget.take(ids("a", "b", "c"), hold_seconds=30)
        sqlite_stage.clock.advance(60)
    await budget.take(ids("d"), hold_seconds=30)
    for table in ("order_budget_places", "order_budget_sent"):
        rows = await budget.database.read(
            "test",
            "count",
            lambda connection, table=table: connection.execute(f"SELECT * FROM {table}").fetchall(),  # type: ignore[misc]  # noqa: S608
        )
        assert len(rows) == 1
