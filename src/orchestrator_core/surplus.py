"""Sent against planned: what goes out, and what comes to be, is never more than the plan.

No rule of this library lets more go. Should more go, or fill, all the same, then something is not
what everyone thinks it is: the kill switch is engaged, and a person looks.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from attrs import define, field, frozen

from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.model import OrderIntent, OrderReport
from orchestrator_core.orders import Order
from orchestrator_core.ports import SubmitKind, SubmitOutcome

# A gateway may count in floats.
ROUNDING_SHARES = Decimal("0.000001")


@frozen
class Surplus:
    """More than was planned.

    Attributes:
        planned: Shares.
        seen: Shares sent, or filled.
        what: In words, what there is more of.
    """

    client_order_id: ClientOrderId
    planned: int
    seen: Decimal
    what: str

    def __str__(self) -> str:
        return f"{self.client_order_id}: planned {self.planned}, {self.what} {self.seen}"


@define
class SentTally:
    """Shares sent by one holder of a run, order by order."""

    _sent: dict[ClientOrderId, int] = field(factory=dict, init=False)

    def surplus_of(
        self,
        wave: Sequence[OrderIntent],
        planned: Mapping[ClientOrderId, Order],
        *,
        is_resend: bool,
    ) -> Surplus | None:
        """Return the first order of which more would be sent than is planned, if there is one."""
        total: dict[ClientOrderId, int] = {} if is_resend else dict(self._sent)
        for intent in wave:
            id_, order = intent.client_order_id, planned.get(intent.client_order_id)
            bound = 0 if order is None or order.intent is None else order.intent.qty
            total[id_] = total.get(id_, 0) + intent.qty
            if total[id_] > bound:
                return Surplus(id_, bound, Decimal(total[id_]), "to be sent")
        return None

    def count(self, wave: Sequence[OrderIntent], outcomes: Sequence[SubmitOutcome]) -> None:
        """Count what was sent; what the gateway put off was not."""
        for intent, outcome in zip(wave, outcomes, strict=True):
            if outcome.kind is SubmitKind.DEFERRED:
                self._sent.pop(intent.client_order_id, None)
            else:
                self._sent[intent.client_order_id] = intent.qty


def surplus_of_fill(intent: OrderIntent, report: OrderReport | None) -> Surplus | None:
    """Return by what the gateway says that an order is filled beyond its shares, if it does."""
    if report is None or report.filled_qty - intent.qty <= ROUNDING_SHARES:
        return None
    return Surplus(intent.client_order_id, intent.qty, report.filled_qty, "filled")


def surplus_of_orders(orders: Iterable[Order]) -> Surplus | None:
    """Return the first order that is filled beyond its shares, if there is one."""
    for order in orders:
        surplus = None if order.intent is None else surplus_of_fill(order.intent, order.report)
        if surplus is not None:
            return surplus
    return None
