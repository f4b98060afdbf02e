"""What peers say, as a database stores it."""

from attrs import evolve

from orchestrator_core.model import OrderReport
from orchestrator_core.orders import Order, Settlement

# Text columns take no NUL in Postgres, and no lone surrogate anywhere.
_REPLACEMENT = "\ufffd"


def storable_text(text: str) -> str:
    """Return the text with what no database stores replaced: peers' words may hold anything."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", _REPLACEMENT)


def storable_or_none(text: str | None) -> str | None:
    """Return the text as it can be stored."""
    return None if text is None else storable_text(text)


def storable_report(report: OrderReport) -> OrderReport:
    """Return the gateway's word as it can be stored."""
    return evolve(
        report,
        status=storable_text(report.status),
        gateway_order_id=storable_text(report.gateway_order_id),
        broker_order_id=storable_or_none(report.broker_order_id),
        message=storable_or_none(report.message),
    )


def storable_settlement(settlement: Settlement) -> Settlement:
    """Return the settlement as it can be stored, so that it compares with what is read back."""
    report = settlement.report
    return evolve(
        settlement,
        reason=storable_or_none(settlement.reason),
        report=None if report is None else storable_report(report),
    )


def is_storable(order: Order) -> bool:
    """Whether the order is read back just as it is."""
    if order.intent is None or (order.reason is None and order.report is None):
        return True
    known = Settlement(order.intent.client_order_id, order.state, order.reason, order.report)
    return storable_settlement(known) == known
