"""What the service does between runs: it watches, and carries news from store to store.

Every few seconds the keeper asks everything that a run needs, which sets the gauges, and does what
the two stores of the kill switch ask for. It holds no state: what one round misses the next finds.
"""

import asyncio
import logging

from attrs import frozen

from orchestrator_core.halting import follow
from orchestrator_core.kill_switch import Halted
from orchestrator_entrypoints.health import HealthObserver, Observation
from orchestrator_entrypoints.logs import log_event
from orchestrator_entrypoints.orchestrator import Orchestrator

KEEP_SECONDS = 5.0

_LOG = logging.getLogger("orchestrator.keeper")


@frozen
class Keeper:
    """The loop between runs.

    Attributes:
        pause_seconds: From the end of a round to the next.
    """

    orchestrator: Orchestrator
    health: HealthObserver
    pause_seconds: float = KEEP_SECONDS

    async def keep(self) -> None:
        """Go round until cancelled; no round's failure ends it."""
        before = None
        while True:
            try:
                observation = await self.health.observe()
                await self._follow(observation)
                if observation.word is not before:
                    self._log(observation)
                before = observation.word
            except Exception:  # noqa: BLE001 - the edge of the loop: it must go on
                _LOG.exception("round broken")
            await asyncio.sleep(self.pause_seconds)

    async def _follow(self, observation: Observation) -> None:
        verdict = observation.switch.verdict
        if not isinstance(verdict, Halted) or verdict.follow_up is None:
            return
        ports = self.orchestrator.ports
        await follow(observation.switch, ports.kill_switch, ports.runs, ports.clock)
        log_event(
            _LOG,
            logging.WARNING,
            "kill switch followed",
            what=str(verdict.follow_up),
            engaged_by=verdict.engaged_by,
            reason=verdict.reason,
        )

    def _log(self, observation: Observation) -> None:
        causes = observation.problems
        verdict = observation.switch.verdict
        if isinstance(verdict, Halted):
            causes["kill_switch"] = verdict.reason
        log_event(
            _LOG,
            logging.WARNING if causes else logging.INFO,
            "health changed",
            status=str(observation.word),
            **causes,
        )
