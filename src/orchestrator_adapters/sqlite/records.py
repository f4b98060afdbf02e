"""Reading stored records from a SQLite file."""

import json
import sqlite3

from orchestrator_adapters.record_rows import PLAN_COLUMNS, RECORD_COLUMNS, records_of
from orchestrator_adapters.sqlite.orders import sqlite_value
from orchestrator_core.identifiers import RunId
from orchestrator_core.replay import RecordFilter, StoredRecord

_SELECT = f"SELECT {RECORD_COLUMNS} FROM orchestration_runs WHERE snapshot_hash IS NOT NULL"  # noqa: S608
_SELECT_ROWS = (
    f"SELECT {PLAN_COLUMNS} FROM signal_order_mappings"  # noqa: S608
    " WHERE run_id IN (SELECT value FROM json_each(?)) ORDER BY run_id, position"
)


def read_record(connection: sqlite3.Connection, run_id: RunId) -> StoredRecord | None:
    """Return one run's record; see `RunRepository.get_record`."""
    runs = connection.execute(f"{_SELECT} AND run_id = ?", (str(run_id),)).fetchall()
    records = _with_rows(connection, runs)
    return records[0] if records else None


def read_records(
    connection: sqlite3.Connection, matching: RecordFilter, after: StoredRecord | None, limit: int
) -> tuple[StoredRecord, ...]:
    """Return a page of records; see `RunRepository.records`."""
    conditions: list[tuple[str, tuple[object, ...]]] = []
    if matching.strategy_id is not None:
        conditions.append(("strategy_id = ?", (matching.strategy_id,)))
    if matching.since is not None:
        conditions.append(("started_at >= ?", (matching.since,)))
    if after is not None:
        conditions.append(("(started_at, run_id) > (?, ?)", (after.started_at, after.run_id)))
    where = "".join(f" AND {condition}" for condition, _ in conditions)
    values = [sqlite_value(value) for _, given in conditions for value in given]
    runs = connection.execute(
        f"{_SELECT}{where} ORDER BY started_at, run_id LIMIT ?", (*values, limit)
    ).fetchall()
    return _with_rows(connection, runs)


def _with_rows(connection: sqlite3.Connection, runs: list[sqlite3.Row]) -> tuple[StoredRecord, ...]:
    ids = json.dumps([run["run_id"] for run in runs])
    return records_of(runs, connection.execute(_SELECT_ROWS, (ids,)).fetchall())
