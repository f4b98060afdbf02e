"""Runs under way in this process.

A run is a task of the service, not of the request that asked for it: it goes on when the client
disconnects, and when it takes longer than a client is kept waiting.
"""

import asyncio
import logging
from time import perf_counter
from uuid import uuid4

from attrs import define, field

from orchestrator_core.commits import IdempotencyKey
from orchestrator_core.errors import (
    Conflict,
    OrchestratorError,
    PortError,
    TradingHalted,
)
from orchestrator_core.identifiers import RunId
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.requests import RunRequest
from orchestrator_core.runs import Run
from orchestrator_core.workflow import execute_run
from orchestrator_entrypoints.logs import RUN_ID, log_event
from orchestrator_entrypoints.orchestrator import Orchestrator

LOOK_SECONDS = 2.0

_LOG = logging.getLogger("orchestrator.runs")


class ServiceStopping(OrchestratorError):
    """No run is begun any more."""


class RunBroken(OrchestratorError):
    """A fault of ours ended a run; it is logged, and recorded as far as it went."""


def new_run_id() -> RunId:
    """Return a fresh run id."""
    return RunId(uuid4())


@define
class RunService:
    """Starts runs, and keeps hold of them until they end."""

    orchestrator: Orchestrator
    _tasks: set[asyncio.Task[Run]] = field(factory=set, init=False)

    async def run(
        self, request: RunRequest, *, run_id: RunId, idempotency: IdempotencyKey | None = None
    ) -> Run:
        """Make a run and return it as it stands at its end, or when the caller has waited enough.

        Cancelling the caller does not stop the run.

        Raises:
            ServiceStopping: No run is begun any more.
            TradingHalted: As `execute_run`.
            Conflict: As `execute_run`.
            PortError: As `execute_run`.
            RunBroken: A fault of ours.
        """
        if self.orchestrator.stop.is_set:
            raise ServiceStopping
        started_at = self.orchestrator.ports.clock.now()
        opened = asyncio.Event()
        task = asyncio.create_task(self._execute(request, run_id, idempotency, opened))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        await asyncio.wait({task}, timeout=self.orchestrator.settings.run_answer_seconds)
        # Nobody is told of a run that may never be stored; until then the wait is bounded.
        await _wait_for_either(task, opened)
        if task.done():
            return task.result()
        begun = Run(
            run_id=run_id,
            strategy_id=self.orchestrator.policy.strategy_id,
            as_of_date=request.as_of_date or started_at.date(),
            request=request,
            started_at=started_at,
        )
        return await self._so_far(begun)

    def _forget(self, task: asyncio.Task[Run]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whoever asked may have gone: what the run raised was logged where it happened.
            task.exception()

    async def _so_far(self, begun: Run) -> Run:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                stored = await self.orchestrator.ports.runs.get_run(begun.run_id)
        except (PortError, TimeoutError):
            return begun
        return begun if stored is None else stored

    @property
    def count(self) -> int:
        """Runs under way."""
        return len(self._tasks)

    async def drain(self, seconds: float) -> bool:
        """Wait until no run is under way, for that long at most; say whether that came to be."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=seconds)
        return not self._tasks

    async def _execute(
        self,
        request: RunRequest,
        run_id: RunId,
        idempotency: IdempotencyKey | None,
        opened: asyncio.Event,
    ) -> Run:
        RUN_ID.set(str(run_id))
        began = perf_counter()
        succeeded = False
        try:
            run = await execute_run(
                request,
                run_id=run_id,
                ports=self.orchestrator.ports,
                policy=self.orchestrator.policy,
                idempotency=idempotency,
                opened=opened.set,
            )
            succeeded = run.status in {RunStatus.COMPLETED, RunStatus.PARTIAL}
            _log_end(run, perf_counter() - began)
        except (TradingHalted, Conflict, PortError) as refusal:
            self._count_refusal(refusal)
            log_event(
                _LOG,
                logging.WARNING,
                "run refused",
                kind=type(refusal).__name__,
                reason=str(refusal),
            )
            raise
        except Exception as error:
            _LOG.exception("run broken")
            raise RunBroken(type(error).__name__) from error
        finally:
            self.orchestrator.metrics.observe_run(
                succeeded=succeeded, seconds=perf_counter() - began
            )
        return run

    def _count_refusal(self, refusal: OrchestratorError) -> None:
        match refusal:
            case TradingHalted(engaged=True):
                reason = "engaged"
            case TradingHalted():
                reason = "in_doubt"
            case Conflict():
                reason = "conflict"
            case _:
                reason = "database"
        self.orchestrator.metrics.runs_refused.labels(reason).inc()


async def _wait_for_either(task: "asyncio.Task[Run]", event: asyncio.Event) -> None:
    """Wait until the task is done or the event is set."""
    if task.done() or event.is_set():
        return
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


def _log_end(run: Run, seconds: float) -> None:
    tally = run.tally
    failure = run.failure
    log_event(
        _LOG,
        logging.INFO if failure is None and not tally.open else logging.WARNING,
        "run ended",
        status=str(run.status),
        seconds=round(seconds, 4),
        signals=run.num_signals,
        submitted=tally.submitted,
        accepted=tally.accepted,
        rejected=tally.rejected,
        halted=tally.halted,
        open=tally.open,
        failure=None if failure is None else str(failure.kind),
        cause=None if failure is None else failure.message,
    )
