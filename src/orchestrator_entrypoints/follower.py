"""Hearing, again and again, how accepted orders go on at the gateway."""

import logging

from attrs import frozen

from orchestrator_core.commits import OrderNews
from orchestrator_core.stopping import engage_on_surplus
from orchestrator_core.surplus import Surplus
from orchestrator_core.tracking import Round, follow_orders
from orchestrator_entrypoints.logs import log_event
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.rounds import Rounds

IDLE_SECONDS = 1.0
# Where many orders are due: their looks share the gateway with runs.
BUSY_SECONDS = 0.25

_LOG = logging.getLogger("orchestrator.following")


@frozen
class Follower:
    """Asks about accepted orders until they end."""

    orchestrator: Orchestrator

    def rounds(self) -> Rounds:
        """Return the loop that a service keeps up."""
        stop = self.orchestrator.stop
        return Rounds("following", self.go_round, stop, failure_pause=IDLE_SECONDS)

    async def go_round(self) -> float:
        """Ask about the orders whose time has come; return the pause until the next look.

        Raises:
            PortError: The run database failed; the orders come again.
        """
        found = await self.follow_once()
        return BUSY_SECONDS if found.looked else IDLE_SECONDS

    async def follow_once(self) -> Round:
        """Ask once, count and log what is new.

        Raises:
            PortError: As `follow_orders`.
        """
        ports = self.orchestrator.ports
        found = await follow_orders(
            sink=ports.sink, runs=ports.runs, strategy_id=self.orchestrator.policy.strategy_id
        )
        self._count(found)
        if found.ended or found.filled_qty:
            log_event(
                _LOG,
                logging.INFO,
                "orders went on",
                looked=found.looked,
                ended=found.ended,
                filled_qty=found.filled_qty,
            )
        for news in found.revived:
            _log_revived(news)
        if found.surplus is not None:
            await self._stop(found.surplus)
        return found

    async def _stop(self, surplus: Surplus) -> None:
        log_event(_LOG, logging.CRITICAL, "more than was planned", surplus=str(surplus))
        await engage_on_surplus(surplus, self.orchestrator.ports)

    def _count(self, found: Round) -> None:
        metrics = self.orchestrator.metrics
        metrics.order_news.labels("ended").inc(found.ended)
        metrics.order_news.labels("revived").inc(len(found.revived))
        metrics.order_news.labels("unanswered").inc(found.unanswered)
        metrics.shares_filled.inc(float(found.filled_qty))


def _log_revived(news: OrderNews) -> None:
    log_event(
        _LOG,
        logging.ERROR,
        "order lives on after its end",
        run_id=str(news.run_id),
        client_order_id=news.client_order_id,
        was=news.before.status,
        now=news.report.status,
        filled_before=news.before.filled_qty,
        filled_now=news.report.filled_qty,
        to_do="compare the position with the broker's: it is not what the run shows",
    )
