"""What becomes of rows that the version before recovery stored."""

from uuid import UUID

import psycopg
import pytest

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    LEASE_SECONDS,
    a_record,
    an_opening,
    ids_of,
)
from orchestrator_adapters.postgres.database import PostgresDatabase
from orchestrator_adapters.postgres.migrate import known_migrations, upgrade
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from orchestrator_adapters.run_rows import encode_plan, opening_values
from orchestrator_core.commits import PlanRecord, RunOpening, TakenRun
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.tracking import has_ended
from tests.integration.replaced_tables import ROWS, TABLES

pytestmark = pytest.mark.anyio

S = OrderState
BEFORE_RECOVERY = tuple(step for step in known_migrations() if step.version < 3)

RUN = """
    INSERT INTO orchestration_runs (
        run_id, strategy_id, as_of_date, status, symbols, capital, started_at, request, snapshot,
        snapshot_hash, signal_metadata, num_signals, lease_epoch, lease_expires_at, completed_at)
    VALUES (
        %(run_id)s, %(strategy_id)s, %(as_of_date)s, %(status)s, '{}', %(capital)s, %(started_at)s,
        %(request)s, %(snapshot)s, %(digest)s, '{}', 1, 1, %(lease_expires_at)s,
        CASE WHEN %(status)s = 'running' THEN NULL ELSE now() END)
"""
ORDER = """
    INSERT INTO signal_order_mappings (
        run_id, position, symbol, predicted_return, rank, target_weight, client_order_id, leg,
        order_qty, order_side, order_type, time_in_force, state, gateway_status, gateway_order_id,
        order_status, claim_epoch, claim_number, holds_id, created_at)
    VALUES (
        %(run_id)s, 0, 'AAPL', 0, 1, 0.1, %(id)s, 0, 1, 'buy', 'market', 'day', %(state)s, %(word)s,
        %(gateway_order_id)s, %(word)s, 1, 1, true, now() - make_interval(hours => %(hours)s))
"""


class FormerStore:
    """A database of the former version, filled row by row."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def put(
        self,
        symbol: str,
        state: OrderState,
        *,
        status: str = "running",
        word: str | None = None,
        theirs: str | None = None,
        held_for: int | None = None,
        hours: int = 0,
        strategy: StrategyId = ALPHA,
    ) -> tuple[RunOpening, PlanRecord]:
        """Store a run of one order.

        Args:
            symbol: What it trades.
            state: Of the order.
            status: Of the run.
            word: The gateway's, where it spoke.
            theirs: The gateway's own id; ours where it has none.
            held_for: Seconds that the lease lasts; None: given back.
            hours: Age of the order.
            strategy: Whose run.
        """
        opening = an_opening([symbol], strategy=strategy)
        record = a_record(opening)
        encoded = encode_plan(record)
        [id_] = ids_of(record)
        values = {
            **opening_values(opening),
            "status": status,
            "snapshot": encoded.snapshot,
            "digest": encoded.digest,
            "lease_expires_at": None,
            "id": id_,
            "state": state.value,
            "word": word,
            "gateway_order_id": None if word is None else (theirs or id_),
            "hours": hours,
        }
        with psycopg.connect(self.dsn) as connection:
            connection.execute(RUN, values)
            connection.execute(ORDER, values)
            if held_for is not None:
                connection.execute(
                    "UPDATE orchestration_runs"
                    " SET lease_expires_at = now() + make_interval(secs => %s) WHERE run_id = %s",
                    (held_for, opening.run_id),
                )
        return opening, record


@pytest.fixture
async def former(database_url: str) -> FormerStore:
    await upgrade(database_url, migrations=BEFORE_RECOVERY)
    return FormerStore(database_url)


async def take_all(runs: PostgresRunRepository) -> list[TakenRun]:
    taken = []
    while (run := await runs.take_run(ALPHA, lease_seconds=LEASE_SECONDS)) is not None:
        taken.append(run)
    return taken


async def test_runs_left_in_doubt_are_recovered_and_others_in_their_time(
    former: FormerStore,
) -> None:
    silent, _ = former.put("AAPL", S.SENDING, held_for=-5)
    doubtful, record = former.put("IBM", S.UNKNOWN)
    former.put("MSFT", S.SENDING, held_for=60)
    former.put("NKE", S.CONFLICT)
    former.put("ORCL", S.ACCEPTED, status="completed", word="filled")

    async with PostgresDatabase(former.dsn) as database:
        taken = await take_all(PostgresRunRepository(database))

    assert {run.lease.run_id for run in taken} == {silent.run_id, doubtful.run_id}
    assert [run.snapshot for run in taken if run.run.run_id == doubtful.run_id] == [record.snapshot]
    for run in taken:
        assert [order.state for order in run.run.orders or ()] == [S.UNKNOWN]
        # The claim left no time: the row's is later, so the order passes for younger than it is.
        assert [0 <= age < LEASE_SECONDS for age in run.claim_ages.values()] == [True]


async def test_accepted_orders_that_have_not_ended_are_followed(former: FormerStore) -> None:
    _, followed = former.put("AAPL", S.ACCEPTED, status="completed", word="new", hours=1)
    former.put("IBM", S.ACCEPTED, status="completed", word="new", hours=30)
    former.put("MSFT", S.ACCEPTED, status="completed", word="filled")
    former.put("NKE", S.REJECTED, status="failed", word="rejected")
    former.put("ORCL", S.UNKNOWN, word="pending_new")

    async with PostgresDatabase(former.dsn) as database:
        runs = PostgresRunRepository(database)
        orders = await runs.take_followed(ALPHA, limit=10, hold_seconds=30)
        live = await runs.live_orders(after=None, limit=10)

    [order] = orders
    assert order.intent.client_order_id == ids_of(followed)[0]
    assert 3_500 < order.age_seconds < 3_700
    assert [each.intent.client_order_id for each in live] == list(ids_of(followed))


async def test_words_that_are_ends_to_the_migration_are_ends_to_the_core(
    former: FormerStore,
) -> None:
    words = ["accepted", "pending_new", "held_for_review", "filled", "canceled", "expired"]
    words += ["rejected", "replaced", "dry_run", "blocked_kill_switch", "blocked_circuit_breaker"]
    stored = [
        (word, ids_of(former.put(f"S{place}", S.ACCEPTED, status="completed", word=word)[1])[0])
        for place, word in enumerate(words)
    ]

    async with PostgresDatabase(former.dsn) as database:
        live = await PostgresRunRepository(database).live_orders(after=None, limit=100)

    found = {order.intent.client_order_id for order in live}
    assert [id_ in found for _, id_ in stored] == [not has_ended(word) for word, _ in stored]


async def test_what_was_canceled_counts_as_it_did(former: FormerStore) -> None:
    canceled, _ = former.put("AAPL", S.ACCEPTED, status="failed", word="canceled")
    filled, _ = former.put("IBM", S.ACCEPTED, status="completed", word="filled")

    async with PostgresDatabase(former.dsn) as database:
        runs = PostgresRunRepository(database)
        counts = {
            opening.run_id: (run.tally.accepted, run.tally.rejected)
            for opening in (canceled, filled)
            if (run := await runs.get_run(opening.run_id)) is not None
        }

    assert counts == {canceled.run_id: (0, 1), filled.run_id: (1, 0)}


@pytest.mark.parametrize(("last", "keeps_ids"), [(None, True), ("theirs", False)])
async def test_the_last_acknowledgement_is_found(
    former: FormerStore, last: str | None, *, keeps_ids: bool
) -> None:
    beta = StrategyId("beta")
    former.put("AAPL", S.ACCEPTED, status="completed", word="new", theirs="theirs", strategy=beta)
    former.put("AAPL", S.ACCEPTED, status="completed", word="new", theirs=last)
    waiting, _ = former.put("IBM", S.UNKNOWN)

    async with PostgresDatabase(former.dsn) as database:
        [taken] = await take_all(PostgresRunRepository(database))

    assert taken.lease.run_id == waiting.run_id
    assert taken.keeps_ids is keeps_ids


async def test_runs_of_the_replaced_service_are_never_taken(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(TABLES.encode())
        connection.execute(ROWS.encode())
    async with PostgresDatabase(database_url) as database:
        runs = PostgresRunRepository(database)
        # The replaced service may go on writing beside this one.
        await database.execute(
            "replaced",
            "INSERT INTO orchestration_runs"
            " (run_id, strategy_id, as_of_date, status, symbols, capital, started_at)"
            " VALUES (%s, 'beta', '2024-10-20', 'running', '{}', 1, now()) RETURNING run_id",
            (UUID(int=4),),
        )
        found = await database.fetch("look", "SELECT run_id, strategy_id FROM orchestration_runs")

        assert len(found) == 4
        for row in found:
            strategy = StrategyId(row["strategy_id"])
            assert await runs.take_run(strategy, lease_seconds=1) is None
            assert await runs.take_run(strategy, lease_seconds=1, run_id=row["run_id"]) is None
        assert (await runs.backlog()).runs_due == 0
        assert not await runs.live_orders(after=None, limit=10)
