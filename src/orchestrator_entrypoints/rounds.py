"""A loop of the service: rounds, with pauses between them, until the service stops.

No round's failure ends a loop. A failure is logged when it begins and when it is over, not at each
round: a database that is away for an hour is two lines.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from attrs import define, field

from orchestrator_core.errors import PortError
from orchestrator_entrypoints.logs import RUN_ID, log_event
from orchestrator_entrypoints.orchestrator import StopFlag

_LOG = logging.getLogger("orchestrator.rounds")


@define(eq=False)
class Rounds:
    """One loop.

    Attributes:
        name: What it does, for the log.
        go_round: Does one round, and returns the seconds to pause after it.
        stop: No round begins once it is set.
        failure_pause: Seconds to pause after a round that failed.
    """

    name: str
    go_round: Callable[[], Awaitable[float]]
    stop: StopFlag
    failure_pause: float
    _is_told_to_end: asyncio.Event = field(factory=asyncio.Event, init=False)
    _problem: str | None = field(default=None, init=False)

    async def keep(self) -> None:
        """Go round until told to end."""
        while not (self.stop.is_set or self._is_told_to_end.is_set()):
            pause = await self._try_round()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._is_told_to_end.wait()

    def end(self) -> None:
        """Let the round under way be the last, and no pause hold it up."""
        self._is_told_to_end.set()

    async def _try_round(self) -> float:
        # A round may name runs in what it logs; what is logged between rounds is of none.
        context = RUN_ID.set(None)
        try:
            pause = await self.go_round()
        except PortError as error:
            self._note(f"{error.port} failed", cause=error.cause)
            return self.failure_pause
        except Exception as error:  # noqa: BLE001 - the edge of a loop: it must go on
            self._note(f"broken by {type(error).__name__}", broken=True)
            return self.failure_pause
        finally:
            RUN_ID.reset(context)
        self._note(None)
        return pause

    def _note(self, problem: str | None, *, broken: bool = False, cause: str | None = None) -> None:
        if problem == self._problem:
            return
        self._problem = problem
        if problem is None:
            log_event(_LOG, logging.INFO, f"{self.name} goes on")
            return
        fields = {"problem": problem, "cause": cause}
        if broken:
            _LOG.exception("%s held up", self.name, extra={"fields": fields})
        else:
            log_event(_LOG, logging.WARNING, f"{self.name} held up", **fields)
