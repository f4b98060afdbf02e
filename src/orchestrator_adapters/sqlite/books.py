"""Strategies' books and controls in a SQLite file.

Each function is given a connection; those that write, one with a write transaction open.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date

from orchestrator_adapters.book_rows import (
    booked_order_of_row,
    control_event_of_row,
    day_order_of_row,
    last_accepted_of_row,
)
from orchestrator_adapters.run_rules import IN_DAY, REGISTERED_OPEN
from orchestrator_adapters.sqlite.orders import FOLLOWED_COLUMNS, in_states
from orchestrator_adapters.storable import storable_text
from orchestrator_core.books import StrategyBook
from orchestrator_core.controls import ControlEvent, ControlEventKind, StrategyControls
from orchestrator_core.identifiers import StrategyId, Symbol
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.model import Reference
from orchestrator_core.record import encode_time

SELECT_DAY = (
    f"SELECT {FOLLOWED_COLUMNS}, r.max_position_size AS cap FROM orchestration_runs r"  # noqa: S608
    " JOIN signal_order_mappings m USING (run_id)"
    f" WHERE r.strategy_id = ? AND r.as_of_date = ? AND m.state IN {in_states(IN_DAY)}"
    " ORDER BY m.client_order_id"
)
SELECT_UNSETTLED = (
    f"SELECT {FOLLOWED_COLUMNS} FROM signal_order_mappings m"  # noqa: S608
    f" WHERE m.state IN {in_states(REGISTERED_OPEN)}"
)
# Orders to be sent stand in runs that are open: few, and CROSS JOIN has SQLite begin with them.
SELECT_PLANNED = (
    f"SELECT {FOLLOWED_COLUMNS} FROM orchestration_runs r"  # noqa: S608
    " CROSS JOIN signal_order_mappings m USING (run_id)"
    f" WHERE r.status = '{RunStatus.RUNNING}' AND m.state = 'planned'"
)
SELECT_LIVE = f"SELECT {FOLLOWED_COLUMNS} FROM signal_order_mappings m WHERE m.is_live = 1"  # noqa: S608
SELECT_LAST_ACCEPTED = (
    "SELECT symbol, sizing_price, claimed_at FROM signal_order_mappings"
    " WHERE state = 'accepted' AND symbol = ? AND sizing_price IS NOT NULL"
    " AND claimed_at IS NOT NULL ORDER BY claimed_at DESC, id DESC LIMIT 1"
)
SELECT_COMPLETED = (
    "SELECT status FROM orchestration_runs WHERE strategy_id = ? AND started_at > ?"
    " AND completed_at IS NOT NULL"
    " AND coalesce(json_extract(request, '$.dry_run'), 0) = 0"
    " AND failure_kind IS NOT 'signals_refused'"
    " ORDER BY started_at DESC, id DESC LIMIT ?"
)


def move_book(connection: sqlite3.Connection, expected: int) -> bool:
    """Make the next version if the book still has the one expected; say whether it had."""
    if _version(connection) != expected:
        return False
    connection.execute(
        "INSERT INTO account_book (singleton, version) VALUES (1, 1)"
        " ON CONFLICT (singleton) DO UPDATE SET version = version + 1"
    )
    return True


def _version(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT version FROM account_book").fetchone()
    return 0 if row is None else int(row["version"])


def read_book(
    connection: sqlite3.Connection, strategy_id: StrategyId, as_of_date: date
) -> StrategyBook:
    """Return the strategy's book for one date; see `RunRepository.read_book`."""
    version = _version(connection)
    days = connection.execute(SELECT_DAY, (strategy_id, as_of_date.isoformat())).fetchall()
    booked = [
        booked_order_of_row(row)
        for statement in (SELECT_UNSETTLED, SELECT_PLANNED, SELECT_LIVE)
        for row in connection.execute(statement).fetchall()
    ]
    booked.sort(key=lambda order: order.intent.client_order_id)
    return StrategyBook(version, tuple(map(day_order_of_row, days)), tuple(booked))


def last_accepted(
    connection: sqlite3.Connection, symbols: Sequence[Symbol]
) -> Mapping[Symbol, Reference]:
    """Return the price that each symbol's latest accepted order was sized with."""
    found = {}
    for symbol in symbols:
        row = connection.execute(SELECT_LAST_ACCEPTED, (symbol,)).fetchone()
        if row is not None:
            found[symbol] = last_accepted_of_row(row)
    return found


def read_controls(
    connection: sqlite3.Connection, strategy_id: StrategyId, count_failures: int
) -> StrategyControls:
    """Return how the strategy's controls stand; see `RunRepository.read_controls`."""
    switches = (ControlEventKind.REDUCE_ONLY_ON, ControlEventKind.REDUCE_ONLY_OFF)
    switched = _latest(connection, strategy_id, switches)
    failed = 0
    if count_failures:
        rearmed = _latest(connection, strategy_id, (ControlEventKind.REARMED,))
        since = "" if rearmed is None else rearmed["occurred_at"]
        for row in connection.execute(SELECT_COMPLETED, (strategy_id, since, count_failures)):
            if row["status"] != RunStatus.FAILED:
                break
            failed += 1
    is_on = switched is not None and switched["event"] == ControlEventKind.REDUCE_ONLY_ON
    return StrategyControls(is_on, failed)


def _latest(
    connection: sqlite3.Connection, strategy_id: StrategyId, kinds: Sequence[ControlEventKind]
) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT event, occurred_at FROM strategy_control_events"
        " WHERE strategy_id = ? AND event IN (SELECT value FROM json_each(?))"
        " ORDER BY id DESC LIMIT 1",
        (strategy_id, json.dumps([str(kind) for kind in kinds])),
    ).fetchone()
    return row


def add_control_event(connection: sqlite3.Connection, event: ControlEvent) -> None:
    """Record what an operator did, once."""
    connection.execute(
        "INSERT OR IGNORE INTO strategy_control_events"
        " (strategy_id, event, occurred_at, operator, notes) VALUES (?, ?, ?, ?, ?)",
        (
            event.strategy_id,
            str(event.kind),
            encode_time(event.at),
            storable_text(event.operator),
            storable_text(event.notes),
        ),
    )


def control_events(
    connection: sqlite3.Connection, strategy_id: StrategyId, limit: int
) -> tuple[ControlEvent, ...]:
    """Return what operators did for the strategy, what was recorded last first."""
    rows = connection.execute(
        "SELECT event, occurred_at, operator, notes FROM strategy_control_events"
        " WHERE strategy_id = ? ORDER BY id DESC LIMIT ?",
        (strategy_id, max(limit, 0)),
    )
    return tuple(control_event_of_row(row, strategy_id) for row in rows)
