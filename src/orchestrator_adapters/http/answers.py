"""What the Execution Gateway's answer to one POST of an order means: a pure decision.

An order may only be called anything but UNKNOWN on the gateway's own, well-formed word about this
very order, or on a status that the gateway gives before it takes an order.
"""

from attrs import evolve

from orchestrator_adapters.gateway_words import (
    BLOCKED_WORDS,
    REJECTED_WORDS,
    doubt_of,
    is_accepted,
    reason_in,
)
from orchestrator_adapters.http.client import Reply
from orchestrator_adapters.http.json_fields import (
    NotAsAgreed,
    an_object,
    parse_json,
    whole_detail,
)
from orchestrator_adapters.http.replies import PACED, cause_of
from orchestrator_adapters.http.reports import contradiction, report_of
from orchestrator_core.model import OrderIntent
from orchestrator_core.ports import SubmitKind, SubmitOutcome

TAKEN = frozenset({200, 201})
REFUSED = frozenset({400, 422})
SET_UP_WRONG = frozenset({401, 403, 404, 405, 413, 415})
CONFLICT = 409
UNAVAILABLE = 503

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
    outcome = SubmitOutcome(intent.client_order_id, SubmitKind.UNKNOWN, cause=cause_of(reply))
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
        difference = contradiction(intent, fields)
    except NotAsAgreed as problem:
        return evolve(unknown, cause=f"a garbled answer: {problem}")
    if difference is not None:
        return evolve(unknown, cause=f"a contradicting answer: {difference}")
    if report.status in REJECTED_WORDS:
        return evolve(
            unknown,
            kind=SubmitKind.REJECTED,
            report=report,
            cause=f"{report.status}: {reason_in(report)}",
            stops_run=report.status in BLOCKED_WORDS,
        )
    if is_accepted(report):
        return evolve(unknown, kind=SubmitKind.ACCEPTED, report=report)
    return evolve(unknown, report=report, cause=doubt_of(report))
