"""Accepted orders that are followed until they end at the gateway, in a SQLite file."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from orchestrator_adapters.order_rows import followed_of_row
from orchestrator_adapters.run_rows import run_id_of, time_of
from orchestrator_adapters.run_rules import hear
from orchestrator_adapters.sqlite.orders import (
    FOLLOWED_COLUMNS,
    find_orders,
    id_of,
    orders_of,
    sqlite_value,
    update_outcomes,
)
from orchestrator_core.commits import FollowedOrder, OrderNews
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId
from orchestrator_core.lifecycle import tally_orders

# CROSS JOIN: the orders that are due are few, the strategy's runs are many.
SELECT_DUE = (
    f"SELECT {FOLLOWED_COLUMNS} FROM signal_order_mappings m"  # noqa: S608 - names of ours
    " CROSS JOIN orchestration_runs r USING (run_id)"
    " WHERE m.follow_at <= :now AND r.strategy_id = :strategy_id"
    " ORDER BY m.follow_at, m.id LIMIT :limit"
)
SELECT_LIVE = (
    f"SELECT {FOLLOWED_COLUMNS} FROM signal_order_mappings m"  # noqa: S608 - names of ours
    " WHERE m.is_live = 1 AND m.client_order_id > :after"
    " ORDER BY m.client_order_id LIMIT :limit"
)


def follow(
    connection: sqlite3.Connection,
    run_id: RunId,
    times: Mapping[ClientOrderId, datetime | None],
) -> None:
    """Write down when the gateway is asked about each order; None: no more."""
    connection.executemany(
        "UPDATE signal_order_mappings SET follow_at = ? WHERE run_id = ? AND client_order_id = ?",
        [(sqlite_value(at), str(run_id), id_) for id_, at in times.items()],
    )


def take_followed(
    connection: sqlite3.Connection,
    strategy_id: StrategyId,
    limit: int,
    hold_seconds: float,
    now: datetime,
) -> tuple[FollowedOrder, ...]:
    """Return orders to be asked about, each held; see `RunRepository.take_followed`."""
    wish = {"now": sqlite_value(now), "strategy_id": strategy_id, "limit": max(limit, 0)}
    rows = connection.execute(SELECT_DUE, wish).fetchall()
    held_until = sqlite_value(now + timedelta(seconds=hold_seconds))
    connection.executemany(
        "UPDATE signal_order_mappings SET follow_at = ? WHERE id = ?",
        [(held_until, row["id"]) for row in rows],
    )
    return _followed(rows, now)


def live_orders(
    connection: sqlite3.Connection, after: ClientOrderId | None, limit: int, now: datetime
) -> tuple[FollowedOrder, ...]:
    """Return accepted orders that had not ended; see `RunRepository.live_orders`."""
    rows = connection.execute(SELECT_LIVE, {"after": after or "", "limit": max(limit, 0)})
    return _followed(rows, now)


def _followed(rows: Iterable[sqlite3.Row], now: datetime) -> tuple[FollowedOrder, ...]:
    return tuple(
        followed_of_row(
            {**dict(row), "age_seconds": (now - time_of(row["claimed_at"])).total_seconds()}
        )
        for row in rows
    )


def record_news(connection: sqlite3.Connection, news: Sequence[OrderNews], now: datetime) -> None:
    """Record what looks brought, and what follows from it; see `RunRepository.record_news`."""
    by_run: dict[RunId, list[OrderNews]] = {}
    for each in news:
        by_run.setdefault(each.run_id, []).append(each)
    for run_id, of_run in by_run.items():
        changed = _hear_of_run(connection, run_id, of_run, now)
        if changed:
            _recount(connection, run_id, changed, now)
            for adopter in _adopters_of(connection, run_id, changed):
                _recount(connection, adopter, changed, now)


def _hear_of_run(
    connection: sqlite3.Connection, run_id: RunId, news: Sequence[OrderNews], now: datetime
) -> set[ClientOrderId]:
    """Store the later words of a run's orders; return those that changed."""
    orders = find_orders(connection, run_id, (each.client_order_id for each in news))
    changed, times = {}, {}
    for each in news:
        id_ = each.client_order_id
        order = orders.get(id_)
        if order is None:
            continue
        heard = hear(order, each)
        if heard is order:
            continue
        wait = each.follow_seconds
        times[id_] = None if wait is None else now + timedelta(seconds=wait)
        if heard != order:
            orders[id_] = changed[id_] = heard
    update_outcomes(connection, run_id, changed.values(), now)
    follow(connection, run_id, times)
    return set(changed)


def _adopters_of(
    connection: sqlite3.Connection, owner: RunId, ids: set[ClientOrderId]
) -> list[RunId]:
    """Return the runs that have adopted any of these orders."""
    rows = connection.execute(
        "SELECT run_id, client_order_id FROM signal_order_mappings WHERE owner_run_id = ?",
        (str(owner),),
    )
    found = {row["run_id"] for row in rows if row["client_order_id"] in ids}
    return [run_id_of(run_id) for run_id in sorted(found)]


def _recount(
    connection: sqlite3.Connection, run_id: RunId, changed: set[ClientOrderId], now: datetime
) -> None:
    """Bring a run's count of filled orders up to date, and what is shown of those it adopted."""
    orders = orders_of(connection, run_id)
    adopted = [order for order in orders if order.owner is not None and id_of(order) in changed]
    update_outcomes(connection, run_id, adopted, now)
    tally = tally_orders(order.standing for order in orders)
    connection.execute(
        "UPDATE orchestration_runs SET num_orders_filled = ?, updated_at = ? WHERE run_id = ?",
        (tally.filled, sqlite_value(now), str(run_id)),
    )
