"""Runs and their orders as clients read them, over HTTP and on the command line."""

from orchestrator_core.allocating import Allocation
from orchestrator_core.explaining import Waterfall
from orchestrator_core.lifecycle import OrderState, RunStatus, Tally
from orchestrator_core.orders import Order
from orchestrator_core.plans import SkipReason
from orchestrator_core.resolving import RESOLVABLE
from orchestrator_core.runs import RecordedOutcome, Run, RunFailure, RunPage
from orchestrator_entrypoints.attributions import attributions_of
from orchestrator_entrypoints.explanations import Explained
from orchestrator_entrypoints.failure_words import FAILURES
from orchestrator_entrypoints.wire import (
    AllocationShown,
    ExplainedStep,
    JsonObject,
    OrchestrationResult,
    OrchestrationRuns,
    OrchestrationRunSummary,
    SignalOrderMapping,
)

REJECTED_NOTE = (
    "A rejection is final for its decision: a new rebalance_key asks for the symbol once more"
)
RUNNING_NOTE = "Not everything is settled yet: look at this run again, do not repeat it by hand"
STOPPED_NOTE = "No order was let go"
WAITING_NOTE = (
    "An order waits for an operator, who closes it on evidence: orchestrator orders resolve"
)


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
    _, error = FAILURES[failure.kind]
    return f"{error}: {failure.message}"


def _note(run: Run, status: RunStatus) -> str | None:
    if run.recorded is not None:
        return None
    orders = run.orders or ()
    if status is RunStatus.RUNNING:
        return WAITING_NOTE if waits_for_operator(run) else RUNNING_NOTE
    notes = []
    unpriced = sum(map(_is_unpriced, orders))
    if is_wholly_stopped(run):
        denied = sum(order.state is OrderState.DENIED for order in orders)
        why = f": limits denied {denied} of {len(orders)} signals" if denied else ""
        notes.append(f"{STOPPED_NOTE}{why}")
    if unpriced:
        notes.append(f"{unpriced} of {len(orders)} signals had no usable price")
    if any(order.standing.state is OrderState.REJECTED for order in orders):
        notes.append(REJECTED_NOTE)
    return ". ".join(notes) or None


def waits_for_operator(run: Run) -> bool:
    """Whether an order of the run is settled by nobody but an operator."""
    return any(order.standing.state in RESOLVABLE for order in run.orders or ())


def is_wholly_stopped(run: Run) -> bool:
    """Whether a completed run has orders to give, and limits or lacking prices let none go."""
    orders = run.orders or ()
    stopped = [order.state is OrderState.DENIED or _is_unpriced(order) for order in orders]
    return (
        run.recorded is None
        and run.status is RunStatus.COMPLETED
        and any(stopped)
        and all(
            is_stopped or (order.state is OrderState.SKIPPED and order.reason != SkipReason.DRY_RUN)
            for order, is_stopped in zip(orders, stopped, strict=True)
        )
    )


def _is_unpriced(order: Order) -> bool:
    return order.state is OrderState.SKIPPED and (order.reason or "").startswith(
        SkipReason.PRICE_UNAVAILABLE
    )


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
