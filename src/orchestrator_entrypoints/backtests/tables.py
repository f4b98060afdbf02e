"""Values by date and symbol, as a user gives them, made one form: what is wrong is named.

A table of prices has no gaps: from a symbol's first price on, every date has one. A table of
signals may leave out what it likes.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

from attrs import define, field, frozen

from orchestrator_core.errors import InvalidRequest, OrchestratorError
from orchestrator_core.identifiers import Symbol, parse_symbol
from orchestrator_entrypoints.backtests.frames import (
    DATE,
    SYMBOL,
    VALUE,
    Cell,
    EmptyRow,
    FormError,
    Given,
    cells_of,
)
from orchestrator_entrypoints.backtests.given_values import (
    Number,
    day_of,
    number_of,
    price_problem,
    shown,
)

SIGNALS, PRICES, OPENS = "signals", "prices", "opens"


class BacktestDataError(OrchestratorError, ValueError):
    """Signals or prices that no backtest can be made of.

    Attributes:
        table: `signals`, `prices` or `opens`.
        field: `date`, `symbol`, `row`, or what the column of the value is called.
        row: Of a `Cell`; None where it is about no one row.
        problem: One sentence that names what was expected.
    """

    def __init__(self, table: str, field: str, row: int | None, problem: str) -> None:
        where = table if row is None else f"{table}, row {row}"
        super().__init__(f"{where}, {field}: {problem}")
        self.table = table
        self.field = field
        self.row = row
        self.problem = problem


@frozen
class Table:
    """Values by date and symbol, checked.

    Attributes:
        dates: Ascending.
        values: One mapping a date; an empty one only where prices have a gap.
        first_rows: Where in what was given each date begins.
        is_wide: Whether a symbol is a column.
        num_empty: How many rows after the first value hold none, and are left out.
    """

    name: str
    dates: tuple[date, ...]
    values: tuple[Mapping[Symbol, Number], ...]
    first_rows: tuple[int, ...]
    is_wide: bool = False
    num_empty: int = 0

    @property
    def symbols(self) -> frozenset[Symbol]:
        """Every symbol that has a value."""
        return frozenset(symbol for values in self.values for symbol in values)

    def by_date(self) -> Iterator[tuple[int, date, Mapping[Symbol, Number]]]:
        """Go through the dates: where each begins, the date, and its values."""
        return zip(self.first_rows, self.dates, self.values, strict=True)


@frozen
class Objection:
    """Why a value cannot stand in its table.

    Attributes:
        field: None stands for the value's own column.
    """

    field: str | None
    problem: str


# What may be wrong with a value of a date and symbol.
Check = Callable[[date, Symbol, Number], Objection | None]


def read_table(name: str, given: Any, check: Check = lambda _day, _symbol, _value: None) -> Table:
    """Return what is given as a table: see `frames` for the forms.

    Raises:
        BacktestDataError: Dates do not ascend, a value is given twice, is not finite, or none, or
            the check objects to it.
    """
    reading = _Reading(name, check)
    try:
        for cell in cells_of(given):
            reading.take(cell)
    except FormError as error:
        raise BacktestDataError(name, error.field, error.row, error.problem) from None
    if not reading.dates:
        raise BacktestDataError(name, VALUE, None, "expected at least one value")
    return Table(
        name,
        tuple(reading.dates),
        tuple(reading.values),
        tuple(reading.first_rows),
        reading.is_wide,
        reading.num_empty,
    )


@define
class _Reading:
    """A table while its cells come."""

    name: str
    check: Check
    dates: list[date] = field(factory=list, init=False)
    values: list[dict[Symbol, Number]] = field(factory=list, init=False)
    first_rows: list[int] = field(factory=list, init=False)
    is_wide: bool = field(default=False, init=False)
    num_empty: int = field(default=0, init=False)
    _symbols: dict[str, Symbol] = field(factory=dict, init=False)
    _day: Any = field(default=None, init=False)

    def take(self, cell: Given) -> None:
        """Put a cell in its place.

        Raises:
            BacktestDataError: It has none.
        """
        if isinstance(cell, EmptyRow):
            self._pass(cell)
            return
        if not self.dates or cell.day is not self._day:
            self.is_wide = cell.is_wide
            self._go_to(cell)
        day, values = self.dates[-1], self.values[-1]
        symbol = self._symbol(cell)
        if self.is_wide and cell.row != self.first_rows[-1]:
            raise self._wrong(cell, DATE, f"{day} is given twice")
        if symbol in values:
            raise self._wrong(cell, SYMBOL, f"{symbol} is given twice on {day}")
        value = self._number(cell)
        objection = self.check(day, symbol, value)
        if objection is not None:
            raise self._wrong(cell, objection.field or str(cell.column), objection.problem)
        values[symbol] = value

    def _pass(self, row: EmptyRow) -> None:
        """Go by a row without values: where they must follow one another it is a gap."""
        if self.dates and self.name != SIGNALS:
            self._go_to(row)
            return
        self._day_of(row)
        self.num_empty += bool(self.dates)

    def _day_of(self, cell: Given) -> date:
        try:
            return day_of(cell.day)
        except ValueError as error:
            raise self._wrong(cell, DATE, str(error)) from None

    def _go_to(self, cell: Given) -> None:
        day = self._day_of(cell)
        self._day = cell.day
        if self.dates and day < self.dates[-1]:
            problem = f"{day} comes after {self.dates[-1]}: dates must ascend"
            raise self._wrong(cell, DATE, problem)
        if not self.dates or day != self.dates[-1]:
            self.dates.append(day)
            self.values.append({})
            self.first_rows.append(cell.row)

    def _symbol(self, cell: Cell) -> Symbol:
        if not isinstance(cell.symbol, str):
            raise self._wrong(cell, SYMBOL, f"expected a symbol, got {shown(cell.symbol)}")
        known = self._symbols.get(cell.symbol)
        if known is None:
            try:
                known = self._symbols[cell.symbol] = parse_symbol(cell.symbol)
            except InvalidRequest as refused:
                raise self._wrong(cell, SYMBOL, refused.problem) from None
        return known

    def _number(self, cell: Cell) -> Number:
        try:
            return number_of(cell.value)
        except ValueError as error:
            whose = "" if cell.is_wide else f"{cell.symbol}: "
            raise self._wrong(cell, str(cell.column), f"{whose}{error}") from None

    def _wrong(self, cell: Given, field_: str, problem: str) -> BacktestDataError:
        if field_ == SYMBOL and self.is_wide and isinstance(cell, Cell):
            field_ = str(cell.column)
        return BacktestDataError(self.name, field_, cell.row, problem)


def read_prices(name: str, given: Any) -> Table:
    """Return prices as a table: each above zero, and from a symbol's first one on one a date.

    Raises:
        BacktestDataError: As of `read_table`, or one is none of a quote, or missing.
    """
    table = read_table(name, given, _check_price)
    known: set[Symbol] = set()
    for row, day, values in table.by_date():
        known |= values.keys()
        missing = sorted(known - values.keys())
        if missing:
            problem = f"gap: {missing[0]} has earlier prices and none on {day}"
            raise BacktestDataError(name, missing[0] if table.is_wide else DATE, row, problem)
    return table


def _check_price(day: date, symbol: Symbol, value: Number) -> Objection | None:
    problem = price_problem(value)
    return None if problem is None else Objection(None, f"{symbol} on {day}: {problem}")


def beside(prices: Table) -> Check:
    """Return a check that objects to symbols and dates that have no prices, and to look-ahead."""
    at = {day: values for _, day, values in prices.by_date()}
    known = prices.symbols

    def check(day: date, symbol: Symbol, value: Number) -> Objection | None:
        if symbol not in known:
            return Objection(SYMBOL, f"unknown symbol: no prices of {symbol}")
        if day not in at:
            return Objection(DATE, undated(day, prices))
        if value and symbol not in at[day]:
            return Objection(DATE, f"{symbol} on {day}: its prices begin later")
        return None

    return check


def undated(day: date, prices: Table) -> str:
    """Say why there can be no signals of a date without prices."""
    earlier = [each for each in prices.dates if each < day]
    if not earlier:
        return f"{day} is before the first price, of {prices.dates[0]}"
    return (
        f"look-ahead: {day}, a {day:%A}, has no price, and a signal sized with that of "
        f"{earlier[-1]} would be dated after it: give it a date that has prices"
    )
