"""What became of one date's run, as a result shows it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal

from attrs import evolve, field, frozen

from orchestrator_core.allocating import allocation_of
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.plans import OrderPlan
from orchestrator_entrypoints.backtests.fills import Fill
from orchestrator_entrypoints.backtests.kept_runs import HALTED, KeptRun
from orchestrator_entrypoints.backtests.result import OrderRow
from orchestrator_entrypoints.backtests.stage import Staged


@frozen
class RunFigures:
    """What a day's row says of its run; see `result.Day`."""

    run_status: str
    failure: str | None = None
    orders: int = 0
    filled: int = 0
    partial: int = 0
    rejected: int = 0
    not_placed: int = 0
    denials: Mapping[str, int] = field(factory=dict, hash=False)
    leftover_cash: Decimal | None = None
    tracking_error: Decimal | None = None


def run_figures_of(staged: Staged) -> RunFigures:
    """Return what a day's row says of its run."""
    failure = _failure_of(staged)
    if staged.run is None:
        return RunFigures(HALTED, failure)
    status = staged.run.status.value
    if staged.record is None:
        return RunFigures(status, failure)
    plan = staged.record.plan
    allocation = allocation_of(plan, staged.record.snapshot)
    stored = staged.run.orders or ()
    return RunFigures(
        run_status=status,
        failure=failure,
        orders=sum(decision.is_to_be_sent for decision in plan.decisions),
        filled=sum(order.standing.filled for order in stored),
        partial=sum(
            order.state is OrderState.ACCEPTED and not order.standing.filled for order in stored
        ),
        rejected=sum(order.state is OrderState.REJECTED for order in stored),
        not_placed=sum(order.state is OrderState.NOT_PLACED for order in stored),
        denials=_denials_of(plan),
        leftover_cash=allocation.leftover_cash,
        tracking_error=allocation.tracking_error,
    )


def _failure_of(staged: Staged) -> str | None:
    cause = None if staged.run is None else staged.run.cause
    return staged.halt if cause is None else cause.message


def _denials_of(plan: OrderPlan) -> Mapping[str, int]:
    codes = Counter(
        decision.denial.code.value for decision in plan.decisions if decision.denial is not None
    )
    return dict(sorted(codes.items()))


def kept_run_of(staged: Staged, strategy_id: StrategyId, day: date) -> KeptRun:
    """Return the run as it is kept."""
    cause = None if staged.run is None else staged.run.cause
    kept = KeptRun(
        run_id=staged.run_id,
        strategy_id=strategy_id,
        as_of_date=day,
        started_at=staged.started_at,
        status=HALTED if staged.run is None else staged.run.status.value,
        failure=_failure_of(staged),
        code=cause.kind.value if cause is not None else None,
    )
    return kept if staged.record is None else kept.keeping(staged.record.snapshot)


def rows_of(staged: Staged, day: date) -> Iterator[OrderRow]:
    """Return the orders of a run, those denied among them."""
    if staged.run is None:
        return
    fills = {fill.intent.client_order_id: fill for fill in staged.fills}
    for order in staged.run.orders or ():
        intent = order.intent
        if intent is None:
            continue
        fill = fills.get(intent.client_order_id)
        row = OrderRow(
            as_of_date=day,
            client_order_id=intent.client_order_id,
            symbol=intent.symbol,
            side=intent.side.value,
            qty=intent.qty,
            leg=intent.leg,
            state=order.state.value,
            gateway_status=None if order.report is None else order.report.status,
            reason=order.reason,
            price=order.price,
        )
        yield row if fill is None else _with_fill(row, fill)


def _with_fill(row: OrderRow, fill: Fill) -> OrderRow:
    return evolve(
        row,
        filled_qty=fill.qty,
        fill_price=fill.price,
        commission=fill.commission,
        slippage=fill.slippage,
    )
