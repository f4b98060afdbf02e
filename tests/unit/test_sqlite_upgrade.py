"""What rows of the first version mean to this one, and that recovery's queries stay short."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from anyio import create_task_group
from attrs import evolve

from orchestrator_adapters.event_loop import SystemClock
from orchestrator_adapters.sqlite import following, taking
from orchestrator_adapters.sqlite.database import SqliteDatabase
from orchestrator_adapters.sqlite.runs import SqliteRunRepository
from orchestrator_core.commits import OrderNews, TakenRun
from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.tracking import has_ended
from tests.unit.old_files import ALPHA, OldFile

pytestmark = pytest.mark.anyio

BETA = StrategyId("beta")
# Words of the gateway's contract, and one that is none.
WORDS = [
    *("pending_new", "new", "accepted", "partially_filled", "filled", "canceled", "rejected"),
    *("expired", "replaced", "done_for_day", "stopped", "suspended", "pending_cancel"),
    *("pending_replace", "calculated", "submitted", "submitted_unconfirmed", "dry_run", "failed"),
    *("scheduled", "blocked_kill_switch", "blocked_circuit_breaker", "held_for_review"),
]


@pytest.fixture
def old(tmp_path: Path) -> OldFile:
    return OldFile.create(tmp_path / "runs.db")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "runs.db")
    yield database
    await database.aclose()


@pytest.fixture
def runs(database: SqliteDatabase) -> SqliteRunRepository:
    return SqliteRunRepository(database, SystemClock())


async def take(runs: SqliteRunRepository, strategy: StrategyId = ALPHA) -> TakenRun | None:
    return await runs.take_run(strategy, lease_seconds=30)


@pytest.mark.parametrize("state", ["planned", "sending", "unknown", "unresolved"])
async def test_an_open_run_that_was_given_back_is_due(
    old: OldFile, runs: SqliteRunRepository, state: str
) -> None:
    run_id = old.add_run()
    id_ = old.add_order(run_id, state, position=9)
    assert (await runs.backlog()).runs_due == 1
    taken = await take(runs)
    assert taken is not None
    assert (taken.lease.run_id, taken.lease.epoch) == (run_id, 2)
    # When it was claimed nobody wrote down: it is as old as its plan.
    assert 3600 <= taken.claim_ages[id_] < 3700


async def test_a_run_that_nothing_can_settle_is_not_due(
    old: OldFile, runs: SqliteRunRepository
) -> None:
    old.add_order(old.add_run(), "conflict")
    old.add_order(old.add_run(is_completed=True), "accepted", "filled")
    assert (await runs.backlog()).runs_due == 0
    assert await take(runs) is None


async def test_a_run_whose_lease_ended_is_due(old: OldFile, runs: SqliteRunRepository) -> None:
    run_id = old.add_run()
    with closing(sqlite3.connect(old.path)) as connection, connection:
        connection.execute("UPDATE run_leases SET lease_expires_at = '2026-03-02T15:00:00.000000Z'")
    taken = await take(runs)
    assert taken is not None
    assert taken.run.run_id == run_id


async def test_accepted_orders_that_have_not_ended_are_followed(
    old: OldFile, runs: SqliteRunRepository
) -> None:
    run_id = old.add_run(is_completed=True)
    ids = {
        word: old.add_order(run_id, "accepted", word, position=place)
        for place, word in enumerate(WORDS)
    }
    old.add_order(run_id, "rejected", "rejected", position=100)
    old.add_order(run_id, "not_placed", position=101)
    expected = {ids[word] for word in WORDS if not has_ended(word)}
    followed = await runs.take_followed(ALPHA, limit=100, hold_seconds=30)
    assert {order.intent.client_order_id for order in followed} == expected
    live = await runs.live_orders(after=None, limit=100)
    assert {order.intent.client_order_id for order in live} == expected
    assert (await runs.backlog()).orders_followed == len(expected)


async def test_what_was_canceled_on_arrival_is_told_from_the_word_that_stands(
    old: OldFile, runs: SqliteRunRepository
) -> None:
    run_id = old.add_run(is_completed=True)
    with closing(sqlite3.connect(old.path)) as connection, connection:
        connection.execute(
            "UPDATE orchestration_runs SET snapshot_hash = 'x', signal_service_response = ?",
            ('{"metadata":{}}',),
        )
    old.add_order(run_id, "accepted", "canceled", position=0)
    old.add_order(run_id, "accepted", "filled", position=1)
    old.add_order(run_id, "rejected", "canceled", position=2)
    run = await runs.get_run(run_id)
    assert run is not None
    assert [order.canceled_on_arrival for order in run.orders or ()] == [True, False, False]
    assert (run.tally.accepted, run.tally.rejected) == (1, 2)


@pytest.mark.parametrize(
    ("answered_as", "keeps"),
    [([], None), ([None], True), (["theirs"], False), (["theirs", None], True)],
)
async def test_the_last_acknowledgement_tells_whether_the_gateway_keeps_ids(
    old: OldFile,
    runs: SqliteRunRepository,
    answered_as: Sequence[str | None],
    keeps: bool | None,
) -> None:
    run_id = old.add_run()
    old.add_order(run_id, "unknown", position=9)
    for position, id_ in enumerate(answered_as):
        old.add_order(run_id, "accepted", "new", gateway_order_id=id_, position=position)
    old.add_order(old.add_run(BETA), "accepted", "new", gateway_order_id="another's", position=8)
    taken = await take(runs)
    assert taken is not None
    assert taken.keeps_ids is keeps


async def test_news_of_an_order_of_before_is_recorded(
    old: OldFile, runs: SqliteRunRepository, database: SqliteDatabase
) -> None:
    run_id = old.add_run(is_completed=True)
    id_ = old.add_order(run_id, "accepted", "new")
    [order] = await runs.take_followed(ALPHA, limit=10, hold_seconds=0)
    assert order.age_seconds >= 3600
    filled = evolve(order.report, status="filled", filled_qty=Decimal(10))
    await runs.record_news([OrderNews(run_id, id_, order.report, filled, None)])

    def columns(connection: sqlite3.Connection) -> tuple[object, ...]:
        row = connection.execute(
            "SELECT num_orders_filled, order_status, filled_qty FROM orchestration_runs"
            " JOIN signal_order_mappings USING (run_id)"
        )
        return tuple(row.fetchone())

    assert await database.read("test", "columns", columns) == (1, "filled", "10")
    assert not await runs.take_followed(ALPHA, limit=10, hold_seconds=0)
    assert not await runs.live_orders(after=None, limit=10)


async def test_of_processes_that_take_at_once_each_gets_another_run(
    old: OldFile, tmp_path: Path
) -> None:
    """The conformance suite's takers share one connection; these do not."""
    wanted = {old.add_run() for _ in range(6)}
    for run_id in wanted:
        old.add_order(run_id, "unknown")
    databases = [SqliteDatabase(tmp_path / "runs.db") for _ in range(3)]
    repositories = [SqliteRunRepository(database, SystemClock()) for database in databases]
    try:
        taken: list[RunId] = []

        async def take_all(runs: SqliteRunRepository) -> None:
            while (run := await take(runs)) is not None:
                taken.append(run.lease.run_id)

        async with create_task_group() as group:
            for runs in repositories:
                group.start_soon(take_all, runs)
        assert sorted(taken) == sorted(wanted)
    finally:
        for database in databases:
            await database.aclose()


async def test_no_query_of_recovery_reads_what_is_not_due(database: SqliteDatabase) -> None:
    queries = [
        (taking.SELECT_DUE, "run_leases_due"),
        (taking.SELECT_BACKLOG, "run_leases_due"),
        (following.SELECT_DUE, "signal_order_mappings_followed"),
        (following.SELECT_LIVE, "signal_order_mappings_live"),
    ]

    def explain(connection: sqlite3.Connection) -> None:
        for query, index in queries:
            arguments = {"now": "", "strategy_id": "", "after": "", "limit": 1}
            plan = connection.execute(f"EXPLAIN QUERY PLAN {query}", arguments).fetchall()
            assert f"USING INDEX {index} " in plan[0]["detail"], (query, plan[0]["detail"])
            assert not any(step["detail"].startswith("SCAN") for step in plan)

    await database.read("test", "explain", explain)
