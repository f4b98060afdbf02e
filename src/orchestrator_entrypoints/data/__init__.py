"""Bundled data: real daily closes of real stocks, old by design, for the demo.

The README beside the file states its source and licence.
"""

import csv
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib import resources

from attrs import frozen

from orchestrator_core.identifiers import Symbol, is_canonical_symbol

FILE_NAME = "us-large-caps-daily-2020-2022.csv"


@frozen
class DailyPrices:
    """Closing prices, one row a trading day.

    Attributes:
        dates: Trading days, ascending.
        symbols: In the file's order.
        closes: One row a date, one price a symbol, in account currency per share.
    """

    dates: tuple[date, ...]
    symbols: tuple[Symbol, ...]
    closes: tuple[tuple[Decimal, ...], ...]

    def closes_of(self, symbol: str) -> tuple[Decimal, ...]:
        """Return one symbol's closes, one a date.

        Raises:
            LookupError: The data does not hold the symbol.
        """
        if symbol not in self.symbols:
            raise LookupError(f"no prices of {symbol}")
        column = self.symbols.index(Symbol(symbol))
        return tuple(row[column] for row in self.closes)

    def row_at(self, day: date) -> int:
        """Return the index of the last trading day that is not after `day`.

        Raises:
            LookupError: `day` is outside the data.
        """
        if not self.dates[0] <= day <= self.dates[-1]:
            raise LookupError(f"no prices at {day}: they span {self.dates[0]} to {self.dates[-1]}")
        return bisect_right(self.dates, day) - 1

    def last_closes(self) -> dict[Symbol, Decimal]:
        """Return each symbol's last close."""
        return dict(zip(self.symbols, self.closes[-1], strict=True))


def daily_prices() -> DailyPrices:
    """Return the bundled closes: 20 constituents of the S&P 500, 754 days of 2020 to 2022."""
    text = resources.files(__name__).joinpath(FILE_NAME).read_text(encoding="ascii")
    return parse_daily_prices(text.splitlines())


def parse_daily_prices(lines: Iterable[str]) -> DailyPrices:
    """Return the prices of a CSV file whose header is `Date` and the symbols.

    Raises:
        ValueError: A symbol, date or price is malformed, missing or given twice, or the dates do
            not ascend; names the line.
    """
    rows = csv.reader(lines, strict=True)
    symbols = _parse_header(next(rows, []))
    dates: list[date] = []
    closes: list[tuple[Decimal, ...]] = []
    for row in rows:
        try:
            day, prices = _parse_row(row, columns=len(symbols) + 1, after=dates[-1:])
        except ValueError as problem:
            raise ValueError(f"line {rows.line_num}: {problem}") from None
        dates.append(day)
        closes.append(prices)
    if not dates:
        raise ValueError("expected at least one row of prices")
    return DailyPrices(tuple(dates), symbols, tuple(closes))


def _parse_header(header: Sequence[str]) -> tuple[Symbol, ...]:
    symbols = tuple(Symbol(name) for name in header[1:])
    if header[:1] != ["Date"] or not symbols:
        raise ValueError("line 1: expected Date and the symbols")
    for symbol in symbols:
        if not is_canonical_symbol(symbol):
            raise ValueError(f"line 1: {symbol!r} is no symbol")
    if len(set(symbols)) != len(symbols):
        raise ValueError("line 1: a symbol is given twice")
    return symbols


def _parse_row(
    row: Sequence[str], *, columns: int, after: Sequence[date]
) -> tuple[date, tuple[Decimal, ...]]:
    if len(row) != columns:
        raise ValueError(f"expected {columns} columns, got {len(row)}")
    day = date.fromisoformat(row[0])
    if after and day <= after[0]:
        raise ValueError(f"{day} does not follow {after[0]}")
    return day, tuple(_parse_price(cell) for cell in row[1:])


def _parse_price(cell: str) -> Decimal:
    try:
        price = Decimal(cell)
    except InvalidOperation:
        raise ValueError(f"{cell[:40]!r} is no price") from None
    if not (price.is_finite() and price > 0):
        raise ValueError(f"expected a price above zero, got {cell[:40]!r}")
    return price
