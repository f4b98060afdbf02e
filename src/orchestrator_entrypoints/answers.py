"""From what the core says to what a client is told: status, headers and body.

The table of answers in the public contract is written down here and nowhere else.
"""

from collections.abc import Mapping
from math import ceil

from attrs import field, frozen

from orchestrator_core.allocating import Allocation
from orchestrator_core.errors import Conflict, TradingHalted
from orchestrator_core.explaining import Waterfall
from orchestrator_core.identifiers import RunId
from orchestrator_core.lifecycle import OrderState, RunStatus, Tally
from orchestrator_core.orders import Order
from orchestrator_core.plans import SkipReason
from orchestrator_core.resolving import RESOLVABLE
from orchestrator_core.runs import FailureKind, RecordedOutcome, Run, RunFailure, RunPage
from orchestrator_entrypoints.attributions import attributions_of
from orchestrator_entrypoints.explanations import Explained
from orchestrator_entrypoints.wire import (
    AllocationShown,
    ExplainedStep,
    JsonObject,
    OrchestrationResult,
    OrchestrationRuns,
    OrchestrationRunSummary,
    PlainError,
    Refusal,
    RefusalError,
    ShapeError,
    SignalOrderMapping,
)
from orchestrator_entrypoints.wire_json import WrongShape

REJECTED_NOTE = (
    "A rejection is final for its decision: a new rebalance_key asks for the symbol once more"
)
RUNNING_NOTE = "Not everything is settled yet: look at this run again, do not repeat it by hand"
WAITING_NOTE = (
    "An order waits for an operator, who closes it on evidence: orchestrator orders resolve"
)


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


# Runs


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


_FAILURES: dict[FailureKind, tuple[int, str]] = {
    FailureKind.SIGNALS_UNAVAILABLE: (503, "Signal Service unavailable"),
    FailureKind.SIGNALS_REFUSED: (400, "Signal Service refused the request"),
    FailureKind.SIGNALS_MALFORMED: (502, "Signal Service answered outside its contract"),
    FailureKind.PRICES_UNAVAILABLE: (503, "Prices unavailable"),
    FailureKind.POSITIONS_UNAVAILABLE: (503, "Positions unavailable"),
    FailureKind.THROTTLED: (503, "Strategy throttled"),
    FailureKind.BOOK_MOVED: (503, "Strategy busy"),
    FailureKind.BASKET_REFUSED: (400, "Basket refused"),
    FailureKind.GATEWAY_UNAVAILABLE: (503, "Execution Gateway unavailable"),
    FailureKind.GATEWAY_UNSAFE: (503, "Execution Gateway not verified as safe"),
    FailureKind.HALTED: (503, "Trading halted"),
    FailureKind.BUDGET_UNAVAILABLE: (503, "Order budget unavailable"),
    FailureKind.DATABASE_UNAVAILABLE: (503, "Run database unavailable"),
    FailureKind.STOPPED: (503, "Service stopping"),
    FailureKind.ABANDONED: (503, "Run abandoned"),
    FailureKind.UNFORESEEN: (500, "Internal error"),
}

# Kinds where a brake, or doubt about one, stops trading.
_FAILS_CLOSED = frozenset(
    {
        FailureKind.GATEWAY_UNSAFE,
        FailureKind.HALTED,
        FailureKind.BUDGET_UNAVAILABLE,
        FailureKind.THROTTLED,
    }
)


def _failed(run_id: RunId, failure: RunFailure) -> tuple[int, Refusal]:
    status, error = _FAILURES[failure.kind]
    return status, Refusal(
        error=error,
        message=failure.message,
        fail_closed=True if failure.kind in _FAILS_CLOSED else None,
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


def result_of(run: Run, explained: Explained | None = None) -> OrchestrationResult:
    """Return the run as clients read it, explained where that was asked for."""
    waterfalls = {} if explained is None else explained.waterfalls
    tally = run.tally
    outcome = _outcome_of(run, tally)
    metadata = run.signal_metadata
    return OrchestrationResult(
        run_id=run.run_id,
        status=outcome.status,
        strategy_id=run.strategy_id,
        as_of_date=run.as_of_date,
        symbols=run.request.symbols,
        capital=run.request.capital,
        num_signals=run.num_signals,
        signal_metadata=None if metadata is None else JsonObject(metadata),
        num_orders_submitted=outcome.num_orders_submitted,
        num_orders_accepted=outcome.num_orders_accepted,
        num_orders_rejected=outcome.num_orders_rejected,
        num_orders_filled=outcome.num_orders_filled,
        mappings=tuple(
            mapping_of(order, waterfalls.get((order.signal.symbol, leg_of(order))))
            for order in run.orders or ()
        ),
        started_at=run.started_at,
        completed_at=run.completed_at,
        duration_seconds=run.duration_seconds,
        error_message=outcome.error_message,
        max_position_size=run.request.max_position_size,
        dry_run=run.request.dry_run,
        rebalance_key=run.request.rebalance_key,
        num_orders_open=tally.open,
        note=_with_words(_note(run, outcome.status), explained),
        allocation=None if explained is None else _allocation(explained.allocation),
    )


def _allocation(allocation: Allocation | None) -> AllocationShown | None:
    if allocation is None:
        return None
    return AllocationShown(
        investable=allocation.investable,
        wanted=allocation.wanted,
        allocated=allocation.allocated,
        leftover_cash=allocation.leftover_cash,
        tracking_error=allocation.tracking_error,
    )


def _outcome_of(run: Run, tally: Tally) -> RecordedOutcome:
    if run.recorded is not None:
        return run.recorded
    cause = run.cause
    return RecordedOutcome(
        status=run.status,
        num_orders_submitted=tally.submitted,
        num_orders_accepted=tally.accepted,
        num_orders_rejected=tally.rejected,
        num_orders_filled=None if run.orders is None else tally.filled,
        error_message=None if cause is None else _told(cause),
    )


def _told(failure: RunFailure) -> str:
    _, error = _FAILURES[failure.kind]
    return f"{error}: {failure.message}"


def _note(run: Run, status: RunStatus) -> str | None:
    if run.recorded is not None:
        return None
    orders = run.orders or ()
    if status is RunStatus.RUNNING:
        is_waiting = any(order.standing.state in RESOLVABLE for order in orders)
        return WAITING_NOTE if is_waiting else RUNNING_NOTE
    notes = []
    unpriced = sum(
        (order.skip_reason or "").startswith(SkipReason.PRICE_UNAVAILABLE) for order in orders
    )
    if unpriced:
        notes.append(f"{unpriced} of {len(orders)} signals had no usable price")
    if any(order.standing.state is OrderState.REJECTED for order in orders):
        notes.append(REJECTED_NOTE)
    return ". ".join(notes) or None


def _with_words(note: str | None, explained: Explained | None) -> str | None:
    """Return the note with a warning, and with why a run cannot be explained."""
    warning = trouble = None
    if explained is not None:
        warning, why = explained.warning, explained.trouble
        trouble = None if why is None else f"It cannot be explained: {why}"
    return ". ".join(words for words in (warning, note, trouble) if words) or None


def leg_of(order: Order) -> int:
    """Return which order of its symbol it is: 1 for the second of a flip through zero."""
    return 0 if order.intent is None else order.intent.leg


def mapping_of(order: Order, waterfall: Waterfall | None = None) -> SignalOrderMapping:
    """Return one order as clients read it, with its explanation where there is one."""
    intent, report = order.intent, order.public_report
    return SignalOrderMapping(
        symbol=order.signal.symbol,
        predicted_return=order.signal.predicted_return,
        rank=order.signal.rank,
        target_weight=order.signal.target_weight,
        client_order_id=None if intent is None else intent.client_order_id,
        order_qty=None if intent is None else intent.qty,
        order_side=None if intent is None else intent.side,
        broker_order_id=None if report is None else report.broker_order_id,
        order_status=order.order_status,
        filled_qty=None if report is None else report.filled_qty,
        filled_avg_price=None if report is None else report.filled_avg_price,
        skip_reason=order.skip_reason,
        order_state=order.state,
        adopted_from_run_id=None if order.owner is None else order.owner.run_id,
        leg=None if intent is None else intent.leg,
        sizing_price=order.price,
        attributions=attributions_of(order),
        explanation=None if waterfall is None else steps_of(waterfall),
    )


def steps_of(waterfall: Waterfall) -> tuple[ExplainedStep, ...]:
    """Return the steps of a decision as clients read them."""
    return tuple(
        ExplainedStep(name=step.name, value=step.value, bound=step.bound, note=step.note)
        for step in waterfall
    )


def page_of(page: RunPage, *, limit: int, offset: int) -> OrchestrationRuns:
    """Return a page of runs as clients read it."""
    return OrchestrationRuns(
        runs=tuple(
            OrchestrationRunSummary(
                run_id=run.run_id,
                status=run.status,
                strategy_id=run.strategy_id,
                as_of_date=run.as_of_date,
                num_signals=run.num_signals,
                num_orders_submitted=run.num_orders_submitted,
                num_orders_accepted=run.num_orders_accepted,
                num_orders_rejected=run.num_orders_rejected,
                started_at=run.started_at,
                completed_at=run.completed_at,
                duration_seconds=run.duration_seconds,
            )
            for run in page.runs
        ),
        total=page.total,
        limit=limit,
        offset=offset,
    )
