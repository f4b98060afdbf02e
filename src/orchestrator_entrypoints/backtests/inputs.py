"""What a backtest is made of, checked together: signals, closes, and what orders trade at."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

from attrs import frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Signal, SignalBatch
from orchestrator_entrypoints.backtests.fills import FillTime
from orchestrator_entrypoints.backtests.stage import Market
from orchestrator_entrypoints.backtests.tables import (
    OPENS,
    PRICES,
    SIGNALS,
    BacktestDataError,
    Number,
    Table,
    exactly,
    read_table,
    require_beside,
    require_prices,
)

Prices = Mapping[Symbol, Decimal]


@frozen
class Inputs:
    """Signals and prices that fit together.

    Attributes:
        closes: Of every date.
        traded: What orders trade at, of every date: opens or closes.
        batches: Of the dates that have signals.
        at: Which of the two `traded` is.
    """

    closes: Table
    traded: Table
    batches: Mapping[date, SignalBatch]
    at: FillTime

    @property
    def dates(self) -> tuple[date, ...]:
        """The dates of the prices, ascending."""
        return self.closes.dates

    @property
    def symbols(self) -> frozenset[Symbol]:
        """Every symbol that has a price."""
        return self.closes.symbols

    def closes_at(self, place: int) -> Prices:
        """Return the closes of the date at that place, account currency per share."""
        return _exact(self.closes.rows[place])

    def market(self, place: int, closes: Prices) -> Market:
        """Return what a decision on the date at that place sees, and what its orders meet.

        Args:
            place: Not the last one.
            closes: Of that date.
        """
        return Market(
            closes=closes,
            references=_exact(self.closes.rows[place - 1]) if place else {},
            before=self.dates[place - 1] if place else None,
            next_prices=_exact(self.traded.rows[place + 1]),
        )


def read_inputs(signals: Any, prices: Any, opens: Any, at: FillTime | None) -> Inputs:
    """Return what is given, checked together.

    Args:
        signals: Weights, or whole `SignalBatch`es, one a date.
        prices: Closes, account currency per share.
        opens: The same of the opens; None where there are none.
        at: When orders trade; None: at the opens where they are given.

    Raises:
        BacktestDataError: They cannot be made a backtest of.
    """
    closes = read_table(PRICES, prices)
    require_prices(closes)
    traded = closes
    if opens is not None:
        traded = read_table(OPENS, opens)
        require_prices(traded)
        _require_same(traded, closes)
    elif at is FillTime.NEXT_OPEN:
        problem = "orders are to trade at the next open, and no opens are given"
        raise BacktestDataError(OPENS, "value", None, problem)
    if at is None:
        at = FillTime.NEXT_CLOSE if opens is None else FillTime.NEXT_OPEN
    if at is FillTime.NEXT_CLOSE:
        traded = closes
    return Inputs(closes, traded, _batches(signals, closes), at)


def _require_same(opens: Table, closes: Table) -> None:
    known = dict(opens.by_date())
    further = sorted(known.keys() - set(closes.dates))
    if further:
        place = opens.places[opens.dates.index(further[0])]
        problem = f"{further[0]} has opens, and no closes"
        raise BacktestDataError(OPENS, "date", place, problem)
    for day, row in closes.by_date():
        missing = sorted(row.keys() - known.get(day, {}).keys())
        if missing:
            problem = f"gap: {missing[0]} has a close on {day}, and no open"
            raise BacktestDataError(OPENS, "value", None, problem)
    require_beside(opens, closes)


def _batches(signals: Any, closes: Table) -> Mapping[date, SignalBatch]:
    given = _as_batches(signals)
    if given is None:
        table = read_table(SIGNALS, signals)
        require_beside(table, closes)
        return {day: batch_of(day, row) for day, row in table.by_date()}
    require_beside(_table_of(given), closes)
    return {batch.as_of_date: batch for batch in given}


def _table_of(batches: Sequence[SignalBatch]) -> Table:
    dates = tuple(batch.as_of_date for batch in batches)
    for place, (earlier, later) in enumerate(pairwise(dates), start=1):
        if later <= earlier:
            problem = f"{later} comes after {earlier}: dates must ascend"
            raise BacktestDataError(SIGNALS, "date", place, problem)
    rows = tuple({each.symbol: each.target_weight for each in batch.signals} for batch in batches)
    return Table(SIGNALS, dates, rows, tuple(range(len(batches))))


def _as_batches(signals: Any) -> Sequence[SignalBatch] | None:
    if not isinstance(signals, list | tuple) or not signals:
        return None
    batches = [batch for batch in signals if isinstance(batch, SignalBatch)]
    return batches if len(batches) == len(signals) else None


def batch_of(day: date, weights: Mapping[Symbol, Number]) -> SignalBatch:
    """Return weights as a strategy's answer: the heaviest is its first choice."""
    floats = {symbol: float(weight) for symbol, weight in weights.items()}
    heaviest_first = sorted(floats, key=lambda symbol: (-abs(floats[symbol]), symbol))
    ranks = {symbol: rank for rank, symbol in enumerate(heaviest_first, start=1)}
    signals = tuple(
        Signal(symbol, predicted_return=weight, rank=ranks[symbol], target_weight=weight)
        for symbol, weight in floats.items()
    )
    return SignalBatch(signals, day, len(signals))


def asked_for(batch: SignalBatch, held: Iterable[Symbol]) -> tuple[Symbol, ...]:
    """Return the symbols that a run asks signals of: also what is held, so that it may close it."""
    named = tuple(signal.symbol for signal in batch.signals)
    return named + tuple(sorted(frozenset(held).difference(named)))


def _exact(row: Mapping[Symbol, Number]) -> Prices:
    return {symbol: exactly(value) for symbol, value in row.items()}
