"""The latch and the kill switch's durable history in Postgres."""

from datetime import datetime
from typing import Final

from orchestrator_adapters.postgres.database import PostgresDatabase, Session, Statement
from orchestrator_adapters.run_rows import time_of
from orchestrator_adapters.storable import storable_text
from orchestrator_adapters.switch_rows import entry_of_row, history_values
from orchestrator_core.history import moment_of
from orchestrator_core.kill_switch import HistoryEntry, Latch

_READ: Final = """
    SELECT engaged, epoch, changed_by, reason, changed_at, breaker_seen FROM kill_switch_latch
"""

_CREATE: Final = """
    INSERT INTO kill_switch_latch (engaged, epoch, changed_by, reason, changed_at, breaker_seen)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
    RETURNING true AS swapped
"""

# A claim's FOR SHARE on the row joins others' that stand already: claims in close succession would
# keep the row locked for ever. Locks on the table are given in turn: later claims wait behind this.
_LOCK: Final = "LOCK TABLE kill_switch_latch IN EXCLUSIVE MODE"

_SWAP: Final = """
    UPDATE kill_switch_latch
    SET (engaged, epoch, changed_by, reason, changed_at, breaker_seen) = (%s, %s, %s, %s, %s, %s)
    WHERE (engaged, epoch, changed_by, reason, changed_at, breaker_seen) = (%s, %s, %s, %s, %s, %s)
    RETURNING true AS swapped
"""

# Goes where the swap goes: a swap that finds another latch writes none.
_NOTED: Final = """), noted AS (
        INSERT INTO kill_switch_history (
            event, "timestamp", operator, reason, notes, details, occurred_at)
        SELECT %s, %s, %s, %s, %s, %s::json, coalesce(%s::timestamptz, 'infinity') FROM swapped
        ON CONFLICT DO NOTHING
    )
    SELECT swapped FROM swapped
"""
_CREATE_NOTED: Final = "WITH swapped AS (" + _CREATE + _NOTED
_SWAP_NOTED: Final = "WITH swapped AS (" + _SWAP + _NOTED

_HISTORY: Final = """
    SELECT event, "timestamp", operator, reason, notes, details
    FROM kill_switch_history
    ORDER BY occurred_at DESC, id DESC
    LIMIT %s
"""


async def read_latch(database: PostgresDatabase) -> Latch | None:
    """Return the latch, or None where there never was one."""
    rows = await database.fetch("read_latch", _READ)
    if not rows:
        return None
    return Latch(**{**rows[0], "changed_at": time_of(rows[0]["changed_at"])})


async def swap_latch(
    database: PostgresDatabase, expected: Latch | None, new: Latch, entry: HistoryEntry | None
) -> bool:
    """Replace the latch if it still equals `expected`, and note it; say whether it did."""
    values: tuple[object, ...] = _latch_values(new)
    if expected is not None:
        values = (*values, *_latch_values(expected))
    if entry is None:
        swap: Statement = (_CREATE if expected is None else _SWAP, values)
    else:
        values = (*values, *history_values(entry), moment_of(entry))
        swap = (_CREATE_NOTED if expected is None else _SWAP_NOTED, values)

    async def work(session: Session) -> bool:
        session.may_be_committed = True
        _, _, swapped, _ = await session.fetch_each(
            ("BEGIN", ()), (_LOCK, ()), swap, ("COMMIT", ())
        )
        return bool(swapped)

    return await database.run("swap_latch", work)


async def switch_history(database: PostgresDatabase, limit: int) -> tuple[HistoryEntry, ...]:
    """Return the durable history, newest first."""
    rows = await database.fetch("switch_history", _HISTORY, (max(limit, 0),))
    return tuple(entry_of_row(row) for row in rows)


def _latch_values(latch: Latch) -> tuple[bool, int, str, str, datetime, bool]:
    return (
        latch.engaged,
        latch.epoch,
        storable_text(latch.changed_by),
        storable_text(latch.reason),
        latch.changed_at,
        latch.breaker_seen,
    )
