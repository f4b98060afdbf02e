"""Stored records as rows: what the adapters of the run database share for replays.

Nothing is checked or made sense of here: a damaged row must reach whoever judges it.
"""

from collections.abc import Iterable
from decimal import Decimal

from orchestrator_adapters.run_rows import Row, run_id_of, time_of
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.replay import PlanRow, StoredRecord

# A run has a record from its plan's commit on; runs of the replaced service have none.
RECORD_COLUMNS = (
    "run_id, strategy_id, started_at, status, coalesce(snapshot, '') AS snapshot, snapshot_hash"
)
PLAN_COLUMNS = (
    "run_id, symbol, client_order_id, order_side, order_qty, order_type, time_in_force, leg, state,"
    " CASE WHEN state IN ('denied', 'skipped') THEN reason END AS reason, gateway_status"
)


def records_of(runs: Iterable[Row], rows: Iterable[Row]) -> tuple[StoredRecord, ...]:
    """Return the records of runs, in their order.

    Args:
        runs: Of `RECORD_COLUMNS`.
        rows: Of `PLAN_COLUMNS`, each run's in the signals' order.
    """
    plans: dict[object, list[PlanRow]] = {}
    for row in rows:
        plans.setdefault(row["run_id"], []).append(_plan_row_of(row))
    return tuple(
        StoredRecord(
            run_id=run_id_of(run["run_id"]),
            strategy_id=StrategyId(run["strategy_id"]),
            started_at=time_of(run["started_at"]),
            status=run["status"],
            text=run["snapshot"],
            digest=run["snapshot_hash"],
            rows=tuple(plans.get(run["run_id"], ())),
        )
        for run in runs
    )


def _plan_row_of(row: Row) -> PlanRow:
    return PlanRow(
        symbol=row["symbol"],
        client_order_id=row["client_order_id"],
        side=row["order_side"],
        qty=_whole(row["order_qty"]),
        order_type=row["order_type"],
        time_in_force=row["time_in_force"],
        leg=row["leg"],
        state=row["state"] or "",
        reason=row["reason"],
        gateway_status=row["gateway_status"],
    )


def _whole(value: Decimal | int | str | None) -> int | None:
    """Return whole shares; what is no whole number becomes one that no plan holds."""
    if value is None:
        return None
    number = Decimal(value)
    return int(number) if number == number.to_integral_value() else -1
