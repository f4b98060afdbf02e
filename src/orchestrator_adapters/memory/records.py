"""Runs in memory as stored records."""

from collections.abc import Iterable

from orchestrator_adapters.memory.stored_run import StoredRun
from orchestrator_adapters.run_rows import summarise
from orchestrator_core.record import canonical_json, content_hash, encode_snapshot
from orchestrator_core.replay import PlanRow, RecordFilter, StoredRecord
from orchestrator_core.runs import Run


def record_of(stored: StoredRun, run: Run) -> StoredRecord | None:
    """Return the run's record as a durable store would hold it; None before there is a plan."""
    if stored.record is None:
        return None
    text = canonical_json(encode_snapshot(stored.record.snapshot))
    return StoredRecord(
        run_id=run.run_id,
        strategy_id=run.strategy_id,
        started_at=run.started_at,
        status=summarise(run).status.value,
        text=text,
        digest=content_hash(text),
        rows=tuple(PlanRow.of(order) for order in run.orders or ()),
    )


def page_of(
    runs: Iterable[StoredRun], matching: RecordFilter, *, after: StoredRecord | None, limit: int
) -> tuple[StoredRun, ...]:
    """Return the runs of a page of records, oldest first."""
    found = [
        (stored.run.started_at, stored.run.run_id, stored)
        for stored in runs
        if stored.record is not None
        and matching.strategy_id in (None, stored.run.strategy_id)
        and (matching.since is None or stored.run.started_at >= matching.since)
    ]
    found.sort(key=lambda item: item[:2])
    place = None if after is None else (after.started_at, after.run_id)
    return tuple(stored for *at, stored in found if place is None or tuple(at) > place)[:limit]
