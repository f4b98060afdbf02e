"""From what the core says to what a client is told: status, headers and body.

The table of answers in the public contract is written down here and, for what a run can fail of, in
`orchestrator_entrypoints.failure_words`; nowhere else.
"""

from collections.abc import Mapping
from math import ceil

from attrs import field, frozen

from orchestrator_core.errors import Conflict, TradingHalted
from orchestrator_core.identifiers import RunId
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.runs import Run, RunFailure
from orchestrator_entrypoints.explanations import Explained
from orchestrator_entrypoints.failure_words import FAILS_CLOSED, FAILURES
from orchestrator_entrypoints.shown_runs import result_of
from orchestrator_entrypoints.wire import PlainError, Refusal, RefusalError, ShapeError
from orchestrator_entrypoints.wire_json import WrongShape


@frozen
class Answer:
    """What a client is told."""

    status: int
    body: object
    headers: Mapping[str, str] = field(factory=dict)


def refuse(status: int, refusal: Refusal) -> Answer:
    """Return a refusal, with `Retry-After` where a wait is known."""
    wait = refusal.retry_after
    headers = {} if wait is None else {"Retry-After": str(max(1, ceil(wait)))}
    return Answer(status, RefusalError(detail=refusal), headers)


def answer_problem(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an error that one sentence explains."""
    return Answer(status, PlainError(detail=sentence), headers or {})


def answer_wrong_shape(error: WrongShape) -> Answer:
    """Return the list of the fields that do not fit."""
    return Answer(422, ShapeError(detail=error.problems))


def answer_run(
    run: Run, *, asked_as: RunId | None = None, explained: Explained | None = None
) -> Answer:
    """Return the answer to a request for a run.

    Args:
        run: As it stands.
        asked_as: The id that the request was given; another run answers a repeated key.
        explained: What explains it, where that was asked for.
    """
    headers = {} if asked_as in {None, run.run_id} else {"Idempotency-Replayed": "true"}
    cause = run.cause
    if cause is not None and run.status is RunStatus.FAILED:
        failed = refuse(*_failed(run.run_id, cause))
        return Answer(failed.status, failed.body, {**failed.headers, **headers})
    status = 202 if run.status is RunStatus.RUNNING else 200
    return Answer(status, result_of(run, explained), headers)


def _failed(run_id: RunId, failure: RunFailure) -> tuple[int, Refusal]:
    status, error = FAILURES[failure.kind]
    return status, Refusal(
        error=error,
        message=failure.message,
        fail_closed=True if failure.kind in FAILS_CLOSED else None,
        run_id=run_id,
        retry_after=failure.retry_after,
    )


def answer_halted(halted: TradingHalted) -> Answer:
    """Return the answer to a run that was not begun because nothing may be sent."""
    if halted.by_breaker:
        return refuse(
            503,
            Refusal(
                error=f"Circuit breaker {'tripped' if halted.engaged else 'unavailable'}",
                message="No run is begun; nothing was stored or sent",
                reason=halted.reason,
                fail_closed=None if halted.engaged else True,
            ),
        )
    if halted.engaged:
        return refuse(
            503,
            Refusal(
                error="Kill-switch engaged",
                message="All trading is halted; nothing was stored or sent",
                reason=halted.reason,
                engaged_by=halted.engaged_by,
                engaged_at=halted.engaged_at,
            ),
        )
    return kill_switch_unavailable(halted.reason)


def kill_switch_unavailable(cause: str) -> Answer:
    """Return the answer where the kill switch's state is in doubt."""
    return refuse(
        503,
        Refusal(
            error="Kill-switch unavailable",
            message=f"The kill switch is not known to let orders through: {cause}",
            fail_closed=True,
        ),
    )


def answer_conflict(conflict: Conflict) -> Answer:
    """Return the answer to an idempotency key that cannot be used again."""
    if conflict.kind == "still_running":
        refusal = Refusal(error="Run still going", message=str(conflict), run_id=conflict.run_id)
        return refuse(409, refusal)
    refusal = Refusal(error="Idempotency-Key reused", message=str(conflict), run_id=conflict.run_id)
    return refuse(422, refusal)


def database_unavailable(cause: str, run_id: RunId | None = None) -> Answer:
    """Return the answer where the run database failed; a run sent nothing then."""
    message = cause if run_id is None else f"No order was sent: {cause}"
    return refuse(503, Refusal(error="Run database unavailable", message=message, run_id=run_id))


def service_stopping() -> Answer:
    """Return the answer to a run that comes while the service is being stopped."""
    return refuse(503, Refusal(error="Service stopping", message="No run was begun"))


def internal_error(run_id: RunId | None = None) -> Answer:
    """Return the answer to a fault of ours; the log has the rest."""
    message = "An unforeseen fault was logged"
    return refuse(500, Refusal(error="Internal error", message=message, run_id=run_id))
