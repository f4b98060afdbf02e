"""Deriving a stored run's plan again, and comparing.

A stored record holds everything that its plan was derived from, and a digest that says whether it
was touched. `replay` trusts nothing else: it checks the digest, decodes the snapshot, plans again
with the code installed now, and compares what was decided, byte for byte and a symbol at a time.
What became of an order later is not compared: no outcome changes what was decided.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from attrs import frozen

from orchestrator_core.errors import OrchestratorError
from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.orders import Order, order_of
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import OrderPlan, Snapshot
from orchestrator_core.record import FORMATS, canonical_json, content_hash, decode_snapshot

_STOPPED = frozenset({OrderState.SKIPPED, OrderState.DENIED})


@frozen
class PlanRow:
    """One row of a stored plan, as it stands in the store: plain values, nothing checked.

    Attributes:
        state: Where the order stands, in our words.
        reason: Why nothing was to be sent, of a skipped or denied row; None of any other.
        gateway_status: The gateway's word on this row's own order.
    """

    symbol: str
    client_order_id: str | None
    side: str | None
    qty: int | None
    order_type: str | None
    time_in_force: str | None
    leg: int | None
    state: str
    reason: str | None = None
    gateway_status: str | None = None

    @classmethod
    def of(cls, order: Order) -> "PlanRow":
        """Return the row of an order, with its words as every store keeps them."""
        intent, report = order.intent, order.report
        words = order.reason if order.state in _STOPPED else None
        return cls(
            symbol=order.signal.symbol,
            client_order_id=None if intent is None else intent.client_order_id,
            side=None if intent is None else intent.side.value,
            qty=None if intent is None else intent.qty,
            order_type=None if intent is None else intent.order_type.value,
            time_in_force=None if intent is None else intent.time_in_force.value,
            leg=None if intent is None else intent.leg,
            state=order.state.value,
            reason=None if words is None else _storable(words),
            gateway_status=None if report is None else report.status,
        )

    @property
    def decided(self) -> str:
        """What was decided, as canonical JSON: the order, and why it was not to be sent."""
        return canonical_json(
            {
                "symbol": self.symbol,
                "client_order_id": self.client_order_id,
                "side": self.side,
                "qty": self.qty,
                "order_type": self.order_type,
                "time_in_force": self.time_in_force,
                "leg": self.leg,
                "stopped": self.stopped,
            }
        )

    @property
    def stopped(self) -> str | None:
        """Why no order was to be sent, in words; None where one was."""
        return f"{self.state}: {self.reason}" if self.state in _STOPPED else None

    def __str__(self) -> str:
        order = "no order"
        if self.client_order_id is not None:
            order = f"{self.side} {self.qty} {self.order_type} {self.time_in_force}"
            order += f" leg {self.leg}" if self.leg else ""
            order += f" as {self.client_order_id}"
        return order if self.stopped is None else f"{order}, {self.stopped}"


def _storable(words: str) -> str:
    """Return the words with what no store keeps replaced, as the stores themselves do."""
    return words.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


@frozen
class StoredRecord:
    """A run's record and its plan's rows, as they stand in the store: nothing is checked yet.

    Attributes:
        status: The run's, in its public words.
        text: The snapshot, the exact text.
        digest: SHA-256 of the text, in hex, as it was stored with it.
        rows: In the signals' order.
    """

    run_id: RunId
    strategy_id: StrategyId
    started_at: datetime
    status: str
    text: str
    digest: str
    rows: tuple[PlanRow, ...]


@frozen
class RecordFilter:
    """Which records are read; None matches all.

    Attributes:
        since: Of runs that started at this time or later.
    """

    strategy_id: StrategyId | None = None
    since: datetime | None = None


class Verdict(StrEnum):
    """What a replay found."""

    EQUAL = "equal"
    CHANGED = "changed"
    DAMAGED = "damaged"
    UNKNOWN_FORM = "unknown_form"


class UnreadableRecord(OrchestratorError):
    """A record that nothing can be derived from.

    Attributes:
        verdict: DAMAGED, or UNKNOWN_FORM.
    """

    def __init__(self, verdict: Verdict, cause: str) -> None:
        super().__init__(cause)
        self.verdict = verdict


@frozen
class Derivation:
    """What a record says that the code installed now makes of it."""

    snapshot: Snapshot
    plan: OrderPlan

    @property
    def rows(self) -> tuple[PlanRow, ...]:
        """The plan's rows as they would be stored first."""
        return tuple(PlanRow.of(order_of(decision)) for decision in self.plan.decisions)


def derive(record: StoredRecord) -> Derivation:
    """Check a record, and derive its plan again.

    Raises:
        UnreadableRecord: It is damaged, or of a form that this version does not know.
    """
    try:
        if content_hash(record.text) != record.digest:
            raise UnreadableRecord(Verdict.DAMAGED, "its text does not have the digest stored")
        encoded = json.loads(record.text)
    except (ValueError, RecursionError) as error:
        raise UnreadableRecord(Verdict.DAMAGED, f"it is no JSON text: {error}") from None
    if not isinstance(encoded, dict):
        raise UnreadableRecord(Verdict.DAMAGED, "it is no JSON object")
    form = encoded.get("format")
    if not isinstance(form, str) or form not in FORMATS:
        known = ", ".join(sorted(FORMATS))
        said = f"it has the form {form!r}; this version knows {known}"
        raise UnreadableRecord(Verdict.UNKNOWN_FORM, said)
    try:
        snapshot = decode_snapshot(encoded)
        plan = plan_orders(snapshot, snapshot.policy)
    except (ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise UnreadableRecord(Verdict.DAMAGED, str(error)) from None
    return Derivation(snapshot, plan)


@frozen
class Divergence:
    """What was decided on a symbol, and what would be now; None where there is no such row."""

    symbol: str
    stored: str | None
    derived: str | None

    def __str__(self) -> str:
        nothing = "not in the plan"
        return f"{self.symbol}: was {self.stored or nothing}; now {self.derived or nothing}"


@frozen
class Replay:
    """What replaying one record found.

    Attributes:
        decisions: How many rows were compared.
        differences: One a symbol that came out otherwise.
        decided_hash: SHA-256 of what was decided, derived anew, in hex; None where unreadable.
        code_version: Version that decided; None where unreadable.
        cause: Why the record is unreadable.
    """

    run_id: RunId
    verdict: Verdict
    decisions: int = 0
    differences: tuple[Divergence, ...] = ()
    decided_hash: str | None = None
    code_version: str | None = None
    cause: str | None = None


def replay(record: StoredRecord) -> Replay:
    """Derive a record's plan with the code installed now, and compare it with the stored one."""
    try:
        derivation = derive(record)
    except UnreadableRecord as error:
        return Replay(record.run_id, error.verdict, cause=str(error))
    derived = derivation.rows
    differences = compare(record.rows, derived)
    decided = "\n".join(row.decided for row in derived)
    return Replay(
        run_id=record.run_id,
        verdict=Verdict.CHANGED if differences else Verdict.EQUAL,
        decisions=len(derived),
        differences=differences,
        decided_hash=hashlib.sha256(decided.encode()).hexdigest(),
        code_version=derivation.snapshot.code_version,
    )


def compare(stored: Iterable[PlanRow], derived: Iterable[PlanRow]) -> tuple[Divergence, ...]:
    """Return a difference for each symbol whose decision is not the same bytes, by symbol."""
    before, now = _by_symbol(stored), _by_symbol(derived)
    return tuple(
        Divergence(symbol, _described(before.get(symbol)), _described(now.get(symbol)))
        for symbol in sorted(before.keys() | now.keys())
        if _decided(before.get(symbol)) != _decided(now.get(symbol))
    )


_Rows = Mapping[str, list[PlanRow]]


def _by_symbol(rows: Iterable[PlanRow]) -> _Rows:
    found: dict[str, list[PlanRow]] = {}
    for row in rows:
        found.setdefault(row.symbol, []).append(row)
    return found


def _decided(rows: Any) -> list[str]:
    return sorted(row.decided for row in rows or ())


def _described(rows: Any) -> str | None:
    return "; ".join(str(row) for row in rows) if rows else None
