"""Orders as rows of a SQLite file: stored with their plan, changed, read back.

Each function is given a connection; those that write, one with a write transaction open.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from attrs import evolve

from orchestrator_adapters.order_rows import (
    ORDER_COLUMNS,
    OUTCOME_COLUMNS,
    OWNER_COLUMNS,
    OWNER_PREFIX,
    order_of_row,
    order_values,
    outcome_values,
    report_of_row,
)
from orchestrator_adapters.run_rows import run_id_of
from orchestrator_adapters.run_rules import REGISTERED_OPEN
from orchestrator_core.commits import OpenOrder, PlanRecord
from orchestrator_core.identifiers import ClientOrderId, RunId
from orchestrator_core.lifecycle import HOLDS_ID, OrderState, advance
from orchestrator_core.orders import Order, Owner, order_of
from orchestrator_core.record import encode_time
from orchestrator_core.tracking import has_ended

_INT64 = 2**63


def sqlite_value(value: object) -> object:
    """Return a value as SQLite stores it: see the first lines of the schema."""
    match value:
        case UUID() | Decimal():
            return str(value)
        case datetime():
            return encode_time(value)
        case date():
            return value.isoformat()
        case int() if not -_INT64 <= value < _INT64:
            return str(value)
        case _:
            return value


def _values(*values: object) -> list[object]:
    return [sqlite_value(value) for value in values]


def in_states(states: Iterable[OrderState]) -> str:
    """Return the SQL list of the states, word for word as the schema's partial indexes have it."""
    return "(" + ", ".join(f"'{state}'" for state in sorted(states)) + ")"


def _names(columns: Iterable[str], *, table: str = "", prefix: str = "") -> str:
    return ", ".join(
        f"{table}{name}" + (f" AS {prefix}{name}" if prefix else "") for name in columns
    )


# The statements are put together from names of ours alone.
_INSERTED = (*ORDER_COLUMNS, *OUTCOME_COLUMNS, "created_at", "updated_at")
_INSERT = (
    f"INSERT INTO signal_order_mappings ({_names(_INSERTED)})"  # noqa: S608
    f" VALUES ({', '.join('?' * len(_INSERTED))})"
)
_UPDATE_OUTCOME = (
    f"UPDATE signal_order_mappings SET {', '.join(f'{name} = ?' for name in OUTCOME_COLUMNS)},"  # noqa: S608
    " is_live = ?, updated_at = ? WHERE run_id = ? AND client_order_id = ?"
)
_SELECT = (
    f"SELECT {_names((*ORDER_COLUMNS, *OUTCOME_COLUMNS), table='m.')},"  # noqa: S608
    f" {_names(OWNER_COLUMNS, table='o.', prefix=OWNER_PREFIX)}"
    " FROM signal_order_mappings m LEFT JOIN signal_order_mappings o"
    " ON o.run_id = m.owner_run_id AND o.client_order_id = m.client_order_id"
    " WHERE m.run_id = ?"
)
_SELECT_SOME = f"{_SELECT} AND m.client_order_id IN (SELECT value FROM json_each(?))"  # noqa: S608
_SELECT_HOLDERS = (
    f"SELECT run_id, client_order_id, {_names(OUTCOME_COLUMNS)} FROM signal_order_mappings"  # noqa: S608
    f" WHERE state IN {in_states(HOLDS_ID)}"
    " AND client_order_id IN (SELECT value FROM json_each(?))"
)
# What `followed_of_row` reads, and what its age is counted from.
FOLLOWED_COLUMNS = _names(("id", *ORDER_COLUMNS, *OUTCOME_COLUMNS, "claimed_at"), table="m.")
_SELECT_OPEN = (
    "SELECT run_id, client_order_id, symbol, state FROM signal_order_mappings"  # noqa: S608
    f" WHERE state IN {in_states(REGISTERED_OPEN)} ORDER BY id"
)


def orders_of(connection: sqlite3.Connection, run_id: RunId) -> tuple[Order, ...]:
    """Return a run's orders, in the signals' order, adopted ones as their owners stand."""
    rows = connection.execute(f"{_SELECT} ORDER BY m.position", (str(run_id),))
    return tuple(order_of_row(row) for row in rows)


def open_orders(connection: sqlite3.Connection) -> tuple[OpenOrder, ...]:
    """Return all orders that may be on the wire, or wait for an operator."""
    return tuple(
        OpenOrder(
            run_id_of(row["run_id"]),
            ClientOrderId(row["client_order_id"]),
            row["symbol"],
            OrderState(row["state"]),
        )
        for row in connection.execute(_SELECT_OPEN)
    )


def insert_orders(
    connection: sqlite3.Connection, run_id: RunId, record: PlanRecord, now: datetime
) -> None:
    """Store a plan's orders; what another run's row holds is stored ADOPTED."""
    planned = [order_of(decision) for decision in record.plan.decisions]
    holders = _holders_of(connection, planned)
    orders = [_adopted_if_held(order, holders) for order in planned]
    connection.executemany(
        _INSERT,
        [
            _values(
                *order_values(order, run_id=run_id, position=position),
                *outcome_values(order),
                now,
                now,
            )
            for position, order in enumerate(orders)
        ],
    )


def _holders_of(
    connection: sqlite3.Connection, orders: Iterable[Order]
) -> dict[ClientOrderId, Owner]:
    ids = [order.intent.client_order_id for order in orders if order.intent is not None]
    return {
        ClientOrderId(row["client_order_id"]): Owner(
            run_id=run_id_of(row["run_id"]),
            state=OrderState(row["state"]),
            reason=row["reason"],
            report=report_of_row(row),
            canceled_on_arrival=bool(row["canceled_on_arrival"]),
        )
        for row in connection.execute(_SELECT_HOLDERS, (json.dumps(ids),))
    }


def _adopted_if_held(order: Order, holders: Mapping[ClientOrderId, Owner]) -> Order:
    if order.intent is None or order.state not in HOLDS_ID:
        return order
    owner = holders.get(order.intent.client_order_id)
    if owner is None:
        return order
    return evolve(order, state=advance(order.state, OrderState.ADOPTED), owner=owner)


def update_outcomes(
    connection: sqlite3.Connection, run_id: RunId, orders: Iterable[Order], now: datetime
) -> None:
    """Write what became of orders."""
    connection.executemany(
        _UPDATE_OUTCOME,
        [
            _values(*outcome_values(order), _is_live(order), now, run_id, id_of(order))
            for order in orders
        ],
    )


def _is_live(order: Order) -> bool:
    """Whether the gateway took the order and, when last heard of, had not ended it."""
    report = order.report
    return (
        order.state is OrderState.ACCEPTED and report is not None and not has_ended(report.status)
    )


def find_orders(
    connection: sqlite3.Connection, run_id: RunId, ids: Iterable[ClientOrderId]
) -> dict[ClientOrderId, Order]:
    """Return those of the orders that the run has."""
    rows = connection.execute(_SELECT_SOME, (str(run_id), json.dumps(list(ids))))
    return {ClientOrderId(row["client_order_id"]): order_of_row(row) for row in rows}


def id_of(order: Order) -> ClientOrderId | None:
    """Return the order's id; None where no order was needed."""
    return None if order.intent is None else order.intent.client_order_id
