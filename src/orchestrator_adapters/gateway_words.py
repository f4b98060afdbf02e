"""The gateway's words for where an order stands, and what a record with one of them proves.

Pure. The gateway over HTTP and the one in memory speak the same words.
"""

from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.model import OrderReport
from orchestrator_core.ports import LookUp, LookUpKind
from orchestrator_core.tracking import DRY_RUN

BLOCKED_WORDS = frozenset({"blocked_kill_switch", "blocked_circuit_breaker"})
REJECTED_WORDS = BLOCKED_WORDS | {"rejected"}
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


def is_accepted(report: OrderReport) -> bool:
    """Whether the gateway's word is that the order stands, or stood, at its broker."""
    if report.status == DRY_RUN:
        return True
    return report.status in STANDING_WORDS and report.broker_order_id is not None


def doubt_of(report: OrderReport) -> str:
    """Say why a report proves neither that its order was accepted nor that it was rejected."""
    if report.status in STANDING_WORDS:
        return f"{report.status} without a broker's order id"
    return f"{report.status}: {reason_in(report)}"


def reason_in(report: OrderReport) -> str:
    """Return the gateway's reason, or that it gave none."""
    return report.message or "no reason given"


def look_up_of_record(client_order_id: ClientOrderId, report: OrderReport) -> LookUp:
    """Return what the gateway's record proves; the record agrees with the order."""
    if report.status in REJECTED_WORDS:
        cause = f"{report.status}: {reason_in(report)}"
        return LookUp(client_order_id, LookUpKind.REJECTED, report=report, cause=cause)
    if is_accepted(report):
        return LookUp(client_order_id, LookUpKind.ACCEPTED, report=report)
    return LookUp(client_order_id, LookUpKind.UNCLEAR, report=report, cause=doubt_of(report))
