import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from attrs import evolve
from psycopg.rows import dict_row

from orchestrator_adapters.conformance.run_cases import (
    a_record,
    a_signal,
    an_opening,
    let_trade,
    order_states,
    started,
)
from orchestrator_adapters.postgres.database import PostgresDatabase
from orchestrator_adapters.postgres.migrate import Migration, known_migrations, upgrade
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from orchestrator_core.errors import Refused, Unavailable
from orchestrator_core.identifiers import RunId, Symbol
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.runs import RunFilter
from tests.integration.replaced_tables import (
    FAILED_RUN,
    PARTIAL_RUN,
    ROWS,
    RUNNING_RUN,
    TABLES,
)

pytestmark = pytest.mark.anyio

NAMES = tuple(migration.name for migration in known_migrations())
OLD_RUN_COLUMNS = """
    id, run_id, strategy_id, as_of_date, status, symbols, capital, max_position_size, num_signals,
    model_version, num_orders_submitted, num_orders_accepted, num_orders_rejected,
    num_orders_filled, started_at, completed_at, duration_seconds, error_message,
    signal_service_response, execution_gateway_responses, created_at, updated_at
"""
OLD_ORDER_COLUMNS = """
    id, run_id, symbol, predicted_return, rank, target_weight, client_order_id, order_qty,
    order_side, broker_order_id, order_status, filled_qty, filled_avg_price, skip_reason,
    created_at, updated_at
"""
OLD_ROWS = (
    f"SELECT {OLD_RUN_COLUMNS} FROM orchestration_runs ORDER BY id",  # noqa: S608
    f"SELECT {OLD_ORDER_COLUMNS} FROM signal_order_mappings ORDER BY id",  # noqa: S608
)


def rows_of(dsn: str, statement: str) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(statement.encode()).fetchall()


def execute(dsn: str, script: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(script.encode())


@pytest.fixture
def replaced_url(database_url: str) -> str:
    execute(database_url, TABLES)
    execute(database_url, ROWS)
    return database_url


async def test_an_empty_database_is_brought_up_once(database_url: str) -> None:
    assert await upgrade(database_url) == NAMES
    assert await upgrade(database_url) == ()


async def test_of_several_who_migrate_at_once_one_applies(database_url: str) -> None:
    answers = await asyncio.gather(*(upgrade(database_url) for _ in range(4)))

    assert sorted(answers) == [(), (), (), NAMES]


async def test_a_changed_migration_is_refused(database_url: str) -> None:
    await upgrade(database_url)
    first, *rest = known_migrations()
    changed = evolve(first, sql=first.sql + b"-- more")

    with pytest.raises(Refused, match=first.name):
        await upgrade(database_url, migrations=(changed, *rest))


async def test_line_ends_do_not_change_a_migration() -> None:
    unix = Migration(1, "0001.sql", b"SELECT 1;\nSELECT 2;\n")

    assert evolve(unix, sql=b"SELECT 1;\r\nSELECT 2;\r\n").checksum == unix.checksum


async def test_a_migration_that_fails_leaves_nothing_of_itself(database_url: str) -> None:
    good = Migration(1, "0001_good.sql", b"CREATE TABLE good ();")
    bad = Migration(2, "0002_bad.sql", b"CREATE TABLE half (); SELECT 1 / 0;")

    with pytest.raises(Unavailable, match="division"):
        await upgrade(database_url, migrations=(good, bad))

    found = rows_of(database_url, "SELECT to_regclass('good') AS g, to_regclass('half') AS h")
    assert found == [{"g": "good", "h": None}]
    assert rows_of(database_url, "SELECT version FROM orchestrator_migrations") == [{"version": 1}]


async def test_waiting_for_another_who_migrates_has_an_end(database_url: str) -> None:
    with psycopg.connect(database_url) as other:
        other.execute("SELECT pg_advisory_lock(6207411203)")

        with pytest.raises(Unavailable, match="not done within"):
            await upgrade(database_url, max_seconds=0.3)


async def test_a_database_without_schema_is_unavailable_where_migrating_is_left_to_others(
    database_url: str,
) -> None:
    async with PostgresDatabase(database_url, migrate=False) as database:
        runs = PostgresRunRepository(database)
        with pytest.raises(Unavailable, match="orchestrator db upgrade"):
            await runs.check()

        await upgrade(database_url)

        await runs.check()


async def test_later_migrations_than_ours_are_taken_as_they_are(database_url: str) -> None:
    later = Migration(9999, "9999_later.sql", b"SELECT 1;")
    await upgrade(database_url, migrations=(*known_migrations(), later))

    async with PostgresDatabase(database_url) as database:
        await PostgresRunRepository(database).check()


async def test_rows_of_the_replaced_service_keep_every_value(replaced_url: str) -> None:
    before = [rows_of(replaced_url, statement) for statement in OLD_ROWS]

    await upgrade(replaced_url)

    after = [rows_of(replaced_url, statement) for statement in OLD_ROWS]
    assert after == before
    assert [str(row["capital"]) for row in after[0]] == [str(row["capital"]) for row in before[0]]


async def test_runs_of_the_replaced_service_are_shown_as_they_were_recorded(
    replaced_url: str,
) -> None:
    async with PostgresDatabase(replaced_url) as database:
        run = await PostgresRunRepository(database).get_run(RunId(PARTIAL_RUN))

    assert run is not None
    assert run.recorded is not None
    assert run.status is RunStatus.PARTIAL
    assert run.started_at == datetime(2024, 10, 17, 14, 30, 0, 123456, tzinfo=UTC)
    assert run.as_of_date == date(2024, 10, 17)
    assert run.request.capital == Decimal("100000.00")
    assert run.request.symbols == ("AAPL", "MSFT", "GOOG", "TSLA")
    assert run.signal_metadata == {"model_version": "v1.0.0"}
    assert (
        run.recorded.num_orders_submitted,
        run.recorded.num_orders_accepted,
        run.recorded.num_orders_rejected,
        run.recorded.num_orders_filled,
    ) == (3, 2, 1, 1)
    assert run.orders is not None
    assert [
        (order.signal.symbol, order.order_status, order.skip_reason) for order in run.orders
    ] == [
        ("AAPL", "filled", None),
        ("MSFT", "pending_new", None),
        ("GOOG", "rejected", "submission_failed: 422"),
        ("TSLA", None, "zero_weight"),
    ]
    first = run.orders[0]
    assert first.intent is not None
    assert (first.intent.client_order_id, first.intent.side, first.intent.qty) == ("c1", "buy", 113)
    assert first.signal.predicted_return == 0.01234567
    assert first.public_report is not None
    assert first.public_report.broker_order_id == "b1"
    assert first.public_report.filled_avg_price == Decimal("176.5")


async def test_a_failed_and_a_running_run_of_the_replaced_service_are_shown(
    replaced_url: str,
) -> None:
    async with PostgresDatabase(replaced_url) as database:
        runs = PostgresRunRepository(database)
        failed = await runs.get_run(RunId(FAILED_RUN))
        running = await runs.get_run(RunId(RUNNING_RUN))

    assert failed is not None
    assert failed.recorded is not None
    assert failed.recorded.error_message == "Signal Service unavailable"
    assert failed.recorded.num_orders_filled is None
    assert running is not None
    assert running.status is RunStatus.RUNNING
    assert running.signal_metadata is None


async def test_runs_of_the_replaced_service_are_listed_with_ours(replaced_url: str) -> None:
    async with PostgresDatabase(replaced_url) as database:
        runs = PostgresRunRepository(database)
        ours = await started(runs)

        page = await runs.list_runs(RunFilter(), limit=10, offset=0)

        assert page.total == 4
        assert [summary.run_id for summary in page.runs] == [
            ours.run_id,
            RUNNING_RUN,
            FAILED_RUN,
            PARTIAL_RUN,
        ]
        assert page.runs[3].duration_seconds == Decimal("1.877")
        assert page.runs[3].num_orders_rejected == 1
        assert await runs.open_orders() == ()


async def test_ids_of_the_replaced_service_stand_in_nobodys_way(replaced_url: str) -> None:
    opening = an_opening(("AAPL",))
    record = a_record(opening)
    id_ = record.plan.intents[0].client_order_id
    execute(replaced_url, f"UPDATE signal_order_mappings SET client_order_id = '{id_}'")  # noqa: S608

    async with PostgresDatabase(replaced_url) as database:
        runs = PostgresRunRepository(database)
        run = await started(runs, opening=opening, record=record)

        assert await order_states(runs, run.run_id) == [OrderState.PLANNED]


async def test_what_was_too_wide_for_the_old_columns_is_stored(replaced_url: str) -> None:
    symbol = Symbol("A" * 32)
    opening = an_opening((symbol,))
    record = a_record(opening, (evolve(a_signal(symbol, 10.0), predicted_return=-123456.7),))

    async with PostgresDatabase(replaced_url) as database:
        runs = PostgresRunRepository(database)
        await let_trade(runs)
        run = await started(runs, opening=opening, record=record, claims=True)

        stored = await runs.get_run(run.run_id)

    assert stored is not None
    assert stored.orders is not None
    assert stored.orders[0].signal == record.snapshot.batch.signals[0]
