"""A basket refused, and its owner gone before the close: what a real database tells of it."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    LEASE_SECONDS,
    a_closing,
    a_record,
    an_opening,
    started,
)
from orchestrator_adapters.postgres.database import PostgresDatabase
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.limits import Limits
from orchestrator_core.runs import FailureKind, RunFailure, RunFilter

pytestmark = pytest.mark.anyio

SYMBOLS = ["AAPL", "IBM"]
REFUSED = RunFailure(FailureKind.BASKET_REFUSED, "MAX_ORDERS_A_RUN orders=2 limit=1")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[PostgresDatabase]:
    async with PostgresDatabase(database_url) as database:
        yield database


async def test_a_refused_basket_is_failed_though_another_closes_it(
    database: PostgresDatabase,
) -> None:
    runs = PostgresRunRepository(database)
    opening = an_opening(SYMBOLS)
    record = a_record(opening, limits=Limits(max_orders_a_run=1))
    run = await started(runs, opening=opening, record=record)
    assert [order.state for order in run.orders] == [OrderState.DENIED] * 2
    with psycopg.connect(database.dsn) as connection:
        connection.execute("UPDATE orchestration_runs SET lease_expires_at = now(), due_at = now()")

    taken = await runs.take_run(ALPHA, lease_seconds=LEASE_SECONDS)
    assert taken is not None
    closed = await runs.close_run(taken.lease, a_closing())

    assert (closed.status, closed.failure) == (RunStatus.FAILED, REFUSED)
    assert await runs.get_run(run.run_id) == closed
    page = await runs.list_runs(RunFilter(status=RunStatus.FAILED), limit=9, offset=0)
    assert [each.run_id for each in page.runs] == [run.run_id]
