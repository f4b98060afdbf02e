"""Strategies' books and controls in Postgres."""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import takewhile
from typing import Final

from orchestrator_adapters.book_rows import (
    booked_order_of_row,
    control_event_of_row,
    day_order_of_row,
    last_accepted_of_row,
)
from orchestrator_adapters.postgres.database import PostgresDatabase, Session
from orchestrator_adapters.postgres.rows import text_array
from orchestrator_adapters.run_rules import REGISTERED_OPEN, is_live
from orchestrator_adapters.storable import storable_text
from orchestrator_core.books import StrategyBook
from orchestrator_core.controls import ControlEvent, ControlEventKind, StrategyControls
from orchestrator_core.identifiers import StrategyId, Symbol
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.model import Reference

_OPEN: Final = text_array(sorted({*(state.value for state in REGISTERED_OPEN), "planned"}))

_COLUMNS: Final = """
    SELECT m.run_id, m.symbol, m.client_order_id, m.leg, m.order_qty, m.order_side, m.order_type,
           m.time_in_force, m.state, m.gateway_status, m.gateway_order_id, m.broker_order_id,
           m.filled_qty, m.filled_avg_price, m.message, m.sizing_price
"""

_VERSION: Final = "SELECT version FROM account_book"

_DAY: Final = f"""{_COLUMNS}, coalesce(r.max_position_size, r.capital) AS cap
    FROM orchestration_runs r JOIN signal_order_mappings m ON m.run_id = r.run_id
    WHERE r.strategy_id = %s AND r.as_of_date = %s AND m.holds_id AND m.state <> 'rejected'
"""

# Orders that may be on the wire, or are to be sent, stand in runs that are open.
_UNSETTLED: Final = f"""{_COLUMNS}
    FROM signal_order_mappings m
    WHERE m.run_id = ANY (ARRAY(SELECT run_id FROM orchestration_runs WHERE status = 'running'))
      AND m.state = ANY (%s)
"""  # noqa: S608 - names of ours alone

# Those that are followed; the former version leaves it to the first look whether they have ended.
_LIVE: Final = f"""{_COLUMNS}
    FROM orders_followed f
    JOIN LATERAL (
        SELECT * FROM signal_order_mappings o
        WHERE o.client_order_id = f.client_order_id AND o.holds_id AND o.state = 'accepted'
        LIMIT 1
    ) m ON true
    WHERE f.is_live
"""  # noqa: S608 - names of ours alone

_LAST_ACCEPTED: Final = """
    SELECT s.symbol, a.price AS sizing_price, a.claimed_at
    FROM unnest(%s::text[]) AS s (symbol)
    CROSS JOIN LATERAL (
        SELECT price, claimed_at FROM accepted_prices
        WHERE symbol = s.symbol
        ORDER BY claimed_at DESC
        LIMIT 1
    ) a
"""

# The conditions on what counts are the index's, word for word. The replaced service's runs have no
# request, and were not dry.
_CONTROLS: Final = """
    SELECT (
        SELECT event FROM strategy_control_events
        WHERE strategy_id = %(strategy_id)s AND event <> %(rearmed)s
        ORDER BY id DESC
        LIMIT 1
    ) AS switched,
    ARRAY(
        SELECT status FROM orchestration_runs
        WHERE strategy_id = %(strategy_id)s
          AND started_at > coalesce((
              SELECT occurred_at FROM strategy_control_events
              WHERE strategy_id = %(strategy_id)s AND event = %(rearmed)s
              ORDER BY id DESC
              LIMIT 1), '-infinity')
          AND completed_at IS NOT NULL
          AND (request LIKE '%%"dry_run":true%%') IS NOT TRUE
          AND failure_kind IS DISTINCT FROM 'signals_refused'
        ORDER BY started_at DESC, id DESC
        LIMIT %(count)s
    ) AS completed
"""

_ADD_EVENT: Final = """
    INSERT INTO strategy_control_events (strategy_id, event, occurred_at, operator, notes)
    VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
    RETURNING id
"""

_EVENTS: Final = """
    SELECT event, occurred_at, operator, notes FROM strategy_control_events
    WHERE strategy_id = %s
    ORDER BY id DESC
    LIMIT %s
"""


async def read_book(
    database: PostgresDatabase, strategy_id: StrategyId, as_of_date: date
) -> StrategyBook:
    """Return the strategy's book for one date, its version read first."""

    async def work(session: Session) -> StrategyBook:
        versions, days, unsettled, live = await session.fetch_each(
            (_VERSION, ()),
            (_DAY, (strategy_id, as_of_date)),
            (_UNSETTLED, (_OPEN,)),
            (_LIVE, ()),
        )
        # An order may be accepted between the two looks: then it is in both.
        booked = {
            order.intent.client_order_id: order
            for order in map(booked_order_of_row, (*live, *unsettled))
            if is_live(order.state, order.report)
        }
        return StrategyBook(
            version=versions[0]["version"] if versions else 0,
            day_orders=tuple(
                sorted(map(day_order_of_row, days), key=lambda each: each.client_order_id)
            ),
            open_orders=tuple(booked[id_] for id_ in sorted(booked)),
        )

    return await database.run("read_book", work)


async def last_accepted(
    database: PostgresDatabase, symbols: Sequence[Symbol]
) -> Mapping[Symbol, Reference]:
    """Return the price that each symbol's latest accepted order was sized with."""
    rows = await database.fetch("last_accepted", _LAST_ACCEPTED, (text_array(symbols),))
    return {reference.symbol: reference for reference in map(last_accepted_of_row, rows)}


async def read_controls(
    database: PostgresDatabase, strategy_id: StrategyId, count_failures: int
) -> StrategyControls:
    """Return how the strategy's controls stand."""
    parameters = {
        "strategy_id": strategy_id,
        "rearmed": ControlEventKind.REARMED.value,
        "count": count_failures,
    }
    [row] = await database.fetch("read_controls", _CONTROLS, parameters)
    is_on = row["switched"] == ControlEventKind.REDUCE_ONLY_ON
    failed = takewhile(lambda status: status == RunStatus.FAILED, row["completed"])
    return StrategyControls(is_on, sum(1 for _ in failed))


async def add_control_event(database: PostgresDatabase, event: ControlEvent) -> None:
    """Record what an operator did, once."""
    values = (
        *(event.strategy_id, event.kind.value, event.at),
        *(storable_text(event.operator), storable_text(event.notes)),
    )
    await database.execute("add_control_event", _ADD_EVENT, values)


async def control_events(
    database: PostgresDatabase, strategy_id: StrategyId, limit: int
) -> Sequence[ControlEvent]:
    """Return what operators did for the strategy, what was recorded last first."""
    rows = await database.fetch("control_events", _EVENTS, (strategy_id, max(limit, 0)))
    return tuple(control_event_of_row(row, strategy_id) for row in rows)
