import asyncio
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal

import psycopg
import pytest
from attrs import evolve
from psycopg.rows import dict_row

from orchestrator_adapters.conformance.run_books import booked, keyed
from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    DAY,
    TRADING,
    a_record,
    a_settlement,
    an_opening,
    ids_of,
    let_trade,
    opened,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_followings import an_acceptance
from orchestrator_adapters.conformance.run_recoveries import BETA
from orchestrator_adapters.postgres import statements
from orchestrator_adapters.postgres.database import PostgresDatabase
from orchestrator_adapters.postgres.migrate import known_migrations, upgrade
from orchestrator_adapters.postgres.rows import plan_arrays, text_array
from orchestrator_adapters.postgres.runs import PostgresRunRepository
from orchestrator_adapters.postgres.waves import wave_parameters
from orchestrator_adapters.run_rows import encode_plan, opening_values, plan_values
from orchestrator_core.commits import Lease, PlanCommit, PlanRecord, RunOpening, WaveClaim
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.orders import Settlement, order_of
from orchestrator_core.record import canonical_json

pytestmark = pytest.mark.anyio

S = OrderState
ROUNDS = 25
RACERS = 6
BEFORE_BOOKS = tuple(step for step in known_migrations() if step.version < 7)

MOVE_BOOK = (
    "INSERT INTO account_book (version) VALUES (1)"
    " ON CONFLICT (singleton) DO UPDATE SET version = account_book.version + 1"
)
WAITING = "SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[PostgresDatabase]:
    async with PostgresDatabase(database_url) as database:
        yield database


async def version_of(runs: PostgresRunRepository) -> int:
    return (await runs.read_book(ALPHA, DAY)).version


# Plans from one version of a book


async def test_of_racing_plans_from_one_version_one_is_stored_each_time(database_url: str) -> None:
    async with (
        PostgresDatabase(database_url, min_size=3) as one,
        PostgresDatabase(database_url, min_size=3) as other,
    ):
        repositories = [PostgresRunRepository(one), PostgresRunRepository(other)]
        await let_trade(repositories[0])

        async def race(opening: RunOpening, place: int, version: int | None) -> PlanCommit:
            runs = repositories[place % 2]
            lease = await opened(runs, opening)
            record = evolve(a_record(opening), book_version=version)
            claim = WaveClaim(1, ids_of(record), TRADING.epoch)
            return await runs.commit_plan(lease, record, claim)

        for version in range(ROUNDS):
            # All of one strategy want the same orders, each in another sequence; two of them do not
            # depend on the book.
            symbols = [f"S{place}" for place in range(20)]
            openings = [
                keyed(
                    f"r{version}",
                    symbols[place:] + symbols[:place],
                    strategy=BETA if place == RACERS - 1 else ALPHA,
                )
                for place in range(RACERS)
            ]
            commits = await asyncio.gather(
                *(
                    race(opening, place, version if place >= 2 else None)
                    for place, opening in enumerate(openings)
                )
            )

            assert [commit.is_stale for commit in commits].count(False) == 3
            assert await version_of(repositories[0]) == version + 1
            plans = [(await stored(repositories[0], opening.run_id)).orders for opening in openings]
            assert [orders is None for orders in plans] == [commit.is_stale for commit in commits]
            claimed = [id_ for commit in commits for id_ in commit.answer.claimed]
            assert len(set(claimed)) == len(claimed)
            # Of a strategy that came through, each order once.
            assert len(claimed) == len(symbols) * (1 if commits[-1].is_stale else 2)


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("does_commit", [True, False])
async def test_a_plan_waits_for_the_plan_before_it_and_is_judged_by_what_became_of_that(
    database: PostgresDatabase, *, before: int, does_commit: bool
) -> None:
    runs = PostgresRunRepository(database)
    for _ in range(before):
        await database.execute("move", MOVE_BOOK + " RETURNING version")
    opening = an_opening()
    lease = await opened(runs, opening)
    async with await psycopg.AsyncConnection.connect(database.dsn) as other:
        await other.execute(MOVE_BOOK.encode())
        committing = asyncio.create_task(
            runs.commit_plan(lease, booked(a_record(opening), before), None)
        )
        for _ in range(400):
            if (await database.fetch("look", WAITING))[0]["n"]:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("the plan does not wait")
        await (other.commit() if does_commit else other.rollback())
        commit = await committing

    assert commit.is_stale is does_commit
    assert bool(commit.orders) is not does_commit
    assert await version_of(runs) == before + 1


async def test_a_stale_plan_leaves_its_run_as_it_was(database: PostgresDatabase) -> None:
    runs = PostgresRunRepository(database)
    opening = an_opening()
    lease = await opened(runs, opening)
    look = "SELECT * FROM orchestration_runs"
    before = await database.fetch("look", look)

    assert (await runs.commit_plan(lease, booked(a_record(opening), 3), None)).is_stale

    assert await database.fetch("look", look) == before
    assert await database.fetch("look", "SELECT id FROM signal_order_mappings") == []


# What an outcome costs


async def test_outcomes_write_no_index_of_the_orders_rows(database_url: str) -> None:
    # One connection: it is asked for its own statistics.
    async with PostgresDatabase(database_url, min_size=1, max_size=1) as database:
        runs = PostgresRunRepository(database)
        await let_trade(runs)
        symbols = [f"S{place}" for place in range(8)]
        run = await started(runs, symbols)
        claim = WaveClaim(1, run.ids, TRADING.epoch)
        await runs.commit_wave(run.lease, [], claim)
        await runs.commit_wave(run.lease, [an_acceptance(id_) for id_ in run.ids], None)
        await database.fetch("flush", "SELECT pg_stat_force_next_flush()::text AS flushed")
        [counts] = await database.fetch(
            "count",
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
            " WHERE relname = 'signal_order_mappings'",
        )

    assert counts == {"n_tup_upd": 16, "n_tup_hot_upd": 16}


async def test_a_repeated_outcome_notes_the_price_once(database: PostgresDatabase) -> None:
    runs = PostgresRunRepository(database)
    await let_trade(runs)
    run = await started(runs, ["A", "B"], claims=True)
    outcomes = [an_acceptance(run.ids[0]), a_settlement(run.ids[1], S.REJECTED)]
    for _ in range(2):
        await runs.commit_wave(run.lease, outcomes, None)

    noted = await database.fetch("look", "SELECT symbol, price FROM accepted_prices")
    assert noted == [{"symbol": "A", "price": Decimal(100)}]


async def test_an_order_that_was_claimed_later_is_the_later_one(
    database: PostgresDatabase,
) -> None:
    runs = PostgresRunRepository(database)
    await let_trade(runs)
    planned_first, planned_next = keyed("first"), keyed("next")
    first = await started(
        runs, opening=planned_first, record=a_record(planned_first, prices={"AAPL": "101"})
    )
    second = await started(
        runs, opening=planned_next, record=a_record(planned_next, prices={"AAPL": "102"})
    )
    for run in (second, first):
        await runs.commit_wave(run.lease, [], WaveClaim(1, run.ids, TRADING.epoch))
    for run in (first, second):
        await runs.commit_wave(run.lease, [an_acceptance(run.ids[0])], None)

    found = await runs.last_accepted([Symbol("AAPL"), Symbol("AAPL")])

    assert [reference.price for reference in found.values()] == [Decimal(101)]


# The former version

FORMER_PLAN = "SELECT * FROM orchestrator_commit_plan(%s" + 25 * ", %s" + ")"
FORMER_ARRAYS = 13


def former_run(
    dsn: str, opening: RunOpening, record: PlanRecord, outcomes: Sequence[Settlement]
) -> None:
    """Store a run, claimed and settled, as the former version does."""
    lease = Lease(opening.run_id, 1, opening.lease_seconds)
    encoded = encode_plan(record)
    values = plan_values(record, encoded)
    orders = [order_of(decision) for decision in record.plan.decisions]
    opened_values = {
        **opening_values(opening),
        "symbols": text_array(opening.request.symbols),
        "lease_seconds": opening.lease_seconds,
    }
    plan = (
        *(lease.run_id, lease.epoch, lease.seconds),
        *(values["as_of_date"], values["num_signals"], values["model_version"]),
        *(values["snapshot"], values["snapshot_hash"]),
        canonical_json(dict(record.snapshot.batch.metadata)),
        values["signal_service_response"],
        *(1, text_array(ids_of(record)), TRADING.epoch),
        *plan_arrays(orders, lease.run_id)[:FORMER_ARRAYS],
    )
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        connection.execute(statements.OPEN_RUN, opened_values)
        planned = connection.execute(FORMER_PLAN, plan).fetchone()
        assert planned is not None
        assert (planned["o_verdict"], len(planned["o_claimed"])) == ("done", len(ids_of(record)))
        connection.execute(
            statements.COMMIT_WAVE, wave_parameters(lease, outcomes, None, is_closing=False)
        )


def outcomes_of(ids: Sequence[ClientOrderId]) -> list[Settlement]:
    return [
        an_acceptance(ids[0]),
        an_acceptance(ids[1], "filled"),
        a_settlement(ids[2], S.UNKNOWN),
        a_settlement(ids[3], S.REJECTED),
    ]


TRADING_ROW = (
    "INSERT INTO kill_switch_latch"
    " (engaged, epoch, changed_by, reason, changed_at, breaker_seen)"
    " VALUES (false, 1, 'ops', 'first start', now(), false)"
)


@pytest.mark.parametrize("is_before", [True, False], ids=["before", "beside"])
async def test_what_a_former_version_stored_before_or_beside_is_in_the_book(
    database_url: str, *, is_before: bool
) -> None:
    await upgrade(database_url, migrations=BEFORE_BOOKS if is_before else known_migrations())
    with psycopg.connect(database_url) as connection:
        connection.execute(TRADING_ROW)
    opening = an_opening(["A", "B", "C", "D"])
    record = a_record(opening, prices=dict.fromkeys("ABCD", "99.95"))
    ids = ids_of(record)
    former_run(database_url, opening, record, outcomes_of(ids))

    async with PostgresDatabase(database_url) as database:
        runs = PostgresRunRepository(database)
        book = await runs.read_book(ALPHA, DAY)
        run = await stored(runs, opening.run_id)
        references = await runs.last_accepted([Symbol(symbol) for symbol in "ABCD"])
        # What it goes on to hear of that order is recorded by this version.
        lease = Lease(opening.run_id, 1, opening.lease_seconds)
        await runs.commit_wave(lease, [a_settlement(ids[2], S.ACCEPTED)], None)
        left = await runs.read_book(ALPHA, DAY)

    cap = opening.request.max_position_size
    assert book.version == 0
    assert {order.client_order_id: order.notional for order in book.day_orders} == dict.fromkeys(
        ids[:3], cap
    )
    assert {order.intent.client_order_id: order.state for order in book.open_orders} == {
        ids[0]: S.ACCEPTED,
        ids[2]: S.UNKNOWN,
    }
    assert [order.state for order in left.open_orders] == [S.ACCEPTED, S.ACCEPTED]
    assert run.orders is not None
    assert [(order.price, order.signal) for order in run.orders] == [
        (None, signal) for signal in record.snapshot.batch.signals
    ]
    assert references == {}


async def test_what_the_former_version_leaves_to_a_look_is_no_open_order_if_it_has_ended(
    database: PostgresDatabase,
) -> None:
    runs = PostgresRunRepository(database)
    await let_trade(runs)
    run = await started(runs, ["A", "B", "C"], claims=True)
    words = ["filled", "dry_run", "new"]
    outcomes = [an_acceptance(id_, word) for id_, word in zip(run.ids, words, strict=True)]
    await runs.commit_wave(run.lease, outcomes, None)
    await database.execute(
        "former",
        "INSERT INTO orders_followed (client_order_id, strategy_id, is_live)"
        " SELECT client_order_id, 'alpha', true FROM signal_order_mappings"
        " ON CONFLICT (client_order_id) DO UPDATE SET is_live = true RETURNING is_live",
    )

    book = await runs.read_book(ALPHA, DAY)

    assert [order.intent.client_order_id for order in book.open_orders] == [run.ids[2]]
