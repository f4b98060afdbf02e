"""Strategies' books and controls, in memory."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from attrs import define, field

from orchestrator_adapters.memory.stored_run import StoredRun
from orchestrator_adapters.run_rules import IN_BOOK, IN_DAY, LAST_ACCEPTED, is_live
from orchestrator_core.books import BookedOrder, DayOrder, StrategyBook, notional_of
from orchestrator_core.controls import ControlEvent, ControlEventKind, StrategyControls
from orchestrator_core.identifiers import StrategyId, Symbol
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.model import Reference
from orchestrator_core.runs import Run


@define
class MemoryBooks:
    """Versions of books, and what operators did."""

    _versions: dict[StrategyId, int] = field(factory=dict, init=False)
    _events: list[ControlEvent] = field(factory=list, init=False)

    def version(self, strategy_id: StrategyId) -> int:
        """Return the version of the strategy's book."""
        return self._versions.get(strategy_id, 0)

    def move(self, strategy_id: StrategyId) -> None:
        """Make the next version."""
        self._versions[strategy_id] = self.version(strategy_id) + 1

    def add(self, event: ControlEvent) -> None:
        """Record what an operator did, once."""
        if event not in self._events:
            self._events.append(event)

    def events(self, strategy_id: StrategyId) -> list[ControlEvent]:
        """Return what operators did for the strategy, newest first."""
        found = [event for event in reversed(self._events) if event.strategy_id == strategy_id]
        found.sort(key=lambda event: event.at, reverse=True)
        return found

    def controls(
        self, strategy_id: StrategyId, runs: Iterable[Run], *, count_failures: int
    ) -> StrategyControls:
        """Return how the strategy's controls stand; `runs` are all that there are."""
        events = self.events(strategy_id)
        switches = {ControlEventKind.REDUCE_ONLY_ON, ControlEventKind.REDUCE_ONLY_OFF}
        last = next((event.kind for event in events if event.kind in switches), None)
        rearmed = next(
            (event.at for event in events if event.kind is ControlEventKind.REARMED), None
        )
        ended = [
            (run.completed_at, run.status)
            for run in runs
            if run.strategy_id == strategy_id
            and run.completed_at is not None
            and not run.request.dry_run
            and (rearmed is None or run.completed_at > rearmed)
        ]
        ended.sort(key=lambda item: item[0], reverse=True)
        failed = 0
        for _, status in ended:
            if status is not RunStatus.FAILED or failed == count_failures:
                break
            failed += 1
        return StrategyControls(last is ControlEventKind.REDUCE_ONLY_ON, failed)


def book_of(
    version: int, runs: Iterable[StoredRun], strategy_id: StrategyId, as_of_date: date
) -> StrategyBook:
    """Return the strategy's book for one date."""
    days: list[DayOrder] = []
    booked: list[BookedOrder] = []
    for stored in runs:
        is_of_day = (stored.run.strategy_id, stored.run.as_of_date) == (strategy_id, as_of_date)
        cap = stored.run.request.max_position_size
        for order in stored.orders:
            intent = order.intent
            if intent is None:
                continue
            if is_of_day and order.state in IN_DAY:
                notional = notional_of(intent, order.price, cap=cap)
                days.append(DayOrder(intent.client_order_id, intent.side, notional))
            if order.state in IN_BOOK and is_live(order.state, order.report):
                booked.append(BookedOrder(intent, order.state, order.report))
    days.sort(key=lambda order: order.client_order_id)
    booked.sort(key=lambda order: order.intent.client_order_id)
    return StrategyBook(version, tuple(days), tuple(booked))


def last_accepted(
    runs: Iterable[StoredRun], symbols: Sequence[Symbol]
) -> Mapping[Symbol, Reference]:
    """Return the price that each symbol's latest accepted order was sized with."""
    found: dict[Symbol, Reference] = {}
    for stored in runs:
        for id_ in stored.places:
            order, at = stored.order(id_), stored.claimed_at.get(id_)
            if order.state is not OrderState.ACCEPTED or order.price is None or at is None:
                continue
            symbol = order.signal.symbol
            if symbol in symbols and (symbol not in found or found[symbol].as_of <= at):
                found[symbol] = Reference(symbol, order.price, at, LAST_ACCEPTED)
    return found
