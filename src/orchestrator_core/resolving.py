"""What an operator does with an order that nothing else settles: close it on evidence."""

from attrs import frozen

from orchestrator_core.errors import InvalidRequest, Unavailable
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import OrderReport
from orchestrator_core.orders import Order, Settlement
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import LookUp, LookUpKind, RunPorts
from orchestrator_core.recovery import holder_of, look_again_seconds, look_up
from orchestrator_core.runs import Run
from orchestrator_core.tracking import first_follow_seconds

# Wait for an operator.
RESOLVABLE = frozenset({OrderState.UNRESOLVED, OrderState.CONFLICT})
# What an operator may close them to.
RESOLUTIONS = frozenset({OrderState.ACCEPTED, OrderState.REJECTED, OrderState.NOT_PLACED})


@frozen
class Resolution:
    """An operator's word on what became of an order.

    Attributes:
        state: ACCEPTED, REJECTED or NOT_PLACED.
        operator: Who says so.
        evidence: What it rests on, such as the broker's statement; kept with the order.
        broker_order_id: The broker's id of an accepted order, where the gateway names none.
        stands_unasked: It counts although the gateway gives no usable answer; what is stored says
            so.
    """

    client_order_id: ClientOrderId
    state: OrderState
    operator: str
    evidence: str
    broker_order_id: str | None = None
    stands_unasked: bool = False

    def reason(self, *, is_asked: bool) -> str:
        """Return what is kept with the order: who closed it, on what, and whether alone."""
        alone = "" if is_asked else ", the gateway not asked"
        return f"closed by {self.operator}{alone}: {self.evidence}"


async def resolve_order(resolution: Resolution, *, ports: RunPorts, policy: RunPolicy) -> Run:
    """Close an order that waits for an operator, and its run if nothing else of it is open.

    The gateway is asked first: its own record is not overruled, and the operator's word counts
    without it only where the resolution says so.

    Raises:
        InvalidRequest: There is no such order, or it does not wait for an operator, or the
            gateway's record says otherwise.
        Unavailable: Recovery is at work on the run, or the database does not answer, or (port
            `orders`) the gateway does not.
        OutcomeUnknown: It may have been closed: look.
    """
    if resolution.state not in RESOLUTIONS:
        raise InvalidRequest("state", f"expected one of {', '.join(sorted(RESOLUTIONS))}")
    found = [
        order
        for order in await ports.runs.open_orders()
        if order.client_order_id == resolution.client_order_id
    ]
    if not found:
        raise InvalidRequest(
            "client_order_id",
            "no open order has this id: it is closed already, or none ever had it",
        )
    if found[0].state not in RESOLVABLE:
        raise InvalidRequest(
            "client_order_id",
            f"the order is {found[0].state}: recovery still looks for it, and leaves it to an "
            "operator when its time is up",
        )
    taken = await ports.runs.take_run(
        policy.strategy_id, lease_seconds=policy.lease_seconds, run_id=found[0].run_id
    )
    if taken is None:
        cause = "the run is of another strategy, or recovery is at work on it: try again"
        raise Unavailable("runs", "take_run", cause)
    holder = holder_of(taken, ports, policy)
    order = holder.book.orders[resolution.client_order_id]
    try:
        settlement = await _closing(resolution, order, ports)
        if settlement is not None:
            holder.book.settle(settlement)
    except (InvalidRequest, Unavailable):
        await holder.close(look_again_seconds=look_again_seconds(holder.book, taken))
        raise
    return await holder.close(look_again_seconds=look_again_seconds(holder.book, taken))


async def _closing(resolution: Resolution, order: Order, ports: RunPorts) -> Settlement | None:
    """Return what closes the order; None where it was closed so meanwhile."""
    if order.state in RESOLVABLE:
        [answer] = await look_up([order], ports)
        is_asked = answer.kind is not LookUpKind.UNANSWERED
        if not (is_asked or resolution.stands_unasked):
            raise Unavailable("orders", "look_up", answer.cause or "no answer")
        return _settlement(resolution, order, answer, is_asked=is_asked)
    if order.state is not resolution.state:
        raise InvalidRequest("client_order_id", f"the order was settled meanwhile: {order.state}")
    return None


def _settlement(
    resolution: Resolution, order: Order, answer: LookUp, *, is_asked: bool
) -> Settlement:
    says = {LookUpKind.ACCEPTED: OrderState.ACCEPTED, LookUpKind.REJECTED: OrderState.REJECTED}
    record = says.get(answer.kind)
    if record is not None and record is not resolution.state:
        status = "" if answer.report is None else f" ({answer.report.status})"
        raise InvalidRequest("state", f"the gateway has the order on record as {record}{status}")
    report = answer.report or order.report
    if resolution.state is OrderState.ACCEPTED and record is None:
        if resolution.broker_order_id is None:
            raise InvalidRequest(
                "broker_order_id",
                "expected the broker's id of an accepted order that the gateway does not show",
            )
        report = OrderReport(
            status="accepted" if report is None else report.status,
            gateway_order_id=(
                resolution.client_order_id if report is None else report.gateway_order_id
            ),
            broker_order_id=resolution.broker_order_id,
        )
    return Settlement(
        resolution.client_order_id,
        resolution.state,
        reason=resolution.reason(is_asked=is_asked),
        report=report if resolution.state is not OrderState.NOT_PLACED else None,
        follow_seconds=(
            first_follow_seconds(report) if resolution.state is OrderState.ACCEPTED else None
        ),
    )
