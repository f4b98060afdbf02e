from collections.abc import AsyncIterator

import psycopg
import pytest

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    LEASE_SECONDS,
    TRADING,
    a_report,
    a_settlement,
    let_trade,
    order_states,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_followings import an_acceptance
from orchestrator_adapters.postgres.database import PostgresDatabase
from orchestrator_adapters.postgres.rows import HOLDING, STEPS, settlement_arrays
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.orders import Settlement

pytestmark = pytest.mark.anyio

S = OrderState
LET_LEASES_END = "UPDATE orchestration_runs SET lease_expires_at = now(), due_at = now()"

FORMER_WAVE = "SELECT * FROM orchestrator_commit_wave(%s" + 19 * ", %s" + ")"
FORMER_CLOSE = "SELECT * FROM orchestrator_close_known(%s" + 27 * ", %s" + ")"
# Of the arrays of a settlement, those that the former version gives.
FORMER = [*range(9), 10, 11]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[PostgresDatabase]:
    async with PostgresDatabase(database_url) as database:
        yield database


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def former_arrays(*settlements: Settlement) -> list[str]:
    arrays = settlement_arrays(settlements)
    return [arrays[place] for place in FORMER]


async def test_what_the_former_version_accepts_beside_this_one_is_followed(
    database: PostgresDatabase,
) -> None:
    runs = PostgresRunRepository(database)
    await let_trade(runs)
    run = await started(runs, ["AAPL", "IBM", "MSFT"])
    lease = (run.run_id, run.lease.epoch, run.lease.seconds)
    claim = (1, list(run.ids), TRADING.epoch)
    canceled = Settlement(run.ids[1], S.ACCEPTED, report=a_report(run.ids[1], "canceled"))
    outcomes = former_arrays(an_acceptance(run.ids[0]), canceled)

    [claimed] = await database.execute(
        "former", FORMER_WAVE, (*lease, False, *claim, STEPS, HOLDING, *former_arrays())
    )
    await database.execute(
        "former", FORMER_WAVE, (*lease, False, None, [], None, STEPS, HOLDING, *outcomes)
    )

    assert set(claimed["o_claimed"]) == set(run.ids)
    assert await order_states(runs, run.run_id) == [S.ACCEPTED, S.ACCEPTED, S.SENDING]
    orders = (await stored(runs, run.run_id)).orders or ()
    assert [order.canceled_on_arrival for order in orders] == [False, True, False]
    execute(database.dsn, "UPDATE orders_followed SET follow_at = follow_at - interval '1 second'")
    followed = await runs.take_followed(ALPHA, limit=10, hold_seconds=30)
    assert {order.intent.client_order_id for order in followed} == set(run.ids[:2])


async def test_what_the_former_version_leaves_open_beside_this_one_is_recovered(
    database: PostgresDatabase,
) -> None:
    runs = PostgresRunRepository(database)
    await let_trade(runs)
    run = await started(runs, claims=True)
    lease = (run.run_id, run.lease.epoch, run.lease.seconds)
    unknown = former_arrays(a_settlement(run.ids[0], S.UNKNOWN))
    columns = ("running", 0, 0, 0, 0, None, None, None, None, None, False)

    [verdict] = await database.execute(
        "former", FORMER_CLOSE, (*lease, STEPS, HOLDING, *unknown, ["unknown=1"], *columns)
    )

    assert verdict == {"o_verdict": "done"}
    assert await runs.take_run(ALPHA, lease_seconds=1) is None
    execute(database.dsn, "UPDATE orchestration_runs SET due_at = due_at - interval '1 second'")
    taken = await runs.take_run(ALPHA, lease_seconds=LEASE_SECONDS)
    assert taken is not None
    assert taken.lease.run_id == run.run_id


async def test_a_run_that_the_former_version_opened_is_due_when_its_lease_ends(
    database: PostgresDatabase,
) -> None:
    runs = PostgresRunRepository(database)
    run = await started(runs)
    execute(database.dsn, "UPDATE orchestration_runs SET due_at = DEFAULT")

    assert await runs.take_run(ALPHA, lease_seconds=1) is None
    assert (await runs.backlog()).runs_due == 0

    execute(database.dsn, LET_LEASES_END)
    taken = await runs.take_run(ALPHA, lease_seconds=LEASE_SECONDS)
    assert taken is not None
    assert taken.lease.run_id == run.run_id
