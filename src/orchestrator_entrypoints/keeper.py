"""What the service does between runs: it watches, and carries news from store to store.

Every few seconds the keeper asks everything that a run needs, which sets the gauges, and does what
the two stores of the kill switch ask for. What one round misses the next finds.
"""

import logging

from attrs import define, field

from orchestrator_core.halting import follow
from orchestrator_core.kill_switch import Halted
from orchestrator_entrypoints.health import HealthObserver, Observation
from orchestrator_entrypoints.logs import log_event
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.rounds import Rounds
from orchestrator_entrypoints.wire import HealthWord

KEEP_SECONDS = 5.0

_LOG = logging.getLogger("orchestrator.keeper")


@define(eq=False)
class Keeper:
    """The loop between runs.

    Attributes:
        pause_seconds: From the end of a round to the next.
    """

    orchestrator: Orchestrator
    health: HealthObserver
    pause_seconds: float = KEEP_SECONDS
    _word_before: HealthWord | None = field(default=None, init=False)

    def rounds(self) -> Rounds:
        """Return the loop that a service keeps up."""
        stop = self.orchestrator.stop
        return Rounds("keeping watch", self.go_round, stop, failure_pause=self.pause_seconds)

    async def go_round(self) -> float:
        """Look at everything, and bring the kill switch's stores together; return the pause."""
        observation = await self.health.observe()
        await self._follow(observation)
        if observation.word is not self._word_before:
            self._log(observation)
        self._word_before = observation.word
        return self.pause_seconds

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
