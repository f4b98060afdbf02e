import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    LEASE_SECONDS,
    StartedRun,
    a_closing,
    let_trade,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_followings import an_acceptance, news_of
from orchestrator_adapters.conformance.run_waves import claim_of
from orchestrator_adapters.postgres.database import PostgresDatabase
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from orchestrator_core.errors import LeaseLost

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[PostgresDatabase]:
    async with PostgresDatabase(database_url) as database:
        yield database


async def report(database: PostgresDatabase, run: StartedRun) -> list[dict[str, Any]]:
    return await database.fetch(
        "report",
        """
        SELECT r.num_orders_filled, m.order_status, m.filled_qty::int AS filled_qty,
               m.filled_avg_price::float8 AS price, m.broker_order_id
        FROM signal_order_mappings m JOIN orchestration_runs r ON r.run_id = m.run_id
        WHERE r.run_id = %s ORDER BY m.position
        """,
        (run.run_id,),
    )


async def test_reports_see_what_was_filled_later_in_owner_and_adopter(
    database: PostgresDatabase,
) -> None:
    runs = PostgresRunRepository(database)
    await let_trade(runs)
    owner = await started(runs, ["AAPL", "IBM"], claims=True)
    adopter = await started(runs, ["AAPL", "MSFT"], claims=True)
    outcomes = [an_acceptance(id_, follow=0.0) for id_ in owner.ids]
    own = [an_acceptance(id_, "filled", follow=None) for id_ in adopter.answer.claimed]
    await runs.close_run(adopter.lease, a_closing(*own))
    await runs.close_run(owner.lease, a_closing(*outcomes))
    orders = await runs.take_followed(ALPHA, limit=10, hold_seconds=30)
    [first] = [order for order in orders if order.intent.symbol == "AAPL"]

    await runs.record_news([news_of(first, "filled", filled="10")])

    filled = {
        "order_status": "filled",
        "filled_qty": 10,
        "price": 101.25,
        "broker_order_id": "b-1",
    }
    shown = await report(database, owner)
    assert [row["num_orders_filled"] for row in shown] == [1, 1]
    assert shown[0] == {"num_orders_filled": 1, **filled}
    assert shown[1]["order_status"] == "accepted"
    shown = await report(database, adopter)
    assert shown[0] == {"num_orders_filled": 2, **filled}
    for run in (owner, adopter):
        assert (await report(database, run))[0]["num_orders_filled"] == (
            await stored(runs, run.run_id)
        ).tally.filled


async def test_news_claims_takeovers_and_closings_at_once_never_deadlock(
    database_url: str,
) -> None:
    async with (
        PostgresDatabase(database_url, min_size=6) as one,
        PostgresDatabase(database_url, min_size=6) as other,
    ):
        here, there = PostgresRunRepository(one), PostgresRunRepository(other)
        await let_trade(here)
        for attempt in range(40):
            runs = await a_chain(here, attempt)
            orders = await here.take_followed(ALPHA, limit=100, hold_seconds=0)
            news = [news_of(order, "filled", filled=f"{attempt + 2}") for order in orders]
            turned = news[::-1] if attempt % 2 else news

            await asyncio.gather(
                here.record_news(turned),
                there.record_news(turned[::-1]),
                *(close_soon(there, run, attempt) for run in reversed(runs)),
                there.take_run(ALPHA, lease_seconds=LEASE_SECONDS),
                here.take_followed(ALPHA, limit=100, hold_seconds=0),
                claim_if_held(there, runs[0]),
            )

            for run in runs:
                left = await stored(here, run.run_id)
                rows = await report(one, run)
                assert {row["num_orders_filled"] for row in rows} == {left.tally.filled}
                assert left.completed_at is not None
        await one.fetch("flush", "SELECT pg_stat_force_next_flush()::text AS flushed")
        rows = await one.fetch(
            "look",
            "SELECT deadlocks::int AS n FROM pg_stat_database WHERE datname = current_database()",
        )
        assert rows == [{"n": 0}]


async def a_chain(runs: PostgresRunRepository, attempt: int) -> list[StartedRun]:
    """Start runs of which each adopts an order of all that came before it."""
    symbols: list[str] = []
    chain = []
    for number in range(4):
        symbols = [*symbols, f"C{attempt}N{number}"]
        run = await started(runs, symbols, claims=True)
        accepted = [an_acceptance(id_, follow=0.0) for id_ in run.answer.claimed]
        await runs.commit_wave(run.lease, accepted, None)
        chain.append(run)
    return chain


async def close_soon(runs: PostgresRunRepository, run: StartedRun, attempt: int) -> None:
    await asyncio.sleep(attempt % 4 / 2_000)
    await runs.close_run(run.lease, a_closing())


async def claim_if_held(runs: PostgresRunRepository, run: StartedRun) -> None:
    with suppress(LeaseLost):
        await runs.commit_wave(run.lease, (), claim_of(5, *run.ids))
