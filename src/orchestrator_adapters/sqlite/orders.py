"""Orders as rows of a SQLite file: stored with their plan, claimed, settled, read back.

Each function is given a connection; those that write, one with a write transaction open.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
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
from orchestrator_adapters.run_rows import (
    REGISTERED_OPEN,
    run_id_of,
    settle_once,
    storable_settlement,
)
from orchestrator_core.errors import IllegalTransition
from orchestrator_core.identifiers import ClientOrderId, RunId
from orchestrator_core.lifecycle import HOLDS_ID, OrderState, advance
from orchestrator_core.record import encode_time
from orchestrator_core.commits import OpenOrder, PlanRecord
from orchestrator_core.orders import Order, Owner, Settlement, order_of

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
    " updated_at = ? WHERE run_id = ? AND client_order_id = ?"
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


def settle_orders(
    connection: sqlite3.Connection, run_id: RunId, settlements: Sequence[Settlement], now: datetime
) -> None:
    """Record outcomes; those that stand so already are left alone.

    Raises:
        IllegalTransition: The run has no such order, or its state does not allow the step.
    """
    if not settlements:
        return
    found = _find_orders(connection, run_id, (each.client_order_id for each in settlements))
    settled = dict(found)
    for settlement in settlements:
        order = settled.get(settlement.client_order_id)
        if order is None:
            raise IllegalTransition(f"run {run_id} has no order {settlement.client_order_id}")
        settled[settlement.client_order_id] = settle_once(order, storable_settlement(settlement))
    changed = [order for id_, order in settled.items() if order is not found[id_]]
    update_outcomes(connection, run_id, changed, now)


def take_orders(
    connection: sqlite3.Connection,
    run_id: RunId,
    ids: Iterable[ClientOrderId],
    claim: tuple[int, int],
    now: datetime,
) -> None:
    """Set those of the orders that are PLANNED to SENDING.

    Args:
        connection: In a write transaction.
        run_id: Whose orders.
        ids: The orders wished for.
        claim: Lease epoch and number that they are taken under.
        now: The time of writing.
    """
    sending = [
        evolve(order, state=advance(order.state, OrderState.SENDING), reason=None)
        for order in _find_orders(connection, run_id, ids).values()
        if order.state is OrderState.PLANNED
    ]
    update_outcomes(connection, run_id, sending, now)
    connection.executemany(
        "UPDATE signal_order_mappings SET claim_epoch = ?, claim_number = ?"
        " WHERE run_id = ? AND client_order_id = ?",
        [(*claim, str(run_id), _id_of(order)) for order in sending],
    )


def taken_orders(
    connection: sqlite3.Connection,
    run_id: RunId,
    ids: Sequence[ClientOrderId],
    claim: tuple[int, int],
) -> tuple[ClientOrderId, ...]:
    """Return those of the orders that are SENDING under that claim, in the same order."""
    rows = connection.execute(
        "SELECT client_order_id FROM signal_order_mappings"
        " WHERE run_id = ? AND client_order_id IN (SELECT value FROM json_each(?))"
        " AND state = ? AND claim_epoch = ? AND claim_number = ?",
        (str(run_id), json.dumps(ids), OrderState.SENDING.value, *claim),
    )
    taken = {row["client_order_id"] for row in rows}
    return tuple(id_ for id_ in ids if id_ in taken)


def update_outcomes(
    connection: sqlite3.Connection, run_id: RunId, orders: Iterable[Order], now: datetime
) -> None:
    """Write what became of orders."""
    connection.executemany(
        _UPDATE_OUTCOME,
        [_values(*outcome_values(order), now, run_id, _id_of(order)) for order in orders],
    )


def _find_orders(
    connection: sqlite3.Connection, run_id: RunId, ids: Iterable[ClientOrderId]
) -> dict[ClientOrderId, Order]:
    rows = connection.execute(_SELECT_SOME, (str(run_id), json.dumps(list(ids))))
    return {ClientOrderId(row["client_order_id"]): order_of_row(row) for row in rows}


def _id_of(order: Order) -> ClientOrderId | None:
    return None if order.intent is None else order.intent.client_order_id
