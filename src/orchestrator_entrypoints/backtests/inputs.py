"""What a backtest is made of, checked together: signals, closes, and what orders trade at."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from typing import Any

from attrs import frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Signal, SignalBatch
from orchestrator_entrypoints.backtests.fills import FillTime
from orchestrator_entrypoints.backtests.given_values import Number, exactly
from orchestrator_entrypoints.backtests.market import Market
from orchestrator_entrypoints.backtests.tables import (
    OPENS,
    PRICES,
    SIGNALS,
    BacktestDataError,
    Check,
    Table,
    beside,
    read_prices,
    read_table,
    undated,
)

Prices = Mapping[Symbol, Decimal]


@frozen(slots=False)
class Inputs:
    """Signals and prices that fit together.

    Attributes:
        closes: Of every date.
        traded: What orders trade at, of every date: opens or closes.
        batches: Of the dates that have signals.
        at: Which of the two `traded` is.
        notes: What the reader should know of them.
    """

    closes: Table
    traded: Table
    batches: Mapping[date, SignalBatch]
    at: FillTime
    notes: tuple[str, ...] = ()

    @property
    def dates(self) -> tuple[date, ...]:
        """The dates of the prices, ascending."""
        return self.closes.dates

    # Found once for all backtests over the same inputs.
    @cached_property
    def symbols(self) -> frozenset[Symbol]:
        """Every symbol that has a price."""
        return self.closes.symbols

    @cached_property
    def has_floats(self) -> bool:
        """Whether every close is a float, or prints like one."""
        return all(
            exactly(float(value)) == exactly(value)
            for closes in self.closes.values
            for value in closes.values()
        )

    def closes_at(self, place: int) -> Prices:
        """Return the closes of the date at that place, account currency per share."""
        return _exact(self.closes.values[place])

    def market(self, place: int, closes: Prices) -> Market:
        """Return what a decision on the date at that place sees, and what its orders meet.

        Args:
            place: Not the last one.
            closes: Of that date.
        """
        return Market(
            closes=closes,
            references=_exact(self.closes.values[place - 1]) if place else {},
            before=self.dates[place - 1] if place else None,
            next_prices=_exact(self.traded.values[place + 1]),
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
    closes = read_prices(PRICES, prices)
    traded = closes
    if opens is not None:
        traded = read_prices(OPENS, opens)
        _require_same(traded, closes)
    elif at is FillTime.NEXT_OPEN:
        problem = "orders are to trade at the next open, and no opens are given"
        raise BacktestDataError(OPENS, "value", None, problem)
    if at is None:
        at = FillTime.NEXT_CLOSE if opens is None else FillTime.NEXT_OPEN
    if at is FillTime.NEXT_CLOSE:
        traded = closes
    batches, notes = _batches(signals, closes)
    return Inputs(closes, traded, batches, at, notes)


def _require_same(opens: Table, closes: Table) -> None:
    closed = {day: values.keys() for _, day, values in closes.by_date()}
    opened = {day: values.keys() for _, day, values in opens.by_date()}
    for row, day, values in opens.by_date():
        further = sorted(values.keys() - closed.get(day, frozenset()))
        if further:
            problem = f"{further[0]} has an open on {day}, and no close"
            raise BacktestDataError(OPENS, "date", row, problem)
    for day, symbols in closed.items():
        missing = sorted(symbols - opened.get(day, frozenset()))
        if missing:
            problem = f"gap: {missing[0]} has a close on {day}, and no open"
            raise BacktestDataError(OPENS, "value", None, problem)


def _batches(signals: Any, closes: Table) -> tuple[Mapping[date, SignalBatch], tuple[str, ...]]:
    check = beside(closes)
    given = _as_batches(signals)
    if given is None:
        table = read_table(SIGNALS, signals, check)
        silent = f"{table.num_empty:,} rows of signals name nothing: no run, and nothing is closed"
        notes = (silent,) if table.num_empty else ()
        return {day: batch_of(day, weights) for _, day, weights in table.by_date()}, notes
    for place, batch in enumerate(given):
        if type(batch.as_of_date) is not date:
            problem = f"expected a date, got {type(batch.as_of_date).__name__}"
            raise BacktestDataError(SIGNALS, "date", place, problem)
    for place, (earlier, later) in enumerate(pairwise(each.as_of_date for each in given), start=1):
        if later <= earlier:
            problem = f"{later} comes after {earlier}: dates must ascend"
            raise BacktestDataError(SIGNALS, "date", place, problem)
    dates = frozenset(closes.dates)
    for place, batch in enumerate(given):
        if batch.as_of_date not in dates:
            raise BacktestDataError(SIGNALS, "date", place, undated(batch.as_of_date, closes))
        for field, problem in _wrong_with(batch, check):
            raise BacktestDataError(SIGNALS, field, place, problem)
    return {batch.as_of_date: batch for batch in given}, ()


def _wrong_with(batch: SignalBatch, check: Check) -> Iterator[tuple[str, str]]:
    """Yield the field and what is wrong with it, of what no run could be made of."""
    for signal in batch.signals:
        if type(signal.target_weight) not in (float, int):
            kind = type(signal.target_weight).__name__
            yield "value", f"{signal.symbol}: expected a weight that is a float, got {kind}"
        objection = check(batch.as_of_date, signal.symbol, signal.target_weight)
        if objection is not None:
            yield objection.field or "value", objection.problem


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


def _exact(values: Mapping[Symbol, Number]) -> Prices:
    return {symbol: exactly(value) for symbol, value in values.items()}
