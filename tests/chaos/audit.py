"""What the database saw: every change of an order's state and of a run's status, by triggers.

A change is written in its own transaction, so what was never committed is not there. Its time is
the server's wall clock when the row changed: never later than the commit.
"""

from collections.abc import Sequence
from typing import LiteralString, TypeVar

import psycopg
from attrs import frozen
from psycopg.rows import class_row

Row = TypeVar("Row")

INSTALL: tuple[LiteralString, ...] = (
    """
    CREATE TABLE chaos_orders (
        id BIGSERIAL, at DOUBLE PRECISION NOT NULL, run_id UUID NOT NULL, client_order_id TEXT,
        symbol TEXT NOT NULL, before TEXT, after TEXT NOT NULL, claim_epoch BIGINT)
    """,
    """
    CREATE TABLE chaos_runs (
        id BIGSERIAL, at DOUBLE PRECISION NOT NULL, run_id UUID NOT NULL, before TEXT, after TEXT)
    """,
    """
    CREATE FUNCTION chaos_note_order() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO chaos_orders (at, run_id, client_order_id, symbol, before, after, claim_epoch)
        VALUES (extract(epoch FROM clock_timestamp()), NEW.run_id, NEW.client_order_id, NEW.symbol,
                CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END, NEW.state, NEW.claim_epoch);
        RETURN NULL;
    END $$
    """,
    """
    CREATE FUNCTION chaos_note_run() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO chaos_runs (at, run_id, before, after)
        VALUES (extract(epoch FROM clock_timestamp()), NEW.run_id,
                CASE WHEN TG_OP = 'UPDATE' THEN OLD.status END, NEW.status);
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER chaos_order_put AFTER INSERT ON signal_order_mappings
        FOR EACH ROW EXECUTE FUNCTION chaos_note_order()
    """,
    """
    CREATE TRIGGER chaos_order_changed AFTER UPDATE ON signal_order_mappings
        FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state
                           OR OLD.claim_epoch IS DISTINCT FROM NEW.claim_epoch)
        EXECUTE FUNCTION chaos_note_order()
    """,
    """
    CREATE TRIGGER chaos_run_put AFTER INSERT ON orchestration_runs
        FOR EACH ROW EXECUTE FUNCTION chaos_note_run()
    """,
    """
    CREATE TRIGGER chaos_run_changed AFTER UPDATE ON orchestration_runs
        FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status)
        EXECUTE FUNCTION chaos_note_run()
    """,
)

# A disk that is slow now and then: some claims stand between their look at the latch and their
# commit for longer than an engagement takes.
SLOW_CLAIMS: tuple[LiteralString, ...] = (
    """
    CREATE FUNCTION chaos_wait() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF random() < 0.2 THEN
            PERFORM pg_sleep(0.03 * random());
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER chaos_put_slowly AFTER INSERT ON signal_order_mappings
        FOR EACH ROW WHEN (NEW.state = 'sending') EXECUTE FUNCTION chaos_wait()
    """,
    """
    CREATE TRIGGER chaos_changed_slowly AFTER UPDATE ON signal_order_mappings
        FOR EACH ROW WHEN (NEW.state = 'sending') EXECUTE FUNCTION chaos_wait()
    """,
)


@frozen
class OrderChange:
    """One change of an order's state.

    Attributes:
        at: Seconds of the wall clock.
        before: None for a new row.
    """

    at: float
    run_id: str
    client_order_id: str | None
    symbol: str
    before: str | None
    after: str
    claim_epoch: int | None


@frozen
class RunChange:
    """One change of a run's status."""

    at: float
    run_id: str
    before: str | None
    after: str


@frozen
class OrderRow:
    """An order as it stands in the end; `owner_*` are those of the order that it adopted."""

    run_id: str
    as_of_date: str
    rebalance_key: str
    symbol: str
    client_order_id: str | None
    state: str
    reason: str | None
    gateway_status: str | None
    holds_id: bool
    owner_run_id: str | None
    owner_state: str | None
    owner_gateway_status: str | None


@frozen
class RunRow:
    """A run as it stands in the end."""

    run_id: str
    as_of_date: str
    status: str
    failure_kind: str | None
    idempotency_key: str | None
    has_plan: bool
    lease_epoch: int | None


ORDER_ROWS: LiteralString = """
    SELECT o.run_id::text, r.as_of_date::text, (r.request::jsonb ->> 'rebalance_key') AS
           rebalance_key, o.symbol, o.client_order_id, o.state, o.reason, o.gateway_status,
           o.holds_id, o.owner_run_id::text, w.state AS owner_state,
           w.gateway_status AS owner_gateway_status
    FROM signal_order_mappings o
    JOIN orchestration_runs r ON r.run_id = o.run_id
    LEFT JOIN signal_order_mappings w ON w.id = o.owner_id
    ORDER BY o.id
"""
RUN_ROWS: LiteralString = """
    SELECT run_id::text, as_of_date::text, status, failure_kind, idempotency_key,
           snapshot_hash IS NOT NULL AS has_plan, lease_epoch
    FROM orchestration_runs ORDER BY id
"""
ORDER_CHANGES: LiteralString = """
    SELECT at, run_id::text, client_order_id, symbol, before, after, claim_epoch
    FROM chaos_orders ORDER BY id
"""
RUN_CHANGES: LiteralString = "SELECT at, run_id::text, before, after FROM chaos_runs ORDER BY id"


@frozen
class Books:
    """All that the database says in the end."""

    orders: Sequence[OrderRow]
    runs: Sequence[RunRow]
    order_changes: Sequence[OrderChange]
    run_changes: Sequence[RunChange]


async def install_audit(dsn: str) -> None:
    """Install the triggers on a database that has its tables."""
    await _execute(dsn, INSTALL)


async def slow_claims_down(dsn: str) -> None:
    """Let some claims take longer before they are committed."""
    await _execute(dsn, SLOW_CLAIMS)


async def _execute(dsn: str, statements: Sequence[LiteralString]) -> None:
    async with await _connect(dsn) as connection:
        for statement in statements:
            await connection.execute(statement)


async def read_books(dsn: str) -> Books:
    """Return all that the database says, in one snapshot."""
    async with await _connect(dsn) as connection:
        await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return Books(
            orders=await _rows(connection, OrderRow, ORDER_ROWS),
            runs=await _rows(connection, RunRow, RUN_ROWS),
            order_changes=await _rows(connection, OrderChange, ORDER_CHANGES),
            run_changes=await _rows(connection, RunChange, RUN_CHANGES),
        )


async def read_one(dsn: str, statement: LiteralString, *values: object) -> tuple[object, ...]:
    """Return the one row of a statement."""
    async with await _connect(dsn) as connection:
        row = await (await connection.execute(statement, values)).fetchone()
    assert row is not None
    return row


async def read_all(dsn: str, statement: LiteralString, *values: object) -> list[tuple[object, ...]]:
    """Return the rows of a statement."""
    async with await _connect(dsn) as connection:
        return await (await connection.execute(statement, values)).fetchall()


async def _connect(dsn: str) -> "psycopg.AsyncConnection[tuple[object, ...]]":
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True, connect_timeout=3)


async def _rows(
    connection: "psycopg.AsyncConnection[tuple[object, ...]]",
    kind: type[Row],
    statement: LiteralString,
) -> list[Row]:
    async with connection.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(statement)
        return await cursor.fetchall()
