"""Accepted orders that are followed, in memory."""

from datetime import datetime, timedelta

from attrs import define, evolve, field, frozen

from orchestrator_core.commits import FollowedOrder, OrderNews
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId
from orchestrator_core.model import OrderIntent, OrderReport
from orchestrator_core.orders import Order, Settlement
from orchestrator_core.ports import Clock
from orchestrator_core.runs import Run
from orchestrator_core.tracking import has_ended


@frozen
class FollowedUntil:
    """An order that is followed, and when it is due."""

    run_id: RunId
    strategy_id: StrategyId
    intent: OrderIntent
    report: OrderReport
    claimed_at: datetime
    due_at: datetime


@define
class MemoryFollowing:
    """Which orders are to be asked about, and when."""

    _clock: Clock
    _orders: dict[ClientOrderId, FollowedUntil] = field(factory=dict, init=False)

    @property
    def orders(self) -> tuple[FollowedUntil, ...]:
        """The orders that are followed."""
        return tuple(self._orders.values())

    @property
    def count(self) -> int:
        """Accepted orders that have not ended."""
        return sum(not has_ended(order.report.status) for order in self._orders.values())

    def settle(
        self, run: Run, order: Order, settlement: Settlement, claimed_at: datetime | None
    ) -> None:
        """Follow the order, or no more, as its settlement says."""
        id_, now = settlement.client_order_id, self._clock.now()
        if settlement.follow_seconds is None or order.intent is None or order.report is None:
            self._orders.pop(id_, None)
            return
        self._orders[id_] = FollowedUntil(
            run.run_id,
            run.strategy_id,
            order.intent,
            order.report,
            claimed_at or now,
            now + timedelta(seconds=settlement.follow_seconds),
        )

    def take(
        self, strategy_id: StrategyId, *, limit: int, hold_seconds: float
    ) -> tuple[FollowedOrder, ...]:
        """Return the orders whose time has come, the longest due first; each is held."""
        now = self._clock.now()
        due = [
            order
            for order in self._orders.values()
            if order.strategy_id == strategy_id and order.due_at <= now
        ]
        due.sort(key=lambda order: order.due_at)
        for order in due[:limit]:
            held = evolve(order, due_at=now + timedelta(seconds=hold_seconds))
            self._orders[order.intent.client_order_id] = held
        return tuple(
            FollowedOrder(
                order.run_id,
                order.intent,
                order.report,
                (now - order.claimed_at).total_seconds(),
            )
            for order in due[:limit]
        )

    def go_on(self, news: OrderNews) -> None:
        """Note the gateway's word, and when the order is asked about next."""
        followed = self._orders.pop(news.client_order_id, None)
        if followed is None or news.follow_seconds is None:
            return
        self._orders[news.client_order_id] = evolve(
            followed,
            report=news.report,
            due_at=self._clock.now() + timedelta(seconds=news.follow_seconds),
        )
