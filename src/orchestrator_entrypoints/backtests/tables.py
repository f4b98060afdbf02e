"""Values by date and symbol, as a user gives them, made one form: what is wrong is named.

A table of prices has no gaps: from a symbol's first price on, every date has one. A table of
signals may leave out what it likes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from attrs import frozen

from orchestrator_core.errors import InvalidRequest, OrchestratorError
from orchestrator_core.identifiers import Symbol, parse_symbol
from orchestrator_core.money import has_few_digits
from orchestrator_entrypoints.backtests.frames import Cell, EmptyRow, FormError, cells_of

SIGNALS, PRICES, OPENS = "signals", "prices", "opens"

Number = float | int | Decimal


class BacktestDataError(OrchestratorError, ValueError):
    """Signals or prices that no backtest can be made of.

    Attributes:
        table: `signals`, `prices` or `opens`.
        field: `date`, `symbol` or `value`.
        row: Where in the table, counting from 0; None where it is about no one row.
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
        rows: One a date; an empty one only where prices have a gap.
        places: Where in what was given each date begins, counting from 0.
    """

    name: str
    dates: tuple[date, ...]
    rows: tuple[Mapping[Symbol, Number], ...]
    places: tuple[int, ...]

    @property
    def symbols(self) -> frozenset[Symbol]:
        """Every symbol that has a value."""
        return frozenset(symbol for row in self.rows for symbol in row)

    def by_date(self) -> Iterator[tuple[date, Mapping[Symbol, Number]]]:
        """Go through the dates with their values."""
        return zip(self.dates, self.rows, strict=True)


def read_table(name: str, given: Any) -> Table:
    """Return what is given as a table: see `frames` for the forms.

    Raises:
        BacktestDataError: Dates do not ascend, a value is given twice, is not finite, or none.
    """
    try:
        dates, rows, places = _by_date(name, _heeded(name, cells_of(given)))
    except FormError as error:
        raise BacktestDataError(name, "value", error.row, error.problem) from None
    if not dates:
        raise BacktestDataError(name, "value", None, "expected at least one value")
    return Table(name, tuple(dates), tuple(rows), tuple(places))


def _heeded(name: str, cells: Iterable[Cell | EmptyRow]) -> Iterator[Cell | EmptyRow]:
    """Leave out empty rows that mean nothing: those of signals, and before the first price."""
    has_value = False
    for cell in cells:
        has_value = has_value or isinstance(cell, Cell)
        if isinstance(cell, Cell) or (has_value and name != SIGNALS):
            yield cell


def _by_date(
    name: str, cells: Iterable[Cell | EmptyRow]
) -> tuple[list[date], list[dict[Symbol, Number]], list[int]]:
    dates: list[date] = []
    rows: list[dict[Symbol, Number]] = []
    places: list[int] = []
    symbols: dict[Any, Symbol] = {}
    last: Any = None
    for cell in cells:
        if not dates or cell.day is not last:
            day, last = _date(name, cell), cell.day
            if not dates or day != dates[-1]:
                _require_later(name, cell, day, dates)
                dates.append(day)
                rows.append({})
                places.append(cell.row)
        if isinstance(cell, EmptyRow):
            continue
        is_text = isinstance(cell.symbol, str)
        symbol = (symbols.get(cell.symbol) if is_text else None) or _symbol(name, cell, symbols)
        if symbol in rows[-1]:
            problem = f"{symbol} is given twice on {dates[-1]}"
            raise BacktestDataError(name, "symbol", cell.row, problem)
        rows[-1][symbol] = _number(name, cell)
    return dates, rows, places


def _require_later(name: str, cell: Cell | EmptyRow, day: date, dates: Sequence[date]) -> None:
    if dates and day < dates[-1]:
        problem = f"{day} comes after {dates[-1]}: dates must ascend"
        raise BacktestDataError(name, "date", cell.row, problem)


def require_prices(table: Table) -> None:
    """Refuse prices that are not above zero, and gaps.

    Raises:
        BacktestDataError: It names the first.
    """
    known: set[Symbol] = set()
    for place, (day, row) in zip(table.places, table.by_date(), strict=True):
        for symbol, value in row.items():
            if not value > 0 or not has_few_digits(exactly(value)):
                problem = f"{symbol} on {day}: expected a price above zero, got {value}"
                raise BacktestDataError(table.name, "value", place, problem)
        known |= row.keys()
        missing = sorted(known - row.keys())
        if missing:
            problem = f"gap: {missing[0]} has earlier prices and none on {day}"
            raise BacktestDataError(table.name, "value", place, problem)


def require_beside(table: Table, prices: Table) -> None:
    """Refuse symbols and dates that have no prices, and what is dated after its price.

    Raises:
        BacktestDataError: It names the first.
    """
    at = dict(prices.by_date())
    known = prices.symbols
    for place, (day, row) in zip(table.places, table.by_date(), strict=True):
        for symbol in row:
            if symbol not in known:
                problem = f"unknown symbol: no prices of {symbol}"
                raise BacktestDataError(table.name, "symbol", place, problem)
        if day not in at:
            raise BacktestDataError(table.name, "date", place, _undated(day, prices))
        for symbol, value in row.items():
            if value and symbol not in at[day]:
                problem = f"{symbol} on {day}: its prices begin later"
                raise BacktestDataError(table.name, "date", place, problem)


def _undated(day: date, prices: Table) -> str:
    earlier = [each for each in prices.dates if each < day]
    if not earlier:
        return f"{day} is before the first price, of {prices.dates[0]}"
    return (
        f"look-ahead: {day} has no price, and a signal of that date is dated after the price it "
        f"would trade at, of {earlier[-1]}"
    )


def exactly(value: Number) -> Decimal:
    """Return the decimal that prints like the value."""
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _date(name: str, cell: Cell | EmptyRow) -> date:
    value = cell.day
    # A numpy date knows itself as a Python one.
    if hasattr(value, "astype"):
        value = value.astype("datetime64[us]").item()
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if value != value:  # noqa: PLR0124 - pandas' NaT is a datetime that has no date
        value = None
    if isinstance(value, datetime):
        value = value.date() if value.time() == time.min else None
    if not isinstance(value, date):
        problem = f"expected a day such as 2024-01-31, got {str(cell.day)[:40]!r}"
        raise BacktestDataError(name, "date", cell.row, problem)
    return value


def _symbol(name: str, cell: Cell, symbols: dict[Any, Symbol]) -> Symbol:
    if not isinstance(cell.symbol, str):
        problem = f"expected a symbol, got {str(cell.symbol)[:40]!r}"
        raise BacktestDataError(name, "symbol", cell.row, problem)
    try:
        symbol = parse_symbol(cell.symbol)
    except InvalidRequest as refused:
        raise BacktestDataError(name, "symbol", cell.row, refused.problem) from None
    symbols[cell.symbol] = symbol
    return symbol


def _number(name: str, cell: Cell) -> Number:
    value = cell.value
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, str):
        try:
            value = Decimal(value)
        except InvalidOperation:
            value = None
    is_number = isinstance(value, float | int | Decimal) and not isinstance(value, bool)
    if not is_number or not _is_finite(value):
        problem = f"{cell.symbol}: expected a finite number, got {_shown(cell.value)}"
        raise BacktestDataError(name, "value", cell.row, problem)
    number: Number = value
    return number


def _is_finite(number: Number) -> bool:
    """Whether it is finite, as a float too: a weight is one."""
    try:
        return isfinite(number)
    except (OverflowError, ValueError):  # an integer beyond a float; a signalling nan
        return False


def _shown(value: Any) -> str:
    try:
        return repr(str(value)[:40])
    except ValueError:  # an integer of more digits than Python writes
        return "an integer too large to write"
