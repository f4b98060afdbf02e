"""Strategies' books, in memory: the version, and where the orders stand that books tell of.

What has ended is forgotten here, so that a read costs what is open and of one day, not all that
ever was.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime

from attrs import define, field

from orchestrator_adapters.memory.controls import MemoryControls
from orchestrator_adapters.memory.stored_run import StoredRun
from orchestrator_adapters.run_rules import IN_BOOK, IN_DAY, LAST_ACCEPTED, is_live
from orchestrator_core.books import BookedOrder, DayOrder, StrategyBook, notional_of
from orchestrator_core.identifiers import RunId, StrategyId, Symbol
from orchestrator_core.model import OrderIntent, Reference
from orchestrator_core.orders import Order


@define
class MemoryBooks:
    """Every strategy's book.

    Attributes:
        controls: What operators did, and which runs failed.
        version: Of all books: strategies trade one account.
    """

    controls: MemoryControls = field(factory=MemoryControls, init=False)
    version: int = field(default=0, init=False)
    _days: dict[tuple[StrategyId, date], list[StoredRun]] = field(
        factory=dict, init=False, repr=False
    )
    # Runs that may have an open order; those that have none are left out at the next read.
    _open: dict[RunId, StoredRun] = field(factory=dict, init=False, repr=False)
    _accepted: dict[Symbol, Reference] = field(factory=dict, init=False, repr=False)

    def move(self) -> None:
        """Make the next version."""
        self.version += 1

    def add_plan(self, stored: StoredRun) -> None:
        """Take in the orders of a run that has its plan now."""
        run = stored.run
        self._days.setdefault((run.strategy_id, run.as_of_date), []).append(stored)
        self.look_again(stored)

    def look_again(self, stored: StoredRun) -> None:
        """Take in what was heard of a run's orders: one that had ended may live on."""
        self._open[stored.run.run_id] = stored

    def accept(self, order: Order, claimed_at: datetime) -> None:
        """Take in that an order was accepted, which was claimed at that time."""
        symbol, found = order.signal.symbol, self._accepted.get(order.signal.symbol)
        if order.price is not None and (found is None or found.as_of <= claimed_at):
            self._accepted[symbol] = Reference(symbol, order.price, claimed_at, LAST_ACCEPTED)

    def read(self, strategy_id: StrategyId, as_of_date: date) -> StrategyBook:
        """Return the strategy's book for one date."""
        booked = [BookedOrder(intent, o.state, o.report) for _, intent, o in self.open_orders()]
        days = [
            DayOrder(
                order.intent.client_order_id,
                order.intent.side,
                notional_of(order.intent, order.price, cap=stored.run.request.max_position_size),
            )
            for stored in self._days.get((strategy_id, as_of_date), ())
            for order in stored.orders
            if order.intent is not None and order.state in IN_DAY
        ]
        days.sort(key=lambda order: order.client_order_id)
        booked.sort(key=lambda order: order.intent.client_order_id)
        return StrategyBook(self.version, tuple(days), tuple(booked))

    def open_orders(self) -> Iterator[tuple[StoredRun, OrderIntent, Order]]:
        """Go through all orders that may still change the account."""
        for stored in tuple(self._open.values()):
            found = [
                (stored, order.intent, order)
                for order in stored.orders
                if order.intent is not None
                and order.state in IN_BOOK
                and is_live(order.state, order.report)
            ]
            if not found:
                self._open.pop(stored.run.run_id, None)
            yield from found

    def last_accepted(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Reference]:
        """Return the price that each symbol's latest accepted order was sized with."""
        return {symbol: self._accepted[symbol] for symbol in symbols if symbol in self._accepted}
