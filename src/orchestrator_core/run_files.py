"""Stored records as lines of a file: read again on any machine, by `replay`.

A line is one JSON object: the record's text with its digest, the plan's rows, and how it went.
Nothing in it names a host, an address or a secret: causes of failures stay where they are. The last
line seals those before it, by their count and their digest: a file that was cut has none.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from attrs import define, field

from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.record import canonical_json, decode_time, encode_time
from orchestrator_core.replay import PlanRow, StoredRecord

FORMAT = "run/1"
SEAL_FORMAT = "runs-end/1"

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


class BrokenSeal(ValueError):
    """A line seals others than those before it."""


class NotSealed(ValueError):
    """An export was cut, or is none: its last line does not seal those before it.

    Attributes:
        runs: Lines after the last seal.
    """

    def __init__(self, runs: int) -> None:
        super().__init__("was cut, or is no export: its last line does not seal it")
        self.runs = runs


def read_export(lines: Iterable[str]) -> Iterator[tuple[int, StoredRecord | ValueError]]:
    """Yield the records of an export, or of several, one after the other, with their lines.

    Args:
        lines: With their ends or without; blank ones mean nothing.

    Yields:
        The line, counting from 1, and its record, or why it has none or seals what is not there.

    Raises:
        NotSealed: After the last line.
    """
    seal, is_sealed = Seal(), False
    for number, each in enumerate(lines, start=1):
        line = each.strip()
        if not line:
            continue
        is_sealed = is_seal(line)
        if is_sealed:
            problem = seal.contradiction(line)
            if problem is not None:
                yield number, BrokenSeal(problem)
            seal = Seal()
            continue
        seal.add(line)
        try:
            yield number, decode_line(line)
        except ValueError as error:
            yield number, error
    if not is_sealed:
        raise NotSealed(seal.runs)


def decode_lines(lines: Iterable[str]) -> list[StoredRecord]:
    """Return the records of an export, or of several, one after the other.

    Args:
        lines: With their ends or without; blank ones mean nothing.

    Raises:
        ValueError: A line is damaged, which it names, or the last one does not seal the others.
    """
    records = []
    for number, found in read_export(lines):
        if isinstance(found, BrokenSeal):
            raise ValueError(f"line {number}: {found}")
        if isinstance(found, ValueError):
            raise ValueError(f"line {number} is no exported run: {found}")
        records.append(found)
    return records


@define(eq=False)
class Seal:
    """The last line of an export, while the lines before it are written, or read.

    Attributes:
        runs: Lines so far.
    """

    runs: int = field(default=0, init=False)
    _hash: "hashlib._Hash" = field(factory=hashlib.sha256, init=False)

    def add(self, line: str) -> None:
        """Take in the next line, without its end."""
        self.runs += 1
        self._hash.update(f"{line}\n".encode())

    def encode(self) -> str:
        """Return the line that seals those taken in, without its end."""
        return canonical_json(
            {"format": SEAL_FORMAT, "runs": self.runs, "sha256": self._hash.hexdigest()}
        )

    def contradiction(self, line: str) -> str | None:
        """Say in what a sealing line differs from the lines taken in; None where it agrees."""
        sealed = json.loads(line)
        if sealed.get("runs") != self.runs:
            return f"it seals {sealed.get('runs')!r:.20} runs, and {self.runs} stand before it"
        if sealed.get("sha256") != self._hash.hexdigest():
            return "the lines before it are not those that it seals"
        return None


def is_seal(line: str) -> bool:
    """Whether a line seals those before it."""
    try:
        encoded = json.loads(line) if SEAL_FORMAT in line else None
    except (ValueError, RecursionError):
        return False
    return isinstance(encoded, dict) and encoded.get("format") == SEAL_FORMAT


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
