"""What an account holds, and which orders of ours may still change it: what a difference is from.

Theory of operation. The orders are read from the run database first, each is looked up at the
gateway, then the positions are read, then the orders are looked up once more. Where both looks say
the same of an order, what it filled is in the positions and what it has left is not. An order that
moved between the looks, or whose fate is not known, makes its symbol *unsettled*: nothing is
decided on it.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property

from attrs import frozen

from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import Side


@frozen
class OpenQty:
    """What an order of ours may still fill.

    Attributes:
        qty: Shares left, unsigned.
    """

    symbol: Symbol
    client_order_id: ClientOrderId
    side: Side
    qty: int

    @property
    def signed(self) -> int:
        """Shares left, below zero when sold."""
        return self.qty if self.side is Side.BUY else -self.qty


@frozen
class Unsettled:
    """An order of ours of which nobody can say what it has filled, or may still fill.

    Attributes:
        why: The word of its state, or one of `doubts`.
    """

    symbol: Symbol
    client_order_id: ClientOrderId
    why: str


@frozen(slots=False)
class Holdings:
    """An account at one moment.

    Attributes:
        positions: Shares held by symbol, below zero when short; those that are not zero.
        open_orders: Orders of ours that live at the gateway.
        unsettled: Orders of ours that nothing certain is known of.
    """

    positions: tuple[tuple[Symbol, int], ...] = ()
    open_orders: tuple[OpenQty, ...] = ()
    unsettled: tuple[Unsettled, ...] = ()

    @cached_property
    def _held(self) -> Mapping[Symbol, int]:
        return dict(self.positions)

    @cached_property
    def _open(self) -> Mapping[Symbol, tuple[OpenQty, ...]]:
        found: dict[Symbol, tuple[OpenQty, ...]] = {}
        for order in self.open_orders:
            found[order.symbol] = (*found.get(order.symbol, ()), order)
        return found

    @cached_property
    def _unsettled(self) -> Mapping[Symbol, Unsettled]:
        # The first by id stands for all.
        found: dict[Symbol, Unsettled] = {}
        for order in self.unsettled:
            found.setdefault(order.symbol, order)
        return found

    def held(self, symbol: Symbol) -> int:
        """Return the shares held; below zero when short."""
        return self._held.get(symbol, 0)

    def on_order(self, symbol: Symbol) -> int:
        """Return the shares that open orders may still add; below zero when they sell."""
        return sum(order.signed for order in self._open.get(symbol, ()))

    def has_orders(self, symbol: Symbol) -> bool:
        """Whether any order of ours is open on the symbol."""
        return symbol in self._open

    def shrinkable(self, symbol: Symbol) -> int:
        """Return the shares that an order may still take off a position, whatever fills meanwhile.

        Signed as the position: above zero may be sold, below zero bought. What is on order already
        against the position is taken off; what is on order with it may never fill.
        """
        held = self.held(symbol)
        against = sum(
            order.signed
            for order in self._open.get(symbol, ())
            if (order.signed > 0) is not (held > 0)
        )
        left = held + against
        return left if left and (left > 0) is (held > 0) else 0

    def allows_reduction(self, symbol: Symbol, signed_qty: int) -> bool:
        """Whether an order shrinks the position, and cannot turn it, whatever fills meanwhile."""
        left = self.shrinkable(symbol)
        return (left > 0 > signed_qty >= -left) or (left < 0 < signed_qty <= -left)

    def unsettled_on(self, symbol: Symbol) -> Unsettled | None:
        """Return an unsettled order on the symbol, or None."""
        return self._unsettled.get(symbol)

    @property
    def symbols(self) -> frozenset[Symbol]:
        """Every symbol that is held, or on order."""
        orders: Iterable[OpenQty | Unsettled] = (*self.open_orders, *self.unsettled)
        return frozenset(self._held) | {order.symbol for order in orders}
