"""Outcomes of orders, recorded in a SQLite file."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from orchestrator_adapters.run_rules import settle_once
from orchestrator_adapters.sqlite.following import follow
from orchestrator_adapters.sqlite.orders import find_orders, update_outcomes
from orchestrator_adapters.storable import storable_settlement
from orchestrator_core.errors import IllegalTransition
from orchestrator_core.identifiers import RunId
from orchestrator_core.orders import Settlement


def settle_orders(
    connection: sqlite3.Connection, run_id: RunId, settlements: Sequence[Settlement], now: datetime
) -> None:
    """Record outcomes; those that stand so already are left alone.

    Raises:
        IllegalTransition: The run has no such order, or its state does not allow the step.
    """
    if not settlements:
        return
    found = find_orders(connection, run_id, (each.client_order_id for each in settlements))
    settled = dict(found)
    last = {}
    for settlement in settlements:
        id_ = settlement.client_order_id
        order = settled.get(id_)
        if order is None:
            raise IllegalTransition(f"run {run_id} has no order {id_}")
        settled[id_] = settle_once(order, storable_settlement(settlement))
        if settled[id_] is not order:
            last[id_] = settlement
    update_outcomes(connection, run_id, (settled[id_] for id_ in last), now)
    follow(
        connection,
        run_id,
        {
            id_: (
                None
                if settlement.follow_seconds is None or settled[id_].report is None
                else now + timedelta(seconds=settlement.follow_seconds)
            )
            for id_, settlement in last.items()
        },
    )
    _note_whether_ids_are_kept(connection, run_id, settlements)


def _note_whether_ids_are_kept(
    connection: sqlite3.Connection, run_id: RunId, settlements: Iterable[Settlement]
) -> None:
    """Remember whether the gateway's last acknowledgement came under our id."""
    heard = [
        each.report.gateway_order_id == each.client_order_id
        for each in settlements
        if each.report is not None
    ]
    if heard:
        connection.execute(
            "INSERT INTO gateway_answers (strategy_id, keeps_ids)"
            " SELECT strategy_id, ? FROM orchestration_runs WHERE run_id = ?"
            " ON CONFLICT (strategy_id) DO UPDATE SET keeps_ids = excluded.keeps_ids",
            (heard[-1], str(run_id)),
        )
