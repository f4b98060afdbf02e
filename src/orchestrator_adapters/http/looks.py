"""What was heard of an order that exists already, asked about or to be canceled: pure decisions.

Only the gateway's own well-formed record settles an order, and only where it agrees with what was
sent; only its own word that it has no record is taken for absence.
"""

import re

from attrs import evolve, frozen

from orchestrator_adapters.gateway_words import look_up_of_record
from orchestrator_adapters.http.asking import Heard, NotAsked
from orchestrator_adapters.http.client import Reply
from orchestrator_adapters.http.failures import CallFailed
from orchestrator_adapters.http.json_fields import (
    NotAsAgreed,
    an_object,
    parse_json,
    whole_detail,
)
from orchestrator_adapters.http.replies import OK, cause_of
from orchestrator_adapters.http.reports import contradiction, report_of
from orchestrator_core.ports import CancelOutcome, Inquiry, LookUp, LookUpKind

NOT_FOUND = 404
CANCEL_TAKEN = frozenset({200, 202, 204})
CANCEL_REFUSED = frozenset({409, 422})

# "the order is filled", "already canceled", "status: expired", "in terminal state"; but neither
# "is partially filled" nor "cannot be canceled".
_ENDED = re.compile(
    r"\b(is|already|has|been|status|state|in|in a)"
    r" (filled|canceled|cancelled|expired|rejected|replaced|ended|terminal|dry run"
    r"|blocked kill switch|blocked circuit breaker)\b"
)


@frozen
class Look:
    """What was heard of an order that was asked about.

    Attributes:
        keeps_our_id: The gateway has it on record under our id, and says so.
    """

    answer: LookUp
    keeps_our_id: bool = False


def id_at_gateway(inquiry: Inquiry) -> str:
    """Return the id that the gateway knows the order by."""
    return inquiry.gateway_order_id or inquiry.intent.client_order_id


def look_of(inquiry: Inquiry, heard: Heard) -> Look:
    """Return what an answer to the question after one order proves."""
    unanswered = LookUp(inquiry.intent.client_order_id, LookUpKind.UNANSWERED)
    if isinstance(heard, NotAsked):
        return Look(evolve(unanswered, cause=heard.cause, retry_after=heard.retry_after))
    if isinstance(heard, CallFailed):
        return Look(evolve(unanswered, cause=heard.cause))
    cause = cause_of(heard)
    try:
        if heard.status == OK:
            return _look_of_record(inquiry, heard.body)
        if heard.status == NOT_FOUND:
            _require_refusal(heard.body)
            return Look(evolve(unanswered, kind=LookUpKind.ABSENT, cause=cause))
    except NotAsAgreed as problem:
        return Look(evolve(unanswered, cause=f"a garbled answer, {cause}: {problem}"))
    return Look(evolve(unanswered, cause=cause, retry_after=heard.retry_after))


def _require_refusal(body: bytes) -> None:
    """Take only the gateway's own form of a refusal.

    A proxy that does not find the gateway says 404 too, and knows nothing of orders.

    Raises:
        NotAsAgreed: It is of another form.
    """
    if an_object(parse_json(body), "the answer").get("detail") is None:
        raise NotAsAgreed("detail", "missing")


def _look_of_record(inquiry: Inquiry, body: bytes) -> Look:
    """Hold a record against the order.

    Raises:
        NotAsAgreed: It is not of the agreed form.
    """
    intent, asked = inquiry.intent, id_at_gateway(inquiry)
    fields = an_object(parse_json(body), "the answer")
    # What it was asked for by stands for an id that the record does not repeat.
    is_echoed = fields.get("client_order_id") is not None
    report = report_of(fields if is_echoed else {**fields, "client_order_id": asked})
    difference = contradiction(intent, fields, may_lack=frozenset({"order_type"}))
    if report.gateway_order_id != asked:
        difference = f"client_order_id is {report.gateway_order_id}, asked was {asked}"
    if difference is not None:
        cause = f"a contradicting record: {difference}"
        return Look(LookUp(intent.client_order_id, LookUpKind.CONFLICT, cause=cause))
    return Look(
        look_up_of_record(intent.client_order_id, report),
        keeps_our_id=is_echoed and asked == intent.client_order_id,
    )


def cancel_of(inquiry: Inquiry, heard: Heard) -> CancelOutcome:
    """Return what an answer to a request to cancel means."""
    id_ = inquiry.intent.client_order_id
    if not isinstance(heard, Reply):
        return CancelOutcome(id_, is_requested=False, cause=heard.cause)
    if heard.status in CANCEL_TAKEN:
        return _cancel_of_taken(inquiry, heard)
    if heard.status in CANCEL_REFUSED and _says_that_it_ended(heard.body):
        return CancelOutcome(id_, is_requested=True)
    return CancelOutcome(id_, is_requested=False, cause=cause_of(heard))


def _cancel_of_taken(inquiry: Inquiry, reply: Reply) -> CancelOutcome:
    """Take no login page for the gateway's word; it may say nothing at all."""
    id_ = inquiry.intent.client_order_id
    try:
        if reply.body:
            an_object(parse_json(reply.body), "the answer")
    except NotAsAgreed as problem:
        return CancelOutcome(id_, is_requested=False, cause=f"a garbled answer: {problem}")
    return CancelOutcome(id_, is_requested=True)


def _says_that_it_ended(body: bytes) -> bool:
    words = re.sub(r"[^a-z]+", " ", whole_detail(body).lower())
    return _ENDED.search(words) is not None
