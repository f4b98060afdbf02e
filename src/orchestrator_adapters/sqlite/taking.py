"""Taking over runs in a SQLite file, and what waits for it.

A file has one writer at a time, so of takers at once each finds what the one before has left.
"""

import sqlite3
from collections.abc import Iterable
from datetime import datetime

from attrs import frozen

from orchestrator_adapters.run_rows import run_id_of, run_of_row, snapshot_of, time_of
from orchestrator_adapters.run_rules import taken_over
from orchestrator_adapters.sqlite.leases import DUE_AT, hold
from orchestrator_adapters.sqlite.orders import orders_of, sqlite_value, update_outcomes
from orchestrator_core.commits import Backlog, Lease, TakenRun
from orchestrator_core.errors import IllegalTransition
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.orders import Order

# CROSS JOIN: the leases that are due are few, the strategy's runs are many.
_OPEN = (
    "SELECT run_id, lease_epoch FROM run_leases CROSS JOIN orchestration_runs r USING (run_id)"
    " WHERE r.completed_at IS NULL AND r.strategy_id = :strategy_id"
)
SELECT_DUE = (
    f"{_OPEN} AND {DUE_AT} IS NOT NULL AND {DUE_AT} <= :now ORDER BY {DUE_AT}, r.id LIMIT 1"
)
_SELECT_FREE = (
    f"{_OPEN} AND run_id = :run_id AND (lease_expires_at IS NULL OR lease_expires_at <= :now)"
)
SELECT_BACKLOG = (
    f"SELECT count(*) AS runs_due, min({DUE_AT}) AS first_due_at FROM run_leases"  # noqa: S608
    " CROSS JOIN orchestration_runs r USING (run_id)"
    f" WHERE r.completed_at IS NULL AND {DUE_AT} IS NOT NULL AND {DUE_AT} <= :now"
)


# What reading back a record raises that is damaged, or of another version.
_UNREADABLE = (ValueError, KeyError, TypeError, ArithmeticError)


@frozen
class DamagedRun:
    """A run that is held from now on, and cannot be read back.

    Attributes:
        problem: Why not, in one line.
    """

    run_id: RunId
    problem: str


def take_run(
    connection: sqlite3.Connection,
    strategy_id: StrategyId,
    lease_seconds: float,
    run_id: RunId | None,
    now: datetime,
) -> TakenRun | DamagedRun | None:
    """Give a run that is due to a new holder; see `RunRepository.take_run`.

    One that is damaged is held until the lease ends, so that other runs have their turn.
    """
    wish = {"strategy_id": strategy_id, "run_id": sqlite_value(run_id), "now": sqlite_value(now)}
    found = connection.execute(SELECT_DUE if run_id is None else _SELECT_FREE, wish).fetchone()
    if found is None:
        return None
    lease = Lease(run_id_of(found["run_id"]), found["lease_epoch"] + 1, lease_seconds)
    hold(connection, lease, now)
    try:
        return _take_over(connection, lease, now)
    except _UNREADABLE as problem:
        return DamagedRun(lease.run_id, f"{type(problem).__name__}: {problem}")


def _take_over(connection: sqlite3.Connection, lease: Lease, now: datetime) -> TakenRun:
    before = orders_of(connection, lease.run_id)
    orders = [taken_over(each) if each.state is OrderState.SENDING else each for each in before]
    doubtful = [each for each, was in zip(orders, before, strict=True) if each is not was]
    update_outcomes(connection, lease.run_id, doubtful, now)
    return _describe(connection, lease, orders, now)


def _describe(
    connection: sqlite3.Connection, lease: Lease, orders: Iterable[Order], now: datetime
) -> TakenRun:
    row = connection.execute(
        "SELECT * FROM orchestration_runs LEFT JOIN gateway_answers USING (strategy_id)"
        " WHERE run_id = ?",
        (str(lease.run_id),),
    ).fetchone()
    if row is None:
        raise IllegalTransition(f"run {lease.run_id} was stored and is gone")
    return TakenRun(
        lease=lease,
        run=run_of_row(row, orders),
        snapshot=snapshot_of(row["snapshot"]),
        claim_ages=_claim_ages(connection, lease.run_id, now),
        keeps_ids=None if row["keeps_ids"] is None else bool(row["keeps_ids"]),
    )


def _claim_ages(
    connection: sqlite3.Connection, run_id: RunId, now: datetime
) -> dict[ClientOrderId, float]:
    rows = connection.execute(
        "SELECT client_order_id, claimed_at FROM signal_order_mappings"
        " WHERE run_id = ? AND claimed_at IS NOT NULL ORDER BY position",
        (str(run_id),),
    )
    return {
        ClientOrderId(row["client_order_id"]): (now - time_of(row["claimed_at"])).total_seconds()
        for row in rows
    }


def read_backlog(connection: sqlite3.Connection, now: datetime) -> Backlog:
    """Return what waits for recovery; see `RunRepository.backlog`."""
    due = connection.execute(SELECT_BACKLOG, {"now": sqlite_value(now)}).fetchone()
    followed = connection.execute(
        "SELECT count(*) FROM signal_order_mappings WHERE is_live = 1"
    ).fetchone()
    first = due["first_due_at"]
    return Backlog(
        runs_due=due["runs_due"],
        oldest_due_seconds=0.0 if first is None else (now - time_of(first)).total_seconds(),
        orders_followed=followed[0],
    )
