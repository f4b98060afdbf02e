"""Reading stored records from Postgres."""

from collections.abc import Sequence
from typing import Final

from orchestrator_adapters.postgres.database import PostgresDatabase, Row, Session
from orchestrator_adapters.record_rows import PLAN_COLUMNS, RECORD_COLUMNS, records_of
from orchestrator_core.identifiers import RunId
from orchestrator_core.replay import RecordFilter, StoredRecord

_SELECT: Final = f"SELECT {RECORD_COLUMNS} FROM orchestration_runs WHERE snapshot_hash IS NOT NULL"  # noqa: S608
_ONE: Final = f"{_SELECT} AND run_id = %s"
_ROWS: Final = f"""
    SELECT {PLAN_COLUMNS} FROM signal_order_mappings
    WHERE run_id = ANY (%s) ORDER BY run_id, position, id
"""  # noqa: S608

_OF_STRATEGY: Final = " AND strategy_id = %(strategy_id)s"
_SINCE: Final = " AND started_at >= %(since)s"
# The first half is for the index: it says where the scan begins.
_AFTER: Final = (
    " AND started_at >= %(started_at)s AND (started_at, run_id) > (%(started_at)s, %(run_id)s)"
)
_CUT: Final = " ORDER BY started_at, run_id LIMIT %(limit)s"

# One statement for each filter, so that each has a plan of its own.
_PAGE: Final = {
    (of_strategy, since, after): _SELECT
    + (_OF_STRATEGY if of_strategy else "")
    + (_SINCE if since else "")
    + (_AFTER if after else "")
    + _CUT
    for of_strategy in (False, True)
    for since in (False, True)
    for after in (False, True)
}


async def get_record(database: PostgresDatabase, run_id: RunId) -> StoredRecord | None:
    """Return one run's record; None where it has none."""

    async def work(session: Session) -> StoredRecord | None:
        runs, rows = await session.fetch_each((_ONE, (run_id,)), (_ROWS, ([run_id],)))
        records = records_of(runs, rows)
        return records[0] if records else None

    return await database.run("get_record", work)


async def read_records(
    database: PostgresDatabase, matching: RecordFilter, after: StoredRecord | None, limit: int
) -> Sequence[StoredRecord]:
    """Return a page of records, oldest first."""
    statement = _PAGE[
        matching.strategy_id is not None, matching.since is not None, after is not None
    ]
    parameters = {
        "strategy_id": matching.strategy_id,
        "since": matching.since,
        "started_at": None if after is None else after.started_at,
        "run_id": None if after is None else after.run_id,
        "limit": limit,
    }

    async def work(session: Session) -> Sequence[StoredRecord]:
        runs = await session.fetch(statement, parameters)
        if not runs:
            return ()
        rows: list[Row] = await session.fetch(_ROWS, ([run["run_id"] for run in runs],))
        return records_of(runs, rows)

    return await database.run("records", work)
