"""Accepted orders that are followed in Postgres."""

from collections.abc import Sequence
from typing import Final

from orchestrator_adapters.order_rows import followed_of_row
from orchestrator_adapters.postgres.database import PostgresDatabase
from orchestrator_adapters.postgres.rows import news_arrays
from orchestrator_core.commits import FollowedOrder, OrderNews
from orchestrator_core.identifiers import ClientOrderId, StrategyId

_COLUMNS: Final = """
    SELECT m.run_id, m.symbol, m.client_order_id, m.leg, m.order_qty, m.order_side, m.order_type,
           m.time_in_force, m.gateway_status, m.gateway_order_id, m.broker_order_id, m.filled_qty,
           m.filled_avg_price, m.message,
           extract(epoch FROM clock_timestamp() - coalesce(m.claimed_at, m.created_at))::float8
               AS age_seconds
"""
# Each order is found by its id alone: a session keeps its plans.
_ORDERS: Final = """
    JOIN LATERAL (
        SELECT * FROM signal_order_mappings o
        WHERE o.client_order_id = found.client_order_id AND o.holds_id
        LIMIT 1
    ) m ON m.gateway_status IS NOT NULL
"""

_DUE: Final = """
    WITH found AS MATERIALIZED (
        SELECT client_order_id, follow_at FROM orders_followed
        WHERE strategy_id = %s AND follow_at <= now()
        ORDER BY follow_at, client_order_id
        LIMIT %s
        FOR UPDATE SKIP LOCKED
    ), held AS (
        UPDATE orders_followed f
        SET follow_at = now() + make_interval(secs => %s)
        FROM found
        WHERE f.client_order_id = found.client_order_id
    )
"""
_TAKE: Final = (
    _DUE + _COLUMNS + "FROM found" + _ORDERS + "ORDER BY found.follow_at, found.client_order_id"
)

_LIVE: Final = (
    _COLUMNS
    + "FROM orders_followed found"
    + _ORDERS
    + "WHERE found.client_order_id > %s AND found.is_live"
    + " ORDER BY found.client_order_id LIMIT %s"
)

_RECORD: Final = "SELECT o_changed FROM orchestrator_record_news(%s" + 11 * ", %s" + ")"


async def take_followed(
    database: PostgresDatabase, strategy_id: StrategyId, limit: int, hold_seconds: float
) -> Sequence[FollowedOrder]:
    """Take orders whose time to be asked about has come, the longest due first."""
    rows = await database.execute("take_followed", _TAKE, (strategy_id, limit, hold_seconds))
    return tuple(followed_of_row(row) for row in rows)


async def record_news(database: PostgresDatabase, news: Sequence[OrderNews]) -> None:
    """Record what looks at followed orders brought, in one commit."""
    if news:
        await database.execute("record_news", _RECORD, news_arrays(news))


async def live_orders(
    database: PostgresDatabase, after: ClientOrderId | None, limit: int
) -> Sequence[FollowedOrder]:
    """Return accepted orders that had not ended when last heard of, by id."""
    rows = await database.fetch("live_orders", _LIVE, (after or "", limit))
    return tuple(followed_of_row(row) for row in rows)
