"""What the Execution Gateway's answer to one POST of an order means: a pure decision.

An order may only be called anything but UNKNOWN on the gateway's own, well-formed word about this
very order, or on a status that the gateway gives before it takes an order.
"""

from decimal import Decimal
from typing import Any

from attrs import evolve

from orchestrator_adapters.http.client import Reply
from orchestrator_adapters.http.json_fields import (
    NotAsAgreed,
    an_object,
    decimal_in,
    detail_of,
    id_in,
    parse_json,
    quote,
    shares_in,
    symbol_in,
    text_in,
    whole_detail,
)
from orchestrator_core.model import OrderIntent, OrderReport
from orchestrator_core.money import ZERO
from orchestrator_core.ports import SubmitKind, SubmitOutcome

TAKEN = frozenset({200, 201})
REFUSED = frozenset({400, 422})
SET_UP_WRONG = frozenset({401, 403, 404, 405, 413, 415})
CONFLICT = 409
PACED = 429
UNAVAILABLE = 503

DRY_RUN = "dry_run"
REJECTED_WORDS = frozenset({"rejected", "blocked_kill_switch", "blocked_circuit_breaker"})
BLOCKED_WORDS = frozenset({"blocked_kill_switch", "blocked_circuit_breaker"})
# The gateway gives up on its broker with this word, whatever the broker did.
FAILED = "failed"
STANDING_WORDS = frozenset(
    {
        "pending_new",
        "new",
        "accepted",
        "partially_filled",
        "filled",
        "canceled",
        "expired",
        "replaced",
        "done_for_day",
        "stopped",
        "suspended",
        "pending_cancel",
        "pending_replace",
        "calculated",
        "submitted",
        "submitted_unconfirmed",
        "scheduled",
    }
)
STATUS_WORDS = STANDING_WORDS | REJECTED_WORDS | {FAILED, DRY_RUN}

# What a 503 says when the gateway's gates, and not its broker, refused; compared in lower case,
# with spaces for hyphens and underscores.
BROKER_TROUBLE = "broker connection error"
STOPPING_WORDS = ("kill switch", "circuit breaker", "auth store")
PARKING_WORDS = ("quarantine", "reconciliation")


def outcome_of_reply(intent: OrderIntent, reply: Reply) -> SubmitOutcome:
    """Return what is known of an order after the answer to its first POST."""
    status = reply.status
    if status in TAKEN:
        return outcome_of_taken(intent, reply.body)
    cause = f"HTTP {status} {detail_of(reply.body)}".rstrip()
    outcome = SubmitOutcome(intent.client_order_id, SubmitKind.UNKNOWN, cause=cause)
    if status in REFUSED:
        return evolve(outcome, kind=SubmitKind.REJECTED)
    if status in SET_UP_WRONG:
        return evolve(outcome, kind=SubmitKind.NOT_PLACED, stops_run=True)
    if status == CONFLICT:
        return evolve(outcome, kind=SubmitKind.CONFLICT)
    if status == PACED:
        return evolve(outcome, kind=SubmitKind.DEFERRED, retry_after=reply.retry_after)
    if status == UNAVAILABLE:
        words = whole_detail(reply.body).lower().replace("-", " ").replace("_", " ")
        if BROKER_TROUBLE in words:
            return outcome
        if any(word in words for word in STOPPING_WORDS):
            return evolve(
                outcome,
                kind=SubmitKind.NOT_PLACED,
                stops_run=True,
                retry_after=reply.retry_after,
            )
        if any(word in words for word in PARKING_WORDS):
            return evolve(outcome, kind=SubmitKind.NOT_PLACED)
    return outcome


def outcome_of_taken(intent: OrderIntent, body: bytes) -> SubmitOutcome:
    """Return what a 200 or 201 says of an order."""
    unknown = SubmitOutcome(intent.client_order_id, SubmitKind.UNKNOWN)
    try:
        fields = an_object(parse_json(body), "the answer")
        report = report_of(fields)
        contradiction = _contradiction(intent, fields)
    except NotAsAgreed as problem:
        return evolve(unknown, cause=f"a garbled answer: {problem}")
    if contradiction is not None:
        return evolve(unknown, cause=f"a contradicting answer: {contradiction}")
    word, message = report.status, report.message or "no reason given"
    if word in REJECTED_WORDS:
        return evolve(
            unknown,
            kind=SubmitKind.REJECTED,
            report=report,
            cause=f"{word}: {message}",
            stops_run=word in BLOCKED_WORDS,
        )
    if word == DRY_RUN or (word in STANDING_WORDS and report.broker_order_id is not None):
        return evolve(unknown, kind=SubmitKind.ACCEPTED, report=report)
    if word in STANDING_WORDS:
        return evolve(unknown, report=report, cause=f"{word} without a broker's order id")
    return evolve(unknown, report=report, cause=f"{word}: {message}")


def report_of(fields: dict[str, Any]) -> OrderReport:
    """Return the gateway's record of an order.

    Raises:
        NotAsAgreed: Names the field.
    """
    return OrderReport(
        status=quote(text_in(fields, "status")),
        gateway_order_id=id_in(fields, "client_order_id"),
        broker_order_id=(
            None
            if fields.get("broker_order_id") in (None, "")
            else id_in(fields, "broker_order_id")
        ),
        filled_qty=_amount(fields, "filled_qty") or ZERO,
        filled_avg_price=_amount(fields, "filled_avg_price"),
        message=_message(fields),
    )


def _amount(fields: dict[str, Any], name: str) -> Decimal | None:
    if fields.get(name) is None:
        return None
    amount = decimal_in(fields, name)
    if amount < 0:
        raise NotAsAgreed(name, "expected no negative amount")
    return amount


def _message(fields: dict[str, Any]) -> str | None:
    for name in ("error_message", "message"):
        text = fields.get(name)
        if isinstance(text, str) and text:
            return quote(text)
    return None


def _contradiction(intent: OrderIntent, fields: dict[str, Any]) -> str | None:
    echoes = (
        ("symbol", symbol_in(fields, "symbol"), intent.symbol),
        ("side", text_in(fields, "side"), intent.side.value),
        ("qty", shares_in(fields, "qty"), intent.qty),
        ("order_type", text_in(fields, "order_type"), intent.order_type.value),
    )
    for name, theirs, ours in echoes:
        if theirs != ours:
            return f"{name} is {quote(str(theirs))}, sent was {ours}"
    return None
