"""What an operator does with an accepted order that the gateway has lost: say that it has ended.

A gateway that was set up anew answers for no order of before. Such an order is followed for ever,
and in delta mode nothing is decided on its symbol. Only its last word changes: it stays ACCEPTED,
so its decision never sends it again.
"""

from collections.abc import Sequence

from attrs import evolve, frozen

from orchestrator_core.commits import FollowedOrder, OrderNews
from orchestrator_core.errors import InvalidRequest, Unavailable
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId
from orchestrator_core.orders import CANCELED
from orchestrator_core.ports import Inquiry, LookUp, LookUpKind, RunPorts, RunRepository
from orchestrator_core.runs import Run

ORDERS_A_PAGE = 200


@frozen
class Ending:
    """An operator's word that nothing more becomes of an accepted order.

    Attributes:
        operator: Who says so.
        evidence: What it rests on, such as the broker's statement; kept with the order.
        stands_untold: It counts although the gateway gives no answer that proves the order lost;
            what is stored says so.
    """

    client_order_id: ClientOrderId
    operator: str
    evidence: str
    stands_untold: bool = False

    def message(self, *, is_told: bool) -> str:
        """Return what is kept with the order: who ended it, on what, and whether alone."""
        alone = "" if is_told else ", the gateway telling nothing"
        return f"ended by {self.operator}{alone}: {self.evidence}"


@frozen
class LiveOrder:
    """An accepted order that had not ended when last heard of, and what the gateway says now."""

    order: FollowedOrder
    answer: LookUp

    @property
    def is_lost(self) -> bool:
        """Whether the gateway has no record of an order that it once accepted."""
        return self.answer.kind is LookUpKind.ABSENT


async def look_at_live_orders(ports: RunPorts, strategy_id: StrategyId) -> Sequence[LiveOrder]:
    """Ask the gateway about every live order of the strategy. A read: nothing is recorded.

    Raises:
        Unavailable: The run database does not answer.
    """
    owners: dict[RunId, StrategyId | None] = {}
    found: list[LiveOrder] = []
    after = None
    while page := await ports.runs.live_orders(after=after, limit=ORDERS_A_PAGE):
        for order in page:
            if order.run_id not in owners:
                run = await ports.runs.get_run(order.run_id)
                owners[order.run_id] = None if run is None else run.strategy_id
        ours = [order for order in page if owners[order.run_id] == strategy_id]
        if ours:
            inquiries = [Inquiry.about(order.intent, order.report) for order in ours]
            answers = await ports.sink.look_up(inquiries)
            found += map(LiveOrder, ours, answers)
        after = page[-1].intent.client_order_id
    return tuple(found)


async def end_order(ending: Ending, *, ports: RunPorts, strategy_id: StrategyId) -> Run:
    """Record that an accepted order has ended, and return its run as stored.

    The gateway is asked first, about all live orders at once: one that it has on record tells
    whether an absence counts. What it has on record is not overruled. The word is `canceled`, what
    was filled stays as last heard of, and the order is not asked about again.

    Raises:
        InvalidRequest: The strategy has no such order that is accepted and has not ended, or the
            gateway has it on record, or there was news of it meanwhile.
        Unavailable: The database does not answer, or (port `orders`) the gateway does not, or it
            cannot tell.
        OutcomeUnknown: It may have been recorded: look.
    """
    live = [
        each
        for each in await look_at_live_orders(ports, strategy_id)
        if each.order.intent.client_order_id == ending.client_order_id
    ]
    if not live:
        raise InvalidRequest(
            "client_order_id",
            f"{strategy_id} has no accepted order of this id that has not ended; one in doubt is "
            "closed as accepted, rejected or not_placed",
        )
    order = live[0].order
    is_told = _require_lost(ending, live[0])
    report = evolve(order.report, status=CANCELED, message=ending.message(is_told=is_told))
    news = OrderNews(
        order.run_id,
        ending.client_order_id,
        before=order.report,
        report=report,
        follow_seconds=None,
    )
    await ports.runs.record_news([news])
    return await _read_back(news, ports.runs)


def _require_lost(ending: Ending, live: LiveOrder) -> bool:
    """Return whether the gateway tells that it lost the order; raise where its answer forbids."""
    answer = live.answer
    if live.is_lost:
        return True
    # Without a record, UNCLEAR is an absence that proves nothing.
    if answer.kind is LookUpKind.UNANSWERED or (
        answer.kind is LookUpKind.UNCLEAR and answer.report is None
    ):
        if ending.stands_untold:
            return False
        raise Unavailable("orders", "look_up", answer.cause or "no answer")
    said = answer.cause if answer.report is None else answer.report.status
    raise InvalidRequest("state", f"the gateway has the order on record, as {answer.kind} ({said})")


async def _read_back(news: OrderNews, runs: RunRepository) -> Run:
    run = await runs.get_run(news.run_id)
    order = None if run is None else run.order(news.client_order_id)
    if run is None or order is None or order.order_status != CANCELED:
        stands = None if order is None else order.order_status
        raise InvalidRequest(
            "client_order_id", f"there was news of the order meanwhile: {stands}; look again"
        )
    return run
