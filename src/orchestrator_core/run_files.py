"""Stored records as lines of a file: read again on any machine, by `replay`.

A line is one JSON object: the record's text with its digest, the plan's rows, and how it went.
Nothing in it names a host, an address or a secret: causes of failures stay where they are.
"""

import json
from typing import Any
from uuid import UUID

from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.record import canonical_json, decode_time, encode_time
from orchestrator_core.replay import PlanRow, StoredRecord

FORMAT = "run/1"

_WHOLE = frozenset({"qty", "leg"})


def encode_line(record: StoredRecord) -> str:
    """Return the record as one line, without its end."""
    return canonical_json(
        {
            "format": FORMAT,
            "run_id": str(record.run_id),
            "strategy_id": record.strategy_id,
            "started_at": encode_time(record.started_at),
            "status": record.status,
            "record": record.text,
            "record_hash": record.digest,
            "plan": [_encode_row(row) for row in record.rows],
        }
    )


def decode_line(line: str) -> StoredRecord:
    """Return the record of a line. What the record itself says is not checked.

    Raises:
        ValueError: It is no line that `encode_line` wrote.
    """
    try:
        encoded = json.loads(line)
        if encoded["format"] != FORMAT:
            raise ValueError(f"expected a line of form {FORMAT}, got {encoded['format']!r}")
        return StoredRecord(
            run_id=RunId(UUID(encoded["run_id"])),
            strategy_id=StrategyId(encoded["strategy_id"]),
            started_at=decode_time(encoded["started_at"]),
            status=_text(encoded["status"]),
            text=_text(encoded["record"]),
            digest=_text(encoded["record_hash"]),
            rows=tuple(_decode_row(row) for row in encoded["plan"]),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no exported run: {error!r}") from None


def _encode_row(row: PlanRow) -> dict[str, Any]:
    return {
        "symbol": row.symbol,
        "client_order_id": row.client_order_id,
        "side": row.side,
        "qty": row.qty,
        "order_type": row.order_type,
        "time_in_force": row.time_in_force,
        "leg": row.leg,
        "state": row.state,
        "reason": row.reason,
        "gateway_status": row.gateway_status,
    }


def _decode_row(encoded: dict[str, Any]) -> PlanRow:
    for name, value in encoded.items():
        expected = int if name in _WHOLE else str
        if value is not None and type(value) is not expected:
            raise ValueError(f"{name}: expected {expected.__name__}, got {value!r:.60}")
    return PlanRow(
        **{**encoded, "symbol": _text(encoded["symbol"]), "state": _text(encoded["state"])}
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r:.60}")
    return value
