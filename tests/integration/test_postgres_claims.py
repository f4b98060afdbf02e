import asyncio
from uuid import uuid4

import psycopg
import pytest
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    TRADING,
    a_record,
    an_opening,
    ids_of,
    let_trade,
    opened,
    order_states,
    started,
    stored,
)
from orchestrator_adapters.postgres.database import PostgresDatabase, Session
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from orchestrator_core.commits import (
    ClaimAnswer,
    Lease,
    PlanCommit,
    RunClosing,
    RunOpening,
    WaveClaim,
)
from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.orders import Settlement
from orchestrator_core.runs import Run

pytestmark = pytest.mark.anyio

ROUNDS = 300
RUNS = 4
SENDING = "SELECT count(*)::int AS n FROM signal_order_mappings WHERE state = 'sending'"


async def test_after_an_engagement_no_claim_of_another_pool_is_committed(
    database_url: str,
) -> None:
    async with (
        PostgresDatabase(database_url, min_size=RUNS, max_size=RUNS) as senders,
        PostgresDatabase(database_url) as operators,
    ):
        sending, operating = PostgresRunRepository(senders), PostgresRunRepository(operators)
        await let_trade(operating)
        symbols = [f"S{place}" for place in range(ROUNDS)]
        plans = [
            await started(
                sending,
                opening=evolve(an_opening(symbols), strategy_id=StrategyId(f"strategy-{number}")),
            )
            for number in range(RUNS)
        ]
        latch = TRADING
        claimed = 0
        for place in range(ROUNDS):

            async def claim(number: int, place: int, epoch: int) -> ClaimAnswer:
                run = plans[number]
                wish = WaveClaim(place + 1, (run.ids[place],), epoch)
                return await sending.commit_wave(run.lease, (), wish)

            claims = [
                asyncio.create_task(claim(number, place, latch.epoch)) for number in range(RUNS)
            ]
            await asyncio.sleep(place % 10 / 5_000)
            engaged = evolve(latch, engaged=True, epoch=latch.epoch + 1)
            assert await operating.swap_latch(latch, engaged)

            seen_after_engaging = (await operators.fetch("count", SENDING))[0]["n"]
            answers = await asyncio.gather(*claims)
            claimed += sum(len(answer.claimed) for answer in answers)
            assert (await operators.fetch("count", SENDING))[0]["n"] == seen_after_engaging
            assert claimed == seen_after_engaging

            latch = evolve(engaged, engaged=False)
            assert await operating.swap_latch(engaged, latch)
        assert 0 < claimed < RUNS * ROUNDS


WAITING = "SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted"
HOLD_LATCH = "SELECT FROM kill_switch_latch FOR SHARE"


async def test_a_claim_that_comes_after_an_engagement_does_not_overtake_it(
    database_url: str,
) -> None:
    # Else claims that follow each other closely keep an engagement waiting for ever.
    async with PostgresDatabase(database_url, min_size=4) as database:
        runs = PostgresRunRepository(database)
        await let_trade(runs)
        run = await started(runs, opening=an_opening(["A"]))
        engaged = evolve(TRADING, engaged=True, epoch=TRADING.epoch + 1)

        async def wait_for_waiting(count: int) -> None:
            for _ in range(400):
                if (await database.fetch("look", WAITING))[0]["n"] >= count:
                    return
                await asyncio.sleep(0.01)
            pytest.fail("nobody waits")

        async with await psycopg.AsyncConnection.connect(database_url) as claiming_before:
            await claiming_before.execute(HOLD_LATCH)
            engaging = asyncio.create_task(runs.swap_latch(TRADING, engaged))
            await wait_for_waiting(1)
            claim = WaveClaim(1, (run.ids[0],), TRADING.epoch)
            claiming = asyncio.create_task(runs.commit_wave(run.lease, (), claim))
            await wait_for_waiting(2)
        assert await engaging
        assert await claiming == ClaimAnswer(halted=True)


async def plan(runs: PostgresRunRepository, opening: RunOpening, lease: Lease) -> PlanCommit:
    record = a_record(opening)
    return await runs.commit_plan(lease, record, WaveClaim(1, ids_of(record), TRADING.epoch))


async def test_racing_plans_of_the_same_orders_share_them_out_without_deadlock(
    database_url: str,
) -> None:
    symbols = [f"S{place}" for place in range(400)]
    async with (
        PostgresDatabase(database_url, min_size=4) as one,
        PostgresDatabase(database_url, min_size=4) as other,
    ):
        repositories = [PostgresRunRepository(one), PostgresRunRepository(other)]
        await let_trade(repositories[0])
        for race in range(8):
            # Each plan has the orders in another sequence.
            openings = [an_opening(symbols), an_opening(symbols[::-1])] * 2
            openings = [evolve(opening, run_id=RunId(uuid4())) for opening in openings]
            openings = [
                evolve(opening, request=evolve(opening.request, rebalance_key=f"race-{race}"))
                for opening in openings
            ]
            leases = [await opened(repositories[0], opening) for opening in openings]

            commits = await asyncio.gather(
                *(
                    plan(repositories[number % 2], opening, lease)
                    for number, (opening, lease) in enumerate(zip(openings, leases, strict=True))
                )
            )

            assert sum(len(commit.answer.claimed) for commit in commits) == len(symbols)
            states = [order.state for commit in commits for order in commit.orders]
            assert states.count(OrderState.SENDING) == len(symbols)
            assert states.count(OrderState.ADOPTED) == 3 * len(symbols)
        # A deadlock would have been tried again in silence.
        await one.fetch("flush", "SELECT pg_stat_force_next_flush()::text AS flushed")
        rows = await one.fetch(
            "look",
            "SELECT deadlocks::int AS n FROM pg_stat_database WHERE datname = current_database()",
        )
        assert rows == [{"n": 0}]


async def test_a_loser_holds_what_the_winner_took_back(database_url: str) -> None:
    async with PostgresDatabase(database_url, min_size=2) as database:
        runs = PostgresRunRepository(database)
        opening = an_opening(("AAPL", "MSFT"))
        record = a_record(opening)
        lease = await opened(runs, opening)
        winner = await started(runs, opening=an_opening(("AAPL",)), record=None)
        undoing = asyncio.Event()

        async def rival(session: Session) -> None:
            # A rival inserts the second id, waits, and takes it back.
            connection = session.connection
            await connection.execute("BEGIN")
            await connection.execute(
                """
                INSERT INTO signal_order_mappings (run_id, symbol, client_order_id, state, holds_id)
                VALUES (%s, 'MSFT', %s, 'planned', true)
                """,
                (winner.run_id, record.plan.intents[1].client_order_id),
            )
            undoing.set()
            await asyncio.sleep(0.2)
            await connection.execute("ROLLBACK")

        rivalry = asyncio.create_task(database.run("rival", rival))
        await undoing.wait()
        commit = await runs.commit_plan(lease, record, None)
        await rivalry

    assert [order.state for order in commit.orders] == [OrderState.ADOPTED, OrderState.PLANNED]
    assert commit.orders[0].owner is not None
    assert commit.orders[0].owner.run_id == winner.run_id


async def test_owner_and_adopter_closing_at_once_from_two_pools_leave_none_running(
    database_url: str,
) -> None:
    async with (
        PostgresDatabase(database_url) as one,
        PostgresDatabase(database_url) as other,
    ):
        owners, adopters = PostgresRunRepository(one), PostgresRunRepository(other)
        await let_trade(owners)
        for attempt in range(60):
            symbols = (f"S{attempt}",)
            owner = await started(owners, symbols, claims=True)
            adopter = await started(adopters, symbols)
            outcome = Settlement(owner.ids[0], OrderState.REJECTED, reason="no")

            async def close(
                runs: PostgresRunRepository, lease: Lease, closing: RunClosing, pause: float
            ) -> Run:
                await asyncio.sleep(pause)
                return await runs.close_run(lease, closing)

            await asyncio.gather(
                close(
                    owners,
                    owner.lease,
                    RunClosing((outcome,), None, owner.opening.started_at),
                    attempt % 3 / 2_000,
                ),
                close(
                    adopters,
                    adopter.lease,
                    RunClosing((), None, adopter.opening.started_at),
                    attempt % 5 / 3_000,
                ),
            )

            for run_id in (owner.run_id, adopter.run_id):
                run = await stored(owners, run_id)
                assert run.status is RunStatus.FAILED
                assert run.completed_at is not None


async def test_reports_see_an_adopted_order_as_its_owner_stands(database_url: str) -> None:
    async with PostgresDatabase(database_url) as database:
        runs = PostgresRunRepository(database)
        await let_trade(runs)
        owner = await started(runs, claims=True)
        adopter = await started(runs)
        at = owner.opening.started_at
        await runs.close_run(adopter.lease, RunClosing((), None, at))
        outcome = Settlement(owner.ids[0], OrderState.REJECTED, reason="too dear")
        await runs.close_run(owner.lease, RunClosing((outcome,), None, at))

        rows = await database.fetch(
            "report",
            """
            SELECT m.order_status, m.skip_reason, r.status, r.num_orders_rejected
            FROM signal_order_mappings m JOIN orchestration_runs r ON r.run_id = m.run_id
            """,
        )
        assert rows == 2 * [
            {
                "order_status": "rejected",
                "skip_reason": "submission_failed: too dear",
                "status": "failed",
                "num_orders_rejected": 1,
            }
        ]
        assert await order_states(runs, adopter.run_id) == [OrderState.ADOPTED]


async def test_a_plan_kept_since_the_tables_were_empty_reads_none_whole(
    database_url: str,
) -> None:
    async with PostgresDatabase(database_url, min_size=1, max_size=1) as database:
        runs = PostgresRunRepository(database)
        await let_trade(runs)
        small = await started(runs, ("S0",), claims=True)
        await runs.close_run(
            small.lease,
            RunClosing(
                (Settlement(small.ids[0], OrderState.NOT_PLACED, reason="x"),),
                None,
                small.opening.started_at,
            ),
        )
        big = await started(runs, [f"S{place}" for place in range(2_000)])

        for number in range(5):
            before = await rows_read(database)
            ids = big.ids[number * 32 : number * 32 + 32]
            settled = tuple(
                Settlement(id_, OrderState.UNKNOWN, reason="x")
                for id_ in big.ids[number * 32 - 32 : number * 32]
            )
            await runs.commit_wave(big.lease, settled, WaveClaim(number + 1, ids, TRADING.epoch))
            assert await rows_read(database) - before < 1_000


async def rows_read(database: PostgresDatabase) -> int:
    await database.fetch("flush", "SELECT pg_stat_force_next_flush()::text AS flushed")
    rows = await database.fetch(
        "read",
        """
        SELECT (seq_tup_read + coalesce(idx_tup_fetch, 0))::int AS n
        FROM pg_stat_user_tables WHERE relname = 'signal_order_mappings'
        """,
    )
    return int(rows[0]["n"])
