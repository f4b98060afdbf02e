from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from typing import LiteralString

import anyio
import psycopg
import pytest

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    DAY,
    LEASE_SECONDS,
    a_closing,
    a_settlement,
    let_trade,
    started,
)
from orchestrator_adapters.conformance.run_followings import an_acceptance, news_of
from orchestrator_adapters.conformance.run_recoveries import BETA
from orchestrator_adapters.postgres.database import PostgresDatabase
from orchestrator_adapters.postgres.migrate import upgrade
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from orchestrator_core.commits import FollowedOrder
from orchestrator_core.identifiers import Symbol
from orchestrator_core.lifecycle import OrderState
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.anyio

LET_LEASES_END = "UPDATE orchestration_runs SET lease_expires_at = now(), due_at = now()"

RUNS = 60_000
ORDERS_A_RUN = 5
OPEN_RUNS = 40
# Whatever a call looks at: far fewer than all, and more than any of them needs.
FEW = 400

RUNS_A_DAY = 10
# Most of them dry, or refused by the strategy: what counts failed runs must not walk through these.
REQUEST = """CASE WHEN n % 100 < 50 THEN '{}' ELSE '{"dry_run":true}' END"""
FAILURE = "CASE WHEN n % 100 = 0 THEN 'signals_unavailable' ELSE 'signals_refused' END"
MANY_RUNS = f"""
    INSERT INTO orchestration_runs (
        run_id, strategy_id, as_of_date, status, symbols, capital, started_at, completed_at,
        request, failure_kind, snapshot, snapshot_hash, signal_metadata, lease_epoch)
    SELECT gen_random_uuid(), 'alpha', '2026-03-01'::date - n / {RUNS_A_DAY}, 'failed', '{{}}', 1,
           now(), now(), {REQUEST}, {FAILURE}, '{{}}', 'x', '{{}}', 1
    FROM generate_series(1, {RUNS}) AS n
"""  # noqa: S608
MANY_ORDERS = f"""
    INSERT INTO signal_order_mappings (
        run_id, position, symbol, predicted_return, rank, target_weight, client_order_id, leg,
        order_qty, order_side, order_type, time_in_force, state, gateway_status, gateway_order_id,
        order_status, claim_epoch, claim_number, holds_id)
    SELECT r.run_id, p, 'S' || p, 0, 1, 0.1, md5(r.id || '/' || p), 0, 1, 'buy', 'market', 'day',
           'accepted', 'filled', md5(r.id || '/' || p), 'filled', 1, 1, true
    FROM orchestration_runs r CROSS JOIN generate_series(1, {ORDERS_A_RUN}) AS p
"""  # noqa: S608
MANY_PRICES = f"""
    INSERT INTO accepted_prices (symbol, claimed_at, price)
    SELECT 'S' || p, now() - make_interval(secs => n), 100
    FROM generate_series(1, {RUNS}) AS n CROSS JOIN generate_series(1, {ORDERS_A_RUN}) AS p
"""  # noqa: S608
MANY_EVENTS = """
    INSERT INTO strategy_control_events (strategy_id, event, occurred_at, operator, notes)
    SELECT 'beta', 'REARMED', now() - make_interval(secs => n), 'ops', 'none'
    FROM generate_series(1, 10000) AS n
"""


def execute(dsn: str, *statements: str) -> None:
    with psycopg.connect(dsn) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture(scope="module")
def large_url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.fresh_database() as dsn:
        anyio.run(upgrade, dsn)
        execute(dsn, MANY_RUNS, MANY_ORDERS, MANY_PRICES, MANY_EVENTS)
        yield dsn


async def rows_read(database: PostgresDatabase) -> int:
    await database.fetch("flush", "SELECT pg_stat_force_next_flush()::text AS flushed")
    rows = await database.fetch(
        "read",
        """
        SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)
             + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes) AS n
        """,
    )
    return int(rows[0]["n"])


async def alone(database: PostgresDatabase) -> None:
    """Return once no other session is left: what it read is counted by then."""
    with anyio.fail_after(20):
        while True:
            rows = await database.fetch(
                "others",
                """
                SELECT count(*) AS n FROM pg_stat_activity
                WHERE datname = current_database() AND backend_type = 'client backend'
                  AND pid <> pg_backend_pid()
                """,
            )
            if rows[0]["n"] == 0:
                return
            await anyio.sleep(0.01)


async def test_recovery_and_following_read_little_of_a_large_table(large_url: str) -> None:
    # One connection: its plans were made while few runs were open, and are kept.
    async with PostgresDatabase(large_url, min_size=1, max_size=1) as database:
        runs = PostgresRunRepository(database)
        await let_trade(runs)
        for number in range(OPEN_RUNS):
            run = await started(runs, [f"A{number}", f"B{number}"], claims=True)
            await runs.commit_wave(run.lease, [an_acceptance(run.ids[0], follow=0.0)], None)
        execute(large_url, LET_LEASES_END)
        await alone(database)
        followed: Sequence[FollowedOrder] = ()

        async def take() -> None:
            taken = await runs.take_run(ALPHA, lease_seconds=LEASE_SECONDS)
            assert taken is not None
            assert taken.keeps_ids is True

        async def take_followed() -> None:
            nonlocal followed
            followed = await runs.take_followed(ALPHA, limit=8, hold_seconds=30)
            assert len(followed) == 8

        async def record() -> None:
            await runs.record_news([news_of(order, "filled", follow=60) for order in followed])

        async def live() -> None:
            assert len(await runs.live_orders(after=None, limit=8)) == 8

        async def backlog() -> None:
            waiting = await runs.backlog()
            assert 0 < waiting.runs_due < OPEN_RUNS
            assert waiting.orders_followed > 0

        calls: list[Callable[[], Awaitable[None]]] = [take, take_followed, record, live, backlog]
        for _ in range(4):
            for call in calls:
                before = await rows_read(database)
                await call()
                assert await rows_read(database) - before < FEW, call


async def test_books_and_controls_read_little_of_a_large_table(large_url: str) -> None:
    symbols = [Symbol(f"S{place}") for place in range(1, ORDERS_A_RUN + 1)]
    async with PostgresDatabase(large_url, min_size=1, max_size=1) as database:
        runs = PostgresRunRepository(database)
        run = await started(runs, ["A"])

        async def book() -> None:
            found = await runs.read_book(ALPHA, DAY - timedelta(days=100))
            assert len(found.day_orders) == RUNS_A_DAY * ORDERS_A_RUN
            assert run.ids[0] in {order.intent.client_order_id for order in found.open_orders}

        async def references() -> None:
            assert len(await runs.last_accepted(symbols)) == len(symbols)

        async def controls() -> None:
            assert (await runs.read_controls(ALPHA, count_failures=50)).failed_runs == 50

        async def events() -> None:
            assert len(await runs.control_events(BETA, limit=10)) == 10

        calls: list[Callable[[], Awaitable[None]]] = [book, references, controls, events]
        await alone(database)
        for call in calls:
            before = await rows_read(database)
            await call()
            assert await rows_read(database) - before < FEW, call
        # Tests in any order share the tables: nothing is left open.
        ended = a_settlement(run.ids[0], OrderState.NOT_PLACED)
        await runs.close_run(run.lease, a_closing(ended))


PLANS: dict[str, LiteralString] = {
    "take_run": "SELECT run_id FROM orchestration_runs WHERE strategy_id = 'alpha'"
    " AND due_at <= now() AND completed_at IS NULL AND lease_epoch IS NOT NULL"
    " ORDER BY due_at LIMIT 1",
    "take_followed": "SELECT client_order_id FROM orders_followed WHERE strategy_id = 'alpha'"
    " AND follow_at <= now() ORDER BY follow_at LIMIT 64",
    "live_orders": "SELECT client_order_id FROM orders_followed WHERE client_order_id > ''"
    " AND is_live ORDER BY client_order_id LIMIT 64",
}
INDEXES = {
    "take_run": "orchestrator_runs_due",
    "take_followed": "orchestrator_followed_due",
    "live_orders": "orders_followed_pkey",
}


@pytest.mark.parametrize("call", PLANS)
async def test_what_is_due_is_read_in_the_order_of_an_index(large_url: str, call: str) -> None:
    async with PostgresDatabase(large_url, min_size=1) as database:
        rows = await database.fetch("explain", "EXPLAIN " + PLANS[call])
        plan = "\n".join(row["QUERY PLAN"] for row in rows)
        assert f"using {INDEXES[call]}" in plan
        assert "Sort" not in plan
