from collections.abc import AsyncIterator, Iterator

import anyio
import psycopg
import pytest
from attrs import frozen
from psycopg import sql

from orchestrator_adapters.conformance.runs import RunRepositoryConformance, RunStage
from orchestrator_adapters.postgres.database import PostgresDatabase, Session
from orchestrator_adapters.postgres.migrate import upgrade
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from tests.servers.postgres import PostgresServer

# The server's clock cannot be set: what it is compared with goes back instead.
PASS_TIME = (
    """
    UPDATE orchestration_runs
    SET lease_expires_at = lease_expires_at - make_interval(secs => %(seconds)s),
        due_at = due_at - make_interval(secs => %(seconds)s)
    """,
    """
    UPDATE signal_order_mappings
    SET claimed_at = claimed_at - make_interval(secs => %(seconds)s),
        created_at = created_at - make_interval(secs => %(seconds)s)
    """,
    "UPDATE orders_followed SET follow_at = follow_at - make_interval(secs => %(seconds)s)",
    "UPDATE accepted_prices SET claimed_at = claimed_at - make_interval(secs => %(seconds)s)",
)


@frozen
class PostgresStage:
    database: PostgresDatabase
    runs: PostgresRunRepository

    async def pass_time(self, seconds: float) -> None:
        async def work(session: Session) -> None:
            await session.fetch_each(
                *((statement, {"seconds": seconds}) for statement in PASS_TIME)
            )

        await self.database.run("pass_time", work)


EMPTY = "DELETE FROM {}"
TABLES = (
    "signal_order_mappings",
    "orchestration_runs",
    "orders_followed",
    "gateway_answers",
    "kill_switch_latch",
    "kill_switch_history",
    "account_book",
    "strategy_control_events",
    "accepted_prices",
)


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
