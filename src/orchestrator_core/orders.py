"""An order as it is stored, and as the public words describe it.

An order's `state` is ours; `order_status` and `skip_reason` are the words that clients, reports and
dashboards read. They are derived here and nowhere else.
"""

from decimal import Decimal

from attrs import evolve, frozen

from orchestrator_core.identifiers import ClientOrderId, RunId
from orchestrator_core.lifecycle import OrderStanding, OrderState, advance
from orchestrator_core.model import OrderIntent, OrderReport, Quote, Signal
from orchestrator_core.plans import SizingDecision, SkipReason

# The gateway's word for an order that it canceled on arrival.
CANCELED = "canceled"
FILLED = "filled"


@frozen
class Owner:
    """The earlier order that holds an adopted order's id."""

    run_id: RunId
    state: OrderState
    reason: str | None = None
    report: OrderReport | None = None
    canceled_on_arrival: bool = False


@frozen
class Order:
    """One signal of a run, and what became of it.

    Attributes:
        signal: As received.
        state: Where it stands.
        intent: The order; None where the signal needed none.
        reason: Skip reason, denial, or cause; None where nothing is to be said.
        report: The gateway's latest word on this order.
        owner: For an adopted order, whose id it is.
        canceled_on_arrival: The first word heard of it was `canceled`: it counts as rejected,
            which a cancel that comes later does not.
        price: What the order was sized with, account currency per share; None where there is no
            order, or the price was not kept.
    """

    signal: Signal
    state: OrderState
    intent: OrderIntent | None = None
    reason: str | None = None
    report: OrderReport | None = None
    owner: Owner | None = None
    canceled_on_arrival: bool = False
    price: Decimal | None = None

    @property
    def standing(self) -> OrderStanding:
        """What counting needs; an adopted order counts as its owner stands."""
        stands = self if self.owner is None else self.owner
        report = stands.report
        return OrderStanding(
            state=stands.state,
            acknowledged=report is not None,
            canceled=stands.canceled_on_arrival,
            filled=report is not None and report.status == FILLED,
        )

    @property
    def order_status(self) -> str | None:
        """The public word for where the order stands at the gateway."""
        if self.owner is not None:
            return _order_status(self.owner.state, self.owner.report)
        return _order_status(self.state, self.report)

    @property
    def skip_reason(self) -> str | None:
        """The public words for why there is no accepted order."""
        if self.owner is not None:
            return (
                _skip_reason(self.owner.state, self.owner.reason)
                or f"already_ordered: run {self.owner.run_id}"
            )
        return _skip_reason(self.state, self.reason)

    @property
    def public_report(self) -> OrderReport | None:
        """The gateway's word that is shown: the owner's for an adopted order."""
        return self.report if self.owner is None else self.owner.report


def _order_status(state: OrderState, report: OrderReport | None) -> str | None:
    match state:
        case OrderState.ACCEPTED:
            return None if report is None else report.status
        case OrderState.REJECTED:
            return "rejected" if report is None else report.status
        case OrderState.NOT_PLACED:
            return "rejected"
        case OrderState.SENDING | OrderState.UNKNOWN | OrderState.UNRESOLVED | OrderState.CONFLICT:
            return "unknown"
        case _:
            return None


def _skip_reason(state: OrderState, reason: str | None) -> str | None:
    match state:
        case OrderState.SKIPPED:
            return reason
        case OrderState.DENIED:
            return f"denied: {reason}"
        case OrderState.HALTED:
            return f"halted: {reason}"
        case OrderState.NOT_PLACED | OrderState.REJECTED:
            return f"submission_failed: {reason}"
        case OrderState.UNKNOWN | OrderState.UNRESOLVED | OrderState.CONFLICT:
            return f"outcome_unknown: {reason}"
        case OrderState.SENDING:
            return f"outcome_unknown: {reason or 'being sent'}"
        case _:
            return None


def order_of(decision: SizingDecision) -> Order:
    """Return the order as it is first stored."""
    state, reason = OrderState.PLANNED, None
    if decision.denial is not None:
        state, reason = OrderState.DENIED, str(decision.denial)
    elif decision.skip is not None:
        state, reason = OrderState.SKIPPED, str(decision.skip)
        if decision.skip is SkipReason.PRICE_UNAVAILABLE:
            reason = f"{reason}: {decision.skip_detail}"
    intent, quote = decision.intent, decision.quote
    price = quote.price if intent is not None and isinstance(quote, Quote) else None
    return Order(decision.signal, state, intent, reason=reason, price=price)


@frozen
class Settlement:
    """What is to be recorded of one order after a try, or a look at the gateway.

    Attributes:
        follow_seconds: From now until the gateway is asked how the order goes on; None where it
            has ended, or was not accepted.
    """

    client_order_id: ClientOrderId
    state: OrderState
    reason: str | None = None
    report: OrderReport | None = None
    follow_seconds: float | None = None

    @property
    def is_canceled_on_arrival(self) -> bool:
        """Whether the gateway took the order and canceled it, by its first word on it."""
        report = self.report
        return (
            self.state is OrderState.ACCEPTED and report is not None and report.status == CANCELED
        )


def settle(order: Order, settlement: Settlement) -> Order:
    """Return the order as the settlement leaves it.

    Raises:
        IllegalTransition: The order's state does not allow it.
    """
    return evolve(
        order,
        state=advance(order.state, settlement.state),
        reason=settlement.reason,
        report=settlement.report or order.report,
        canceled_on_arrival=settlement.is_canceled_on_arrival,
    )
