"""The orders of the demo's gateway: each id once, filled at the last close.

An id that comes again with the same order is answered with the order that stands; with another
order it is a conflict. Everything is kept in memory and gone with the process.
"""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from uuid import uuid4

from attrs import define, evolve, field, frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import OrderType, SafetyFlags, Side, TimeInForce
from orchestrator_core.money import ZERO


@frozen
class Ticket:
    """An order as it was asked for."""

    client_order_id: str
    symbol: Symbol
    side: Side
    qty: int
    order_type: OrderType
    time_in_force: TimeInForce
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


@frozen
class PlacedOrder:
    """An order as it stands.

    Attributes:
        broker_order_id: None in a dry run.
        filled_avg_price: Account currency per share; None before a fill.
    """

    ticket: Ticket
    status: str
    broker_order_id: str | None
    created_at: datetime
    filled_qty: int = 0
    filled_avg_price: Decimal | None = None


class TicketConflict(Exception):
    """The id stands for another order."""


class NotCancelable(Exception):
    """The order has ended."""


@define
class Ledger:
    """What the gateway took.

    Attributes:
        prices: Last close a symbol: what fills and positions are valued at.
        flags: The brakes that the gateway says are on. In a dry run nothing fills.
        fills: Whether a market order is filled at once; else it stays open until it is canceled.
    """

    prices: Mapping[Symbol, Decimal]
    flags: SafetyFlags
    fills: bool = True
    _orders: dict[str, PlacedOrder] = field(factory=dict, init=False)
    # A demo reads the ledger from another thread than the one that serves it.
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    @property
    def orders(self) -> tuple[PlacedOrder, ...]:
        """All orders, as they were taken."""
        with self._lock:
            return tuple(self._orders.values())

    def find(self, client_order_id: str) -> PlacedOrder | None:
        """Return the order, or None."""
        with self._lock:
            return self._orders.get(client_order_id)

    def place(self, ticket: Ticket) -> PlacedOrder:
        """Take an order; return it as it is acknowledged, or as it stands if it came before.

        Raises:
            TicketConflict: The id stands for another order.
        """
        with self._lock:
            standing = self._orders.get(ticket.client_order_id)
            if standing is not None:
                if standing.ticket != ticket:
                    raise TicketConflict(ticket.client_order_id)
                return standing
            dry = self.flags.dry_run
            order = PlacedOrder(
                ticket,
                status="dry_run" if dry else "accepted",
                broker_order_id=None if dry else str(uuid4()),
                created_at=datetime.now(UTC),
            )
            self._orders[ticket.client_order_id] = order if dry else self._filled(order)
            return order

    def cancel(self, client_order_id: str) -> PlacedOrder | None:
        """Cancel an order and return it; None where there is none.

        Raises:
            NotCancelable: It has ended.
        """
        with self._lock:
            order = self._orders.get(client_order_id)
            if order is None or order.status == "canceled":
                return order
            if order.status != "accepted":
                raise NotCancelable(order.status)
            canceled = evolve(order, status="canceled")
            self._orders[client_order_id] = canceled
            return canceled

    def positions(self) -> dict[Symbol, int]:
        """Return the signed shares a symbol that fills left, where they are not zero."""
        held: dict[Symbol, int] = {}
        for order in self.orders:
            sign = 1 if order.ticket.side is Side.BUY else -1
            symbol = order.ticket.symbol
            held[symbol] = held.get(symbol, 0) + sign * order.filled_qty
        return {symbol: qty for symbol, qty in held.items() if qty != 0}

    def exposure(self) -> Decimal:
        """Return the gross value of the positions at the last closes, account currency."""
        return sum(
            (abs(qty) * self.prices[symbol] for symbol, qty in self.positions().items()), ZERO
        )

    def _filled(self, order: PlacedOrder) -> PlacedOrder:
        price = self.prices.get(order.ticket.symbol)
        if not self.fills or price is None or order.ticket.order_type is not OrderType.MARKET:
            return order
        return evolve(order, status="filled", filled_qty=order.ticket.qty, filled_avg_price=price)
