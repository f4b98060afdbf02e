from collections.abc import AsyncIterator, Iterator

import anyio
import psycopg
import pytest
from attrs import frozen
from psycopg import sql

from orchestrator_adapters.conformance.runs import RunRepositoryConformance, RunStage
from orchestrator_adapters.postgres.database import PostgresDatabase
from orchestrator_adapters.postgres.migrate import upgrade
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from orchestrator_core.identifiers import RunId
from orchestrator_core.commits import Lease
from tests.servers.postgres import PostgresServer

LEASE_SECONDS = 90.0

TAKE_OVER = """
    UPDATE orchestration_runs
    SET lease_epoch = lease_epoch + 1,
        lease_expires_at = clock_timestamp() + make_interval(secs => %s)
    WHERE run_id = %s
    RETURNING lease_epoch
"""


@frozen
class PostgresStage:
    database: PostgresDatabase
    runs: PostgresRunRepository

    async def take_over(self, run_id: RunId) -> Lease:
        rows = await self.database.execute("take_over", TAKE_OVER, (LEASE_SECONDS, run_id))
        return Lease(run_id, rows[0]["lease_epoch"], LEASE_SECONDS)


EMPTY = "DELETE FROM {}"
TABLES = ("signal_order_mappings", "orchestration_runs", "kill_switch_latch")


@pytest.fixture(scope="module")
def migrated_url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.fresh_database() as dsn:
        anyio.run(upgrade, dsn)
        yield dsn


class TestPostgresRunRepository(RunRepositoryConformance):
    @pytest.fixture
    async def stage(self, migrated_url: str) -> AsyncIterator[RunStage]:
        # Emptying costs a tenth of creating.
        with psycopg.connect(migrated_url) as connection:
            for table in TABLES:
                connection.execute(sql.SQL(EMPTY).format(sql.Identifier(table)))
        async with PostgresDatabase(migrated_url, min_size=1) as database:
            yield PostgresStage(database, PostgresRunRepository(database))
