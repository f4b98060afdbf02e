"""The kill switch's latch, and its history, in a SQLite file.

A file has one writer at a time, so what a claim has read of the latch stays true until its commit.
"""

import sqlite3
from datetime import datetime

from attrs import evolve

from orchestrator_adapters.run_rows import time_of
from orchestrator_adapters.sqlite.orders import sqlite_value
from orchestrator_adapters.storable import storable_text
from orchestrator_adapters.switch_rows import (
    HISTORY_COLUMNS,
    entry_of_row,
    history_values,
)
from orchestrator_core.history import moment_of
from orchestrator_core.kill_switch import HistoryEntry, Latch


def read_latch(connection: sqlite3.Connection) -> Latch | None:
    """Return the latch; None where there never was one."""
    row = connection.execute("SELECT * FROM kill_switch_latch").fetchone()
    if row is None:
        return None
    return Latch(
        engaged=bool(row["engaged"]),
        epoch=row["epoch"],
        changed_by=row["changed_by"],
        reason=row["reason"],
        changed_at=time_of(row["changed_at"]),
        breaker_seen=bool(row["breaker_seen"]),
    )


def swap_latch(
    connection: sqlite3.Connection,
    expected: Latch | None,
    new: Latch,
    entry: HistoryEntry | None,
    now: datetime,
) -> bool:
    """Replace the latch if it equals `expected`; see `RunRepository.swap_latch`."""
    if read_latch(connection) != (None if expected is None else _storable_latch(expected)):
        return False
    latch = _storable_latch(new)
    connection.execute(
        "INSERT OR REPLACE INTO kill_switch_latch"
        " (singleton, engaged, epoch, changed_by, reason, changed_at, breaker_seen)"
        " VALUES (1, ?, ?, ?, ?, ?, ?)",
        (
            latch.engaged,
            latch.epoch,
            latch.changed_by,
            latch.reason,
            sqlite_value(latch.changed_at),
            latch.breaker_seen,
        ),
    )
    if entry is not None:
        _append(connection, entry, now)
    return True


def _storable_latch(latch: Latch) -> Latch:
    return evolve(
        latch, changed_by=storable_text(latch.changed_by), reason=storable_text(latch.reason)
    )


_INSERT_ENTRY = (
    f"INSERT INTO latch_history ({', '.join(HISTORY_COLUMNS)}, occurred_at)"  # noqa: S608
    f" VALUES ({', '.join('?' * len(HISTORY_COLUMNS))}, ?)"
    " ON CONFLICT (event, timestamp, operator) DO NOTHING"
)
_SELECT_NEWEST = (
    f"SELECT {', '.join(HISTORY_COLUMNS)} FROM latch_history"  # noqa: S608 - names of ours
    " ORDER BY occurred_at DESC, id DESC LIMIT ?"
)


def _append(connection: sqlite3.Connection, entry: HistoryEntry, now: datetime) -> None:
    occurred_at = moment_of(entry) or now
    connection.execute(_INSERT_ENTRY, (*history_values(entry), sqlite_value(occurred_at)))


def switch_history(connection: sqlite3.Connection, limit: int) -> tuple[HistoryEntry, ...]:
    """Return the last entries, newest first."""
    rows = connection.execute(_SELECT_NEWEST, (max(limit, 0),))
    return tuple(entry_of_row(row) for row in rows)
