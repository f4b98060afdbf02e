"""Canceling what is live at the gateway, after trading was stopped."""

from attrs import frozen

from orchestrator_core.errors import PortError
from orchestrator_core.ports import CancelOutcome, Inquiry, OrderSink, RunRepository

ORDERS_A_PAGE = 200


@frozen
class Canceling:
    """What became of requests to cancel.

    Attributes:
        requested: Orders that the gateway was asked to cancel, or that had ended.
        failed: Orders that it could not be asked about, with why.
        cause: Why not every live order is known; None where all are.
    """

    requested: int = 0
    failed: tuple[CancelOutcome, ...] = ()
    cause: str | None = None


async def cancel_live_orders(sink: OrderSink, runs: RunRepository) -> Canceling:
    """Ask the gateway to cancel every accepted order that had not ended when last heard of.

    Whether each was canceled before it filled is told by following it, as ever. Raises nothing.
    """
    requested = 0
    failed: list[CancelOutcome] = []
    after = None
    while True:
        try:
            page = await runs.live_orders(after=after, limit=ORDERS_A_PAGE)
        except PortError as error:
            return Canceling(requested, tuple(failed), cause=f"run database: {error.cause}")
        if not page:
            return Canceling(requested, tuple(failed))
        outcomes = await sink.cancel([Inquiry.about(order.intent, order.report) for order in page])
        requested += sum(outcome.is_requested for outcome in outcomes)
        failed += [outcome for outcome in outcomes if not outcome.is_requested]
        after = page[-1].intent.client_order_id
