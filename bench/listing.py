"""The list of runs among a million stored."""

import asyncio
import time
from contextlib import ExitStack
from statistics import median

import psycopg

from bench.tables import print_table
from orchestrator_adapters.postgres.database import PostgresDatabase
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.runs import RunFilter
from tests.servers.postgres import running_postgres

FILL = """
INSERT INTO orchestration_runs (run_id, strategy_id, as_of_date, status, symbols, capital,
    max_position_size, num_signals, num_orders_submitted, num_orders_accepted,
    num_orders_rejected, started_at, completed_at, duration_seconds)
SELECT gen_random_uuid(), 'alpha_' || n %% 3, DATE '2020-01-01' + n %% 2000,
    CASE WHEN n %% 20 = 0 THEN 'failed' ELSE 'completed' END, ARRAY['AAPL'], 100000, 20000,
    1, 1, 1, 0, TIMESTAMPTZ '2020-01-01' + n * INTERVAL '1 minute',
    TIMESTAMPTZ '2020-01-01' + n * INTERVAL '1 minute', 0.1
FROM generate_series(1, %s) AS n
"""


async def _measure(dsn: str, runs: int) -> list[list[str]]:
    database = PostgresDatabase(dsn)
    repository = PostgresRunRepository(database)
    try:
        await repository.check()
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            await connection.execute(FILL, (runs,))
            await connection.execute("VACUUM ANALYZE orchestration_runs")
        rows = []
        for name, matching, offset in (
            ("first page", RunFilter(), 0),
            ("page 1,000", RunFilter(), 50_000),
            ("first page, failed only", RunFilter(status=RunStatus.FAILED), 0),
        ):
            page = await repository.list_runs(matching, limit=50, offset=offset)
            times = []
            for _ in range(10):
                started = time.perf_counter()
                await repository.list_runs(matching, limit=50, offset=offset)
                times.append(time.perf_counter() - started)
            rows.append([name, f"{page.total}", f"{median(times) * 1e3:.0f}"])
    finally:
        await database.aclose()
    return rows


def listing(*, quick: bool = False) -> None:
    """Print the time of a page with the exact total."""
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        dsn = stack.enter_context(postgres.fresh_database())
        rows = asyncio.run(_measure(dsn, 100_000 if quick else 1_000_000))
    print_table("List of runs", ["page", "total", "ms"], rows)
