"""Following accepted orders until they end at the gateway.

Two rules are kept here. The gateway's word moves forward only: an answer that is older than what is
stored changes nothing. And an order's state of ours does not move with it: ACCEPTED stays ACCEPTED,
whether the order was filled or canceled afterwards. An order that has ended is looked at once more,
a minute later: life after its end is recorded, and told.
"""

from collections.abc import Sequence
from decimal import Decimal

from attrs import evolve, frozen

from orchestrator_core.commits import FollowedOrder, OrderNews
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.model import OrderReport
from orchestrator_core.ports import Inquiry, LookUp, LookUpKind, OrderSink, RunRepository
from orchestrator_core.surplus import Surplus, surplus_of_fill

FIRST_LOOK_SECONDS = 1.0
LAST_LOOK_SECONDS = 60.0
# Each pause is this share of the order's age: pauses grow by half from look to look.
PAUSE_SHARE = 0.5
ORDERS_A_ROUND = 32
# Outlasts the looks of one round, so that no other replica asks about the same orders meanwhile.
HOLD_SECONDS = 30.0

DRY_RUN = "dry_run"

# How far the gateway's words say that an order has come. A word that is not here moves nothing.
_PROGRESS = {
    "pending_new": 0,
    "submitted": 0,
    "submitted_unconfirmed": 0,
    "scheduled": 0,
    "accepted": 1,
    "new": 1,
    "suspended": 1,
    "pending_replace": 1,
    "pending_cancel": 1,
    "stopped": 2,
    "partially_filled": 2,
    "calculated": 2,
    "done_for_day": 2,
    "filled": 3,
    "canceled": 3,
    "expired": 3,
    "rejected": 3,
    "replaced": 3,
    "blocked_kill_switch": 3,
    "blocked_circuit_breaker": 3,
    DRY_RUN: 3,
}
_ENDED = max(_PROGRESS.values())


def has_ended(status: str) -> bool:
    """Whether nothing more becomes of an order after this word."""
    return _PROGRESS.get(status) == _ENDED


def first_follow_seconds(report: OrderReport | None) -> float | None:
    """Return when an order is first asked about after the gateway's first word on it.

    One that has ended is looked at once more, later; one that the gateway has no record of is not.
    """
    if report is None or report.status == DRY_RUN:
        return None
    return LAST_LOOK_SECONDS if has_ended(report.status) else FIRST_LOOK_SECONDS


def advance_report(before: OrderReport, latest: OrderReport) -> OrderReport:
    """Return the gateway's word as it stands after another answer: the later of the two.

    More shares filled are always later; as many, and a word at least as far, are later or equal.
    """
    if latest.status not in _PROGRESS or latest.filled_qty < before.filled_qty:
        return before
    is_further = latest.filled_qty > before.filled_qty
    if not is_further and _PROGRESS[latest.status] < _PROGRESS.get(before.status, 0):
        return before
    return evolve(
        latest,
        gateway_order_id=before.gateway_order_id,
        broker_order_id=latest.broker_order_id or before.broker_order_id,
        filled_avg_price=latest.filled_avg_price or before.filled_avg_price,
        message=latest.message or before.message,
    )


@frozen
class Round:
    """What one round of looks brought.

    Attributes:
        looked: Orders asked about.
        ended: Orders whose end was heard of now.
        revived: Orders of which there was news after they had ended.
        unanswered: Orders of which the gateway said nothing usable.
        filled_qty: Shares filled since the looks before.
        surplus: An order that is filled beyond its shares.
    """

    looked: int = 0
    ended: int = 0
    revived: tuple[OrderNews, ...] = ()
    unanswered: int = 0
    filled_qty: Decimal = Decimal(0)
    surplus: Surplus | None = None


async def follow_orders(
    *, sink: OrderSink, runs: RunRepository, strategy_id: StrategyId, limit: int = ORDERS_A_ROUND
) -> Round:
    """Ask about the accepted orders whose time has come, and record what is new.

    Raises:
        PortError: The run database failed. Nothing is lost: the orders come again.
    """
    followed = await runs.take_followed(strategy_id, limit=limit, hold_seconds=HOLD_SECONDS)
    if not followed:
        return Round()
    answers = await sink.look_up([Inquiry.about(order.intent, order.report) for order in followed])
    news = [_news_of(order, answer) for order, answer in zip(followed, answers, strict=True)]
    await runs.record_news(news)
    surpluses = (
        surplus_of_fill(order.intent, each.report)
        for order, each in zip(followed, news, strict=True)
    )
    return evolve(_count(news, answers), surplus=next(filter(None, surpluses), None))


def _news_of(order: FollowedOrder, answer: LookUp) -> OrderNews:
    report = order.report
    if answer.report is not None:
        report = advance_report(order.report, answer.report)
    return OrderNews(
        run_id=order.run_id,
        client_order_id=order.intent.client_order_id,
        before=order.report,
        report=report,
        follow_seconds=_pause(order, answer, report),
    )


def _pause(order: FollowedOrder, answer: LookUp, report: OrderReport) -> float | None:
    if answer.kind is LookUpKind.UNANSWERED:
        return max(LAST_LOOK_SECONDS, answer.retry_after or 0.0)
    if has_ended(order.report.status) and report == order.report:
        return None
    if has_ended(report.status):
        return LAST_LOOK_SECONDS
    return min(max(order.age_seconds * PAUSE_SHARE, FIRST_LOOK_SECONDS), LAST_LOOK_SECONDS)


def _count(news: Sequence[OrderNews], answers: Sequence[LookUp]) -> Round:
    return Round(
        looked=len(news),
        ended=sum(
            has_ended(each.report.status) and not has_ended(each.before.status) for each in news
        ),
        revived=tuple(
            each for each in news if has_ended(each.before.status) and each.report != each.before
        ),
        unanswered=sum(answer.report is None for answer in answers),
        filled_qty=sum(
            (each.report.filled_qty - each.before.filled_qty for each in news), Decimal(0)
        ),
    )
