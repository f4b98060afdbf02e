"""Orders as the parameters of the stored functions, and rows of Postgres as runs and orders.

Many rows go in as one array a column, each array as its text: a text costs a tenth of what the
driver takes to convert a list value by value.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from attrs import evolve

from orchestrator_adapters.order_rows import (
    ORDER_COLUMNS,
    OUTCOME_COLUMNS,
    order_of_row,
    order_values,
    outcome_values,
)
from orchestrator_adapters.run_rows import run_id_of, run_of_row
from orchestrator_adapters.run_rules import NOT_BY_SETTLEMENT
from orchestrator_adapters.storable import storable_report, storable_settlement
from orchestrator_core.commits import OrderNews
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId, Symbol
from orchestrator_core.lifecycle import HOLDS_ID, ORDER_TRANSITIONS, OrderState, RunStatus
from orchestrator_core.model import OrderIntent, OrderReport, Side, Signal
from orchestrator_core.money import ZERO
from orchestrator_core.orders import Order, Settlement
from orchestrator_core.requests import RunRequest
from orchestrator_core.runs import RecordedOutcome, Run
from orchestrator_core.tracking import has_ended

Row = Mapping[str, Any]

# Numbers need no quoting; a text always does, since a bare NULL is none.
_NUMERIC: Final = frozenset(
    {
        "predicted_return",
        "rank",
        "target_weight",
        "leg",
        "order_qty",
        "filled_qty",
        "filled_qty_before",
        "filled_avg_price",
        "follow_seconds",
        "sizing_price",
    }
)
_BOOLEAN: Final = frozenset({"canceled_on_arrival", "is_live"})
_PLANNED_COLUMNS: Final = (
    "symbol",
    "predicted_return",
    "rank",
    "target_weight",
    "client_order_id",
    "leg",
    "order_qty",
    "order_side",
    "order_type",
    "time_in_force",
    "state",
    "reason",
    "skip_reason",
    "sizing_price",
    "contributions",
)

_SETTLED_COLUMNS: Final = ("client_order_id", *OUTCOME_COLUMNS, "follow_seconds", "is_live")
_NEWS_COLUMNS: Final = (
    "run_id",
    "client_order_id",
    "status_before",
    "filled_qty_before",
    "gateway_status",
    "gateway_order_id",
    "broker_order_id",
    "filled_qty",
    "filled_avg_price",
    "message",
    "follow_seconds",
    "is_live",
)

# A settlement says nothing of the signal; `outcome_values` does not look at it.
ANY_SIGNAL: Final = Signal(Symbol("ANY"), 0.0, 1, 0.0)


def text_array(values: Iterable[str | None]) -> str:
    """Return an array of texts in the form that Postgres reads."""
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def _quoted(text: str) -> str:
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def number_array(values: Iterable[Decimal | float | None]) -> str:
    """Return an array of numbers in the form that Postgres reads, exact."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def boolean_array(values: Iterable[bool | None]) -> str:
    """Return an array of truth values in the form that Postgres reads."""
    return "{" + ",".join(["NULL" if value is None else "ft"[value] for value in values]) + "}"


STEPS: Final = text_array(
    f"{before.value}>{after.value}"
    for before, afters in ORDER_TRANSITIONS.items()
    for after in sorted(afters - NOT_BY_SETTLEMENT)
)
HOLDING: Final = text_array(sorted(state.value for state in HOLDS_ID))


def plan_arrays(orders: Sequence[Order], run_id: RunId) -> list[str]:
    """Return one array for each of the plan's columns, in the order of the function's parameters.

    Args:
        orders: As planned, in the signals' order.
        run_id: Their run.
    """
    rows = [
        (*order_values(order, run_id=run_id, position=place), *outcome_values(order))
        for place, order in enumerate(orders)
    ]
    return _arrays(rows, (*ORDER_COLUMNS, *OUTCOME_COLUMNS), _PLANNED_COLUMNS)


def settlement_arrays(settlements: Iterable[Settlement]) -> list[str]:
    """Return one array for each of `_SETTLED_COLUMNS`."""
    rows = []
    for given in settlements:
        settlement = storable_settlement(given)
        report = settlement.report
        outcome = Order(
            ANY_SIGNAL,
            settlement.state,
            reason=settlement.reason,
            report=report,
            canceled_on_arrival=settlement.is_canceled_on_arrival,
        )
        is_live = None if report is None else not has_ended(report.status)
        rows.append(
            (
                settlement.client_order_id,
                *outcome_values(outcome),
                settlement.follow_seconds,
                is_live,
            )
        )
    return _arrays(rows, _SETTLED_COLUMNS, _SETTLED_COLUMNS)


def news_arrays(news: Iterable[OrderNews]) -> list[str]:
    """Return one array for each of `_NEWS_COLUMNS`."""
    rows = []
    for each in news:
        report = storable_report(each.report)
        rows.append(
            (
                str(each.run_id),
                each.client_order_id,
                each.before.status,
                each.before.filled_qty,
                report.status,
                report.gateway_order_id,
                report.broker_order_id,
                report.filled_qty,
                report.filled_avg_price,
                report.message,
                each.follow_seconds,
                not has_ended(report.status),
            )
        )
    return _arrays(rows, _NEWS_COLUMNS, _NEWS_COLUMNS)


def _arrays(
    rows: Sequence[tuple[Any, ...]], columns: Sequence[str], wanted: Sequence[str]
) -> list[str]:
    if not rows:
        return ["{}"] * len(wanted)
    by_name = dict(zip(columns, zip(*rows, strict=True), strict=True))
    return [_array(name, by_name[name]) for name in wanted]


def _array(name: str, values: Iterable[Any]) -> str:
    if name in _NUMERIC:
        return number_array(values)
    return boolean_array(values) if name in _BOOLEAN else text_array(values)


def report_json(text: str) -> str:
    """Return a JSON text as the binary JSON type takes it: NUL stays out of it."""
    return text.encode("utf-8", "replace").decode().replace("\\u0000", "\\ufffd")


def run_of(row: Row, order_rows: Iterable[Row]) -> Run:
    """Return the run of its row and its orders' rows, in the signals' order."""
    if row["request"] is None:
        return _recorded_run(row, order_rows)
    metadata = row["signal_metadata"]
    response = None if metadata is None else {"metadata": json.loads(metadata)}
    whole = {**row, "signal_service_response": response}
    return run_of_row(whole, [order_of_row(order) for order in order_rows])


# Runs of the replaced service


def _recorded_run(row: Row, order_rows: Iterable[Row]) -> Run:
    orders = tuple(_recorded_order(order) for order in order_rows)
    completed_at: datetime | None = row["completed_at"]
    capital: Decimal = row["capital"]
    cap: Decimal | None = row["max_position_size"]
    return Run(
        run_id=run_id_of(row["run_id"]),
        strategy_id=StrategyId(row["strategy_id"]),
        as_of_date=row["as_of_date"],
        request=RunRequest(
            symbols=tuple(Symbol(symbol) for symbol in row["symbols"]),
            as_of_date=row["as_of_date"],
            capital=capital,
            max_position_size=capital if cap is None else cap,
        ),
        started_at=row["started_at"].astimezone(UTC),
        completed_at=None if completed_at is None else completed_at.astimezone(UTC),
        orders=orders,
        num_signals=row["num_signals"] or 0,
        signal_metadata=_metadata_of(row["signal_service_response"]),
        recorded=RecordedOutcome(
            status=RunStatus(row["status"]),
            num_orders_submitted=row["num_orders_submitted"] or 0,
            num_orders_accepted=row["num_orders_accepted"] or 0,
            num_orders_rejected=row["num_orders_rejected"] or 0,
            num_orders_filled=row["num_orders_filled"],
            error_message=row["error_message"],
        ),
    )


def _metadata_of(response: object) -> Mapping[str, Any] | None:
    metadata = response.get("metadata") if isinstance(response, dict) else None
    return metadata if isinstance(metadata, dict) else None


_FAILED_PREFIX: Final = "submission_failed: "
_FAILED_WORDS: Final = frozenset({"rejected", "failed"})


def _recorded_order(row: Row) -> Order:
    """Return an order whose public words are those that were recorded.

    The replaced service recorded a time-out as a rejection: no state of ours is claimed for what it
    did not know.
    """
    status, words = row["order_status"], row["skip_reason"]
    order = Order(
        signal=Signal(
            symbol=Symbol(row["symbol"]),
            predicted_return=float(row["predicted_return"] or 0),
            rank=int(row["rank"] or 0),
            target_weight=float(row["target_weight"] or 0),
        ),
        state=OrderState.SKIPPED,
        intent=_recorded_intent(row),
        reason=words,
    )
    if status is None:
        return order
    report = OrderReport(
        status=status,
        gateway_order_id=row["client_order_id"] or "",
        broker_order_id=row["broker_order_id"],
        filled_qty=ZERO if row["filled_qty"] is None else row["filled_qty"],
        filled_avg_price=row["filled_avg_price"],
    )
    if words is not None or status in _FAILED_WORDS:
        cause = (words or status).removeprefix(_FAILED_PREFIX)
        return evolve(order, state=OrderState.REJECTED, reason=cause, report=report)
    return evolve(order, state=OrderState.ACCEPTED, reason=None, report=report)


def _recorded_intent(row: Row) -> OrderIntent | None:
    qty, side = row["order_qty"], row["order_side"]
    if qty is None or qty <= 0 or side not in {"buy", "sell"}:
        return None
    return OrderIntent(
        client_order_id=ClientOrderId(row["client_order_id"] or ""),
        symbol=Symbol(row["symbol"]),
        side=Side(side),
        qty=int(qty),
    )
