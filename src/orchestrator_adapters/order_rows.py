"""Orders as column values, and back: what the adapters of the run database share.

Values are native or text, as in `orchestrator_adapters.run_rows`.
"""

import json
from decimal import Decimal
from typing import Any

from orchestrator_adapters.run_rows import Row, decimal_or_none, run_id_of
from orchestrator_adapters.storable import storable_or_none
from orchestrator_core.commits import FollowedOrder
from orchestrator_core.errors import IllegalTransition
from orchestrator_core.identifiers import ClientOrderId, RunId, Symbol
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import (
    Contribution,
    OrderIntent,
    OrderReport,
    OrderType,
    Side,
    Signal,
    TimeInForce,
)
from orchestrator_core.money import ZERO
from orchestrator_core.orders import Order, Owner
from orchestrator_core.record import (
    canonical_json,
    decode_contributions,
    encode_contributions,
)

ORDER_COLUMNS = (
    "run_id",
    "position",
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
    "owner_run_id",
    "sizing_price",
    "contributions",
)

# What changes during an order's life.
OUTCOME_COLUMNS = (
    "state",
    "reason",
    "gateway_status",
    "gateway_order_id",
    "broker_order_id",
    "filled_qty",
    "filled_avg_price",
    "message",
    "canceled_on_arrival",
    "order_status",
    "skip_reason",
)

OWNER_PREFIX = "owner_"

# Of an adopted order's owner, read beside it as `owner_state` and so on.
OWNER_COLUMNS = OUTCOME_COLUMNS[:-2]


def order_values(order: Order, *, run_id: RunId, position: int) -> tuple[Any, ...]:
    """Return the values of `ORDER_COLUMNS`.

    Args:
        order: As planned, or adopted.
        run_id: Its run.
        position: Place among the run's signals, from 0.
    """
    signal, intent = order.signal, order.intent
    described: tuple[Any, ...] = (None,) * 6
    if intent is not None:
        described = (
            intent.client_order_id,
            intent.leg,
            intent.qty,
            intent.side.value,
            intent.order_type.value,
            intent.time_in_force.value,
        )
    return (
        run_id,
        position,
        signal.symbol,
        signal.predicted_return,
        signal.rank,
        signal.target_weight,
        *described,
        None if order.owner is None else order.owner.run_id,
        order.price,
        contributions_text(signal),
    )


def contributions_text(signal: Signal) -> str | None:
    """Return what strategies put into a netted signal, as canonical JSON; None of any other."""
    if not signal.contributions:
        return None
    return canonical_json(encode_contributions(signal.contributions))


def outcome_values(order: Order) -> tuple[Any, ...]:
    """Return the values of `OUTCOME_COLUMNS`.

    An adopted order has no report of its own: `gateway_status` is null, and the columns that are
    shown hold the owner's.
    """
    report = order.report
    shown = order.public_report
    return (
        order.state.value,
        storable_or_none(order.reason),
        None if report is None else report.status,
        None if report is None else report.gateway_order_id,
        None if shown is None else shown.broker_order_id,
        None if shown is None else shown.filled_qty,
        None if shown is None else shown.filled_avg_price,
        None if report is None else report.message,
        order.canceled_on_arrival,
        order.order_status,
        storable_or_none(order.skip_reason),
    )


def order_of_row(row: Row) -> Order:
    """Return the order of a row of `ORDER_COLUMNS`, `OUTCOME_COLUMNS` and the owner's columns."""
    owner = None
    if row["owner_run_id"] is not None:
        owner = Owner(
            run_id=run_id_of(row["owner_run_id"]),
            state=OrderState(row["owner_state"]),
            reason=row["owner_reason"],
            report=report_of_row(row, OWNER_PREFIX),
            canceled_on_arrival=bool(row["owner_canceled_on_arrival"]),
        )
    return Order(
        signal=Signal(
            symbol=Symbol(row["symbol"]),
            predicted_return=float(row["predicted_return"]),
            rank=int(row["rank"]),
            target_weight=float(row["target_weight"]),
            contributions=_contributions_of(row["contributions"]),
        ),
        state=OrderState(row["state"]),
        intent=intent_of_row(row),
        reason=row["reason"],
        report=report_of_row(row),
        owner=owner,
        canceled_on_arrival=bool(row["canceled_on_arrival"]),
        price=decimal_or_none(row["sizing_price"]),
    )


def _contributions_of(value: Any) -> tuple[Contribution, ...]:
    """Return the contributions of a column's value: text, or decoded."""
    if value is None:
        return ()
    return decode_contributions(json.loads(value) if isinstance(value, str) else value)


def followed_of_row(row: Row) -> FollowedOrder:
    """Return a followed order of a row of its columns and `age_seconds`.

    Raises:
        IllegalTransition: The row holds no order that the gateway spoke of.
    """
    intent, report = intent_of_row(row), report_of_row(row)
    if intent is None or report is None:
        raise IllegalTransition(f"a followed order of run {row['run_id']} was never acknowledged")
    return FollowedOrder(run_id_of(row["run_id"]), intent, report, float(row["age_seconds"]))


def intent_of_row(row: Row) -> OrderIntent | None:
    """Return the order of a row of `ORDER_COLUMNS`; None where the signal needed none."""
    if row["client_order_id"] is None:
        return None
    return OrderIntent(
        client_order_id=ClientOrderId(row["client_order_id"]),
        symbol=Symbol(row["symbol"]),
        side=Side(row["order_side"]),
        qty=int(row["order_qty"]),
        order_type=OrderType(row["order_type"]),
        time_in_force=TimeInForce(row["time_in_force"]),
        leg=int(row["leg"]),
    )


def report_of_row(row: Row, prefix: str = "") -> OrderReport | None:
    """Return the gateway's word of a row; None where the gateway said none.

    Args:
        row: Of `OUTCOME_COLUMNS`.
        prefix: Of the columns' names.
    """
    status = row[f"{prefix}gateway_status"]
    if status is None:
        return None
    filled_qty = row[f"{prefix}filled_qty"]
    return OrderReport(
        status=status,
        gateway_order_id=row[f"{prefix}gateway_order_id"],
        broker_order_id=row[f"{prefix}broker_order_id"],
        filled_qty=ZERO if filled_qty is None else Decimal(filled_qty),
        filled_avg_price=decimal_or_none(row[f"{prefix}filled_avg_price"]),
        message=row[f"{prefix}message"],
    )
