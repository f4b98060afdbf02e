from collections.abc import AsyncIterator

import psycopg
import pytest

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    LEASE_SECONDS,
    a_closing,
    a_settlement,
    let_trade,
    started,
)
from orchestrator_adapters.conformance.run_followings import an_acceptance
from orchestrator_adapters.postgres.database import PostgresDatabase
from orchestrator_adapters.postgres.rows import HOLDING, STEPS, settlement_arrays
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from orchestrator_adapters.postgres.statements import CLOSE_KNOWN
from orchestrator_core.errors import IllegalTransition, LeaseLost
from orchestrator_core.lifecycle import OrderState

pytestmark = pytest.mark.anyio

S = OrderState
LET_LEASES_END = "UPDATE orchestration_runs SET lease_expires_at = now(), due_at = now()"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[PostgresDatabase]:
    async with PostgresDatabase(database_url) as database:
        yield database


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement.encode())


async def test_a_damaged_record_holds_up_no_other_run(database: PostgresDatabase) -> None:
    runs = PostgresRunRepository(database)
    damaged = await started(runs, ["AAPL"])
    sound = await started(runs, ["IBM"])
    execute(
        database.dsn,
        LET_LEASES_END,
        f"UPDATE orchestration_runs SET due_at = due_at - interval '1 s', snapshot = '{{}}'"  # noqa: S608
        f" WHERE run_id = '{damaged.run_id}'",
    )

    with pytest.raises(IllegalTransition, match=str(damaged.run_id)):
        await runs.take_run(ALPHA, lease_seconds=LEASE_SECONDS)

    taken = await runs.take_run(ALPHA, lease_seconds=LEASE_SECONDS)
    assert taken is not None
    assert taken.lease.run_id == sound.run_id


async def test_a_closer_who_died_between_two_steps_leaves_a_run_that_is_due(
    database: PostgresDatabase,
) -> None:
    runs = PostgresRunRepository(database)
    await let_trade(runs)
    run = await started(runs, claims=True)
    unknown = a_settlement(run.ids[0], S.UNKNOWN)
    await runs.close_run(run.lease, a_closing(unknown))
    # Closing again by one who believes otherwise: told to look, he never did.
    lease = (run.run_id, run.lease.epoch, 0.0)
    columns = ("completed", 0, 0, 0, 0, None, None, None, None, None, False, None)
    [verdict] = await database.execute(
        "close",
        CLOSE_KNOWN,
        (*lease, STEPS, HOLDING, *settlement_arrays(()), [], *columns),
    )

    assert verdict == {"o_verdict": "look"}
    taken = await runs.take_run(ALPHA, lease_seconds=LEASE_SECONDS)
    assert taken is not None
    assert taken.lease.run_id == run.run_id
    with pytest.raises(LeaseLost):
        await runs.close_run(run.lease, a_closing())


async def test_an_order_whose_row_is_gone_stands_in_no_others_way(
    database: PostgresDatabase,
) -> None:
    runs = PostgresRunRepository(database)
    await let_trade(runs)
    started_runs = [await started(runs, [symbol], claims=True) for symbol in ("AAPL", "IBM")]
    first, last = sorted(started_runs, key=lambda run: run.ids)
    for run in (first, last):
        await runs.commit_wave(run.lease, [an_acceptance(run.ids[0], follow=0.0)], None)
    execute(database.dsn, f"DELETE FROM orchestration_runs WHERE run_id = '{first.run_id}'")  # noqa: S608

    live = await runs.live_orders(after=None, limit=1)
    followed = await runs.take_followed(ALPHA, limit=10, hold_seconds=0)

    assert [order.intent.client_order_id for order in live] == list(last.ids)
    assert [order.intent.client_order_id for order in followed] == list(last.ids)
