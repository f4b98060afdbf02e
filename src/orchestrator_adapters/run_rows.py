"""Runs as column values, and back: what the adapters of the run database share.

Values are native (`UUID`, `date`, `datetime`, `Decimal`); an adapter turns them into what its
driver takes. Readers take either the native value or its text, JSON as text or decoded.

The snapshot is stored as its canonical text: a binary JSON type rewrites numbers, and the hash
would no longer match.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from attrs import frozen

from orchestrator_adapters.run_rules import FIRST_LEASE_EPOCH
from orchestrator_adapters.storable import storable_text
from orchestrator_core.commits import PlanRecord, RunOpening
from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.orders import Order
from orchestrator_core.plans import Snapshot
from orchestrator_core.record import (
    canonical_json,
    content_hash,
    decode_request,
    decode_snapshot,
    decode_time,
    encode_batch,
    encode_request,
    encode_snapshot,
)
from orchestrator_core.runs import FailureKind, Run, RunFailure, RunSummary, duration_between


class Row(Protocol):
    """One row, by column name: `sqlite3.Row`, a dict, and the like."""

    def __getitem__(self, name: str, /) -> Any: ...


def opening_values(opening: RunOpening) -> dict[str, Any]:
    """Return the columns of a run as it is first committed; JSON as canonical text."""
    key = opening.idempotency
    return {
        "run_id": opening.run_id,
        "strategy_id": opening.strategy_id,
        "as_of_date": opening.as_of_date,
        "status": RunStatus.RUNNING.value,
        "capital": opening.request.capital,
        "max_position_size": opening.request.max_position_size,
        "started_at": opening.started_at,
        "request": canonical_json(encode_request(opening.request)),
        "idempotency_key": None if key is None else key.key,
        "idempotency_fingerprint": None if key is None else key.fingerprint,
        "lease_epoch": FIRST_LEASE_EPOCH,
    }


@frozen
class EncodedPlan:
    """A plan's record as it is stored.

    Attributes:
        snapshot: Canonical JSON.
        digest: Content hash of the snapshot.
        response: The strategy's answer, canonical JSON.
    """

    snapshot: str
    digest: str
    response: str


def encode_plan(record: PlanRecord) -> EncodedPlan:
    """Return the plan's record as it is stored; milliseconds of work for a thousand orders."""
    snapshot = canonical_json(encode_snapshot(record.snapshot))
    return EncodedPlan(
        snapshot=snapshot,
        digest=content_hash(snapshot),
        response=canonical_json(encode_batch(record.snapshot.batch)),
    )


def plan_values(record: PlanRecord, encoded: EncodedPlan) -> dict[str, Any]:
    """Return the run's columns that its plan fills; JSON as canonical text."""
    batch = record.snapshot.batch
    model_version = batch.metadata.get("model_version")
    return {
        "as_of_date": batch.as_of_date,
        "num_signals": len(batch.signals),
        "model_version": storable_text(model_version) if isinstance(model_version, str) else None,
        "signal_service_response": encoded.response,
        "snapshot": encoded.snapshot,
        "snapshot_hash": encoded.digest,
    }


def snapshot_of(text: str | None) -> Snapshot | None:
    """Return the snapshot of its stored text; None where there is no plan.

    Raises:
        ValueError: The record is of another form, or damaged.
    """
    return None if text is None else decode_snapshot(json.loads(text))


CLOSING_COLUMNS = (
    "status",
    "num_orders_submitted",
    "num_orders_accepted",
    "num_orders_rejected",
    "num_orders_filled",
    "completed_at",
    "duration_seconds",
    "error_message",
    "failure_kind",
    "retry_after",
)


def closing_values(run: Run) -> dict[str, Any]:
    """Return `CLOSING_COLUMNS`, which follow from the orders, the failure and the completion."""
    tally, failure = run.tally, run.failure
    return {
        "status": run.status.value,
        "num_orders_submitted": tally.submitted,
        "num_orders_accepted": tally.accepted,
        "num_orders_rejected": tally.rejected,
        "num_orders_filled": tally.filled,
        "completed_at": run.completed_at,
        "duration_seconds": run.duration_seconds,
        "error_message": None if failure is None else storable_text(failure.message),
        "failure_kind": None if failure is None else failure.kind.value,
        "retry_after": None if failure is None else failure.retry_after,
    }


def run_of_row(row: Row, orders: Iterable[Order]) -> Run:
    """Return the run of a row and its orders, in the signals' order."""
    has_plan = row["snapshot_hash"] is not None
    kind = row["failure_kind"]
    return Run(
        run_id=run_id_of(row["run_id"]),
        strategy_id=StrategyId(row["strategy_id"]),
        as_of_date=_date_of(row["as_of_date"]),
        request=decode_request(json_of(row["request"])),
        started_at=time_of(row["started_at"]),
        completed_at=_optional_time(row["completed_at"]),
        orders=tuple(orders) if has_plan else None,
        num_signals=row["num_signals"],
        signal_metadata=json_of(row["signal_service_response"])["metadata"] if has_plan else None,
        failure=(
            None
            if kind is None
            else RunFailure(FailureKind(kind), row["error_message"], row["retry_after"])
        ),
    )


SUMMARY_COLUMNS = (
    "run_id",
    "status",
    "strategy_id",
    "as_of_date",
    "num_signals",
    "num_orders_submitted",
    "num_orders_accepted",
    "num_orders_rejected",
    "started_at",
    "completed_at",
    "duration_seconds",
)


def summary_of_row(row: Row) -> RunSummary:
    """Return one row of the list of runs."""
    return RunSummary(
        run_id=run_id_of(row["run_id"]),
        status=RunStatus(row["status"]),
        strategy_id=StrategyId(row["strategy_id"]),
        as_of_date=_date_of(row["as_of_date"]),
        num_signals=row["num_signals"],
        num_orders_submitted=row["num_orders_submitted"],
        num_orders_accepted=row["num_orders_accepted"],
        num_orders_rejected=row["num_orders_rejected"],
        started_at=time_of(row["started_at"]),
        completed_at=_optional_time(row["completed_at"]),
        duration_seconds=decimal_or_none(row["duration_seconds"]),
    )


def summarise(run: Run) -> RunSummary:
    """Return the run's row in the list of runs."""
    tally = run.tally
    return RunSummary(
        run_id=run.run_id,
        status=RunStatus.RUNNING if run.completed_at is None else run.status,
        strategy_id=run.strategy_id,
        as_of_date=run.as_of_date,
        num_signals=run.num_signals,
        num_orders_submitted=tally.submitted,
        num_orders_accepted=tally.accepted,
        num_orders_rejected=tally.rejected,
        started_at=run.started_at,
        completed_at=run.completed_at,
        duration_seconds=duration_between(run.started_at, run.completed_at),
    )


# Values, native or as text


def run_id_of(value: UUID | str) -> RunId:
    """Return a run's id."""
    return RunId(value if isinstance(value, UUID) else UUID(value))


def time_of(value: datetime | str) -> datetime:
    """Return a UTC time; a native one may come in another zone."""
    return decode_time(value) if isinstance(value, str) else value.astimezone(UTC)


def _optional_time(value: datetime | str | None) -> datetime | None:
    return None if value is None else time_of(value)


def _date_of(value: date | str) -> date:
    return date.fromisoformat(value) if isinstance(value, str) else value


def decimal_or_none(value: Decimal | str | None) -> Decimal | None:
    """Return an amount."""
    return None if value is None else Decimal(value)


def json_of(value: Mapping[str, Any] | str) -> Mapping[str, Any]:
    """Return a JSON object, decoded."""
    if isinstance(value, str):
        decoded: Mapping[str, Any] = json.loads(value)
        return decoded
    return value
