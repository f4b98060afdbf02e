"""Account and day of a stored record, as plain JSON values, and back."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from orchestrator_core.books import DayExposure
from orchestrator_core.holdings import Holdings, OpenQty, Unsettled
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import Side

Json = dict[str, Any]


def encode_holdings(holdings: Holdings) -> Json:
    """Return an account as JSON values."""
    return {
        "positions": dict(holdings.positions),
        "open_orders": [
            {
                "symbol": order.symbol,
                "client_order_id": order.client_order_id,
                "side": order.side.value,
                "qty": order.qty,
            }
            for order in holdings.open_orders
        ],
        "unsettled": [
            {"symbol": order.symbol, "client_order_id": order.client_order_id, "why": order.why}
            for order in holdings.unsettled
        ],
    }


def decode_holdings(encoded: Mapping[str, Any] | None) -> Holdings | None:
    """Return what `encode_holdings` wrote; None where nothing depended on an account."""
    if encoded is None:
        return None
    return Holdings(
        positions=tuple((Symbol(symbol), qty) for symbol, qty in encoded["positions"].items()),
        open_orders=tuple(
            OpenQty(
                Symbol(order["symbol"]),
                ClientOrderId(order["client_order_id"]),
                Side(order["side"]),
                order["qty"],
            )
            for order in encoded["open_orders"]
        ),
        unsettled=tuple(
            Unsettled(
                Symbol(order["symbol"]), ClientOrderId(order["client_order_id"]), order["why"]
            )
            for order in encoded["unsettled"]
        ),
    )


def encode_day(day: DayExposure) -> Json:
    """Return what a day had ordered as JSON values."""
    return {"long": str(day.long), "short": str(day.short), "held_ids": sorted(day.held_ids)}


def decode_day(encoded: Mapping[str, Any] | None) -> DayExposure | None:
    """Return what `encode_day` wrote; None where nothing depended on the day."""
    if encoded is None:
        return None
    return DayExposure(
        long=Decimal(encoded["long"]),
        short=Decimal(encoded["short"]),
        held_ids=frozenset(map(ClientOrderId, encoded["held_ids"])),
    )
