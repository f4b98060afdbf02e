"""Settling, again and again, what a crash or a lost answer left open."""

import logging
from collections import Counter

from attrs import frozen

from orchestrator_core.lifecycle import OrderState
from orchestrator_core.recovery import Recovered, recover_run
from orchestrator_entrypoints.logs import RUN_ID, log_event
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.rounds import Rounds

_LOG = logging.getLogger("orchestrator.recovery")


@frozen
class Recoverer:
    """Takes over runs whose holder is gone, or that were given back with an order in doubt."""

    orchestrator: Orchestrator

    def rounds(self) -> Rounds:
        """Return the loop that a service keeps up."""
        pause = self.orchestrator.settings.recovery_seconds
        return Rounds("recovery", self.go_round, self.orchestrator.stop, failure_pause=pause)

    async def go_round(self) -> float:
        """Recover runs until none is due; return the pause until the next look.

        Raises:
            PortError: The run database failed; what was taken comes again when its lease ends.
        """
        while not self.orchestrator.stop.is_set and await self.recover_one() is not None:
            pass
        return self.orchestrator.settings.recovery_seconds

    async def recover_one(self) -> Recovered | None:
        """Recover the run that has waited longest, count and log it; None if none is due.

        Raises:
            PortError: As `recover_run`.
        """
        ports, policy = self.orchestrator.ports, self.orchestrator.policy
        recovered = await recover_run(ports=ports, policy=policy)
        if recovered is not None:
            self._count(recovered)
            _log(recovered)
        return recovered

    def _count(self, recovered: Recovered) -> None:
        if recovered.lost:
            return
        metrics = self.orchestrator.metrics
        for settlement in recovered.settled:
            metrics.orders_recovered.labels(str(settlement.state)).inc()
            metrics.positions_adjusted.inc(settlement.state is OrderState.ACCEPTED)


def _log(recovered: Recovered) -> None:
    run = recovered.run
    RUN_ID.set(str(run.run_id))
    if recovered.lost:
        log_event(_LOG, logging.WARNING, "run lost to another holder")
        return
    states = Counter(str(settlement.state) for settlement in recovered.settled)
    tally = run.tally
    # One look among many that found nothing new calls nobody.
    is_news = recovered.settled or recovered.resent or recovered.unresolved or not tally.open
    log_event(
        _LOG,
        logging.WARNING if is_news and (tally.open or run.failure is not None) else logging.INFO,
        "run recovered",
        status=str(run.status),
        settled=dict(sorted(states.items())),
        resent=recovered.resent,
        unresolved=len(recovered.unresolved),
        accepted=tally.accepted,
        rejected=tally.rejected,
        halted=tally.halted,
        open=tally.open,
        cause=None if run.failure is None else run.failure.message,
    )
