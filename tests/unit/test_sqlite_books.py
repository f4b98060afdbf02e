"""Books and controls in a SQLite file, beyond the suite that every run database passes."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from anyio import create_task_group
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    DAY,
    TRADING,
    a_record,
    a_request,
    an_opening,
    ids_of,
    let_trade,
    opened,
)
from orchestrator_adapters.event_loop import SystemClock
from orchestrator_adapters.sqlite import books
from orchestrator_adapters.sqlite.database import SqliteDatabase
from orchestrator_adapters.sqlite.runs import SqliteRunRepository
from orchestrator_core.commits import PlanCommit, WaveClaim
from orchestrator_core.controls import StrategyControls
from orchestrator_core.identifiers import Symbol
from orchestrator_core.lifecycle import OrderState
from tests.unit.old_files import ALPHA, OldFile

pytestmark = pytest.mark.anyio

FORMER_VERSIONS = [1, 2, 3]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "runs.db")
    yield database
    await database.aclose()


@pytest.fixture
def runs(database: SqliteDatabase) -> SqliteRunRepository:
    return SqliteRunRepository(database, SystemClock())


@pytest.mark.parametrize("version", FORMER_VERSIONS)
async def test_a_file_of_a_former_version_keeps_every_row(
    tmp_path: Path, runs: SqliteRunRepository, version: int
) -> None:
    old = OldFile.create(tmp_path / "runs.db", version=version)
    for word in ("new", "filled"):
        run_id = old.add_run(is_completed=True)
        old.add_order(run_id, "accepted", word)
        old.add_order(run_id, "unknown", position=1)
    before = old.rows()
    assert len(before["signal_order_mappings"]) == 4
    await runs.check()
    after = old.rows()
    for table, rows in before.items():
        kept = [
            {name: row[name] for name in was} for was, row in zip(rows, after[table], strict=True)
        ]
        assert kept == rows
    assert {row["sizing_price"] for row in after["signal_order_mappings"]} == {None}


@pytest.mark.parametrize("version", FORMER_VERSIONS)
async def test_orders_of_before_stand_in_the_book_at_their_cap(
    tmp_path: Path, runs: SqliteRunRepository, version: int
) -> None:
    old = OldFile.create(tmp_path / "runs.db", version=version)
    run_id = old.add_run(is_completed=True)
    accepted = old.add_order(run_id, "accepted", "new")
    unknown = old.add_order(old.add_run(), "unknown")
    old.add_order(run_id, "rejected", "rejected", position=1)
    book = await runs.read_book(ALPHA, DAY)
    assert book.version == 0
    # Nobody wrote down what they were sized with: each counts as all that it may have been.
    assert {order.client_order_id: order.notional for order in book.day_orders} == {
        accepted: Decimal(1000),
        unknown: Decimal(1000),
    }
    assert unknown in {order.intent.client_order_id for order in book.open_orders}
    assert (await runs.read_book(ALPHA, date(2026, 3, 3))).day_orders == ()
    assert await runs.last_accepted([Symbol("AAPL")]) == {}


@pytest.mark.parametrize("version", FORMER_VERSIONS)
async def test_failed_runs_of_before_are_counted(
    tmp_path: Path, runs: SqliteRunRepository, version: int
) -> None:
    old = OldFile.create(tmp_path / "runs.db", version=version)
    for status in ("completed", "failed", "failed"):
        old.add_run(is_completed=True, status=status)
    old.add_run()
    assert await runs.read_controls(ALPHA, count_failures=10) == StrategyControls(failed_runs=2)
    assert await runs.control_events(ALPHA, limit=10) == ()


async def test_of_processes_that_plan_from_one_version_at_once_one_is_stored(
    tmp_path: Path,
) -> None:
    """The conformance suite's planners share one connection; these do not."""
    async with AsyncExitStack() as closing:
        repositories = []
        for _ in range(4):
            database = SqliteDatabase(tmp_path / "runs.db")
            closing.push_async_callback(database.aclose)
            repositories.append(SqliteRunRepository(database, SystemClock()))
        await let_trade(repositories[0])
        commits: list[PlanCommit] = []

        async def plan(runs: SqliteRunRepository, key: str, version: int) -> None:
            opening = an_opening(request=a_request(rebalance_key=key))
            lease = await opened(runs, opening)
            record = evolve(a_record(opening), book_version=version)
            claim = WaveClaim(1, ids_of(record), TRADING.epoch)
            commits.append(await runs.commit_plan(lease, record, claim))

        for version in range(5):
            async with create_task_group() as group:
                for place, runs in enumerate(repositories):
                    group.start_soon(plan, runs, f"{version}-{place}", version)
        book = await repositories[0].read_book(ALPHA, DAY)
    assert [commit.is_stale for commit in commits].count(False) == 5
    assert len(commits) == 20
    assert (book.version, len(book.day_orders), len(book.open_orders)) == (5, 5, 5)
    assert {order.state for order in book.open_orders} == {OrderState.SENDING}


async def test_no_query_of_books_and_controls_reads_all_that_was(database: SqliteDatabase) -> None:
    queries = {
        books.SELECT_DAY: "orchestration_runs_of_day",
        books.SELECT_UNSETTLED: "signal_order_mappings_open",
        books.SELECT_PLANNED: "orchestration_runs_in_status",
        books.SELECT_LIVE: "signal_order_mappings_live",
        books.SELECT_LAST_ACCEPTED: "signal_order_mappings_last_accepted",
        books.SELECT_COMPLETED: "orchestration_runs_of_strategy",
    }

    def explain(connection: sqlite3.Connection) -> None:
        for query, index in queries.items():
            arguments = [""] * query.count("?")
            steps = connection.execute(f"EXPLAIN QUERY PLAN {query}", arguments).fetchall()
            first, *others = [step["detail"] for step in steps]
            assert f" USING INDEX {index}" in first, (query, first)
            assert not any(other.startswith("SCAN") for other in others), others

    await database.read("test", "explain", explain)
