"""The forms that signals and prices are taken in; no library of frames is imported.

Rows: `(date, symbol, value)`, or mappings with `date`, `symbol` and one more name. Mappings: a date
to a mapping of symbols to values. `Matrix`: an array with labels. Frames of pandas, polars or
Arrow, known by what they can do: long with columns `date` and `symbol`, or wide with a column a
symbol and the dates in a column `date` or in the index. `Cell`s, of a form of your own.

In a wide form, None and nan stand for no value. In rows, a value that is none is a mistake.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from typing import Any

from attrs import frozen

DATE, SYMBOL, VALUE, ROW = "date", "symbol", "value", "row"
CELL_PARTS = 3


class FormError(ValueError):
    """What is given has no form known here.

    Attributes:
        field: `date`, `row` or `value`.
        row: Counting from 0; None where it is about no one row.
        problem: One sentence that names what was expected.
    """

    def __init__(self, field: str, problem: str, row: int | None = None) -> None:
        super().__init__(problem)
        self.field = field
        self.row = row
        self.problem = problem


@frozen
class Cell:
    """One value as it was given.

    Attributes:
        row: Of what was given, counting from 0 unless the form counts otherwise.
        column: What the value's column is called.
        is_wide: Whether that is its symbol's.
    """

    day: Any
    symbol: Any
    value: Any
    row: int
    column: Any = VALUE
    is_wide: bool = False


@frozen
class EmptyRow:
    """A date whose row holds no value, in a wide form or a mapping.

    Attributes:
        row: As of a `Cell`.
    """

    day: Any
    row: int


# What every form is made of.
Given = Cell | EmptyRow


@frozen(eq=False)
class Matrix:
    """An array with its labels.

    Attributes:
        dates: Of the rows.
        symbols: Of the columns.
        values: Dates x symbols: a numpy array, or sequences; nan stands for no value.
    """

    dates: Iterable[Any]
    symbols: Iterable[Any]
    values: Any


def cells_of(given: Any) -> Iterable[Given]:
    """Return the values of any form, in its order.

    Raises:
        FormError: It is of no form known here, or labels and values do not fit together: at once,
            or when the values are gone through.
    """
    if isinstance(given, Matrix):
        return _of_matrix(given)
    if isinstance(given, Mapping):
        return _of_mapping(given)
    if hasattr(given, "collect") and hasattr(given, "lazy"):
        raise FormError(VALUE, "expected a frame that holds its values: call collect() first")
    names = _column_names(given)
    if names is not None:
        return _of_frame(given, names)
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        return _of_rows(given)
    raise FormError(
        VALUE,
        "expected rows of (date, symbol, value), a mapping, a Matrix or a frame, got "
        f"{type(given).__name__}",
    )


def _of_rows(rows: Iterable[Any]) -> Iterator[Given]:
    for place, row in enumerate(rows):
        if type(row) is tuple and len(row) == CELL_PARTS:  # what most rows are
            yield Cell(row[0], row[1], row[2], place)
            continue
        if isinstance(row, Cell | EmptyRow):
            yield row
            continue
        if isinstance(row, Mapping):
            values = [value for name, value in row.items() if name not in {DATE, SYMBOL}]
            row = (row.get(DATE), row.get(SYMBOL), *values)  # noqa: PLW2901 - the same in one form
        if isinstance(row, str) or not isinstance(row, Sequence) or len(row) != CELL_PARTS:
            raise FormError(ROW, f"expected (date, symbol, value), got {str(row)[:60]!r}", place)
        yield Cell(row[0], row[1], row[2], place)


def _of_mapping(days: Mapping[Any, Any]) -> Iterator[Given]:
    for place, (day, values) in enumerate(days.items()):
        if not isinstance(values, Mapping):
            raise FormError(ROW, f"expected symbols and values, got {str(values)[:60]!r}", place)
        yield from _of_day(day, values.items(), place)


def _of_matrix(matrix: Matrix) -> Iterator[Given]:
    dates, symbols = list(matrix.dates), list(matrix.symbols)
    if not symbols:
        raise FormError(SYMBOL, "expected at least one symbol")
    try:
        rows = [list(row) for row in _as_list(matrix.values)]
    except TypeError:
        rows = []
    if len(rows) != len(dates) or any(len(row) != len(symbols) for row in rows):
        raise FormError(VALUE, f"expected {len(dates)} rows of {len(symbols)} values")
    return _of_wide(dates, symbols, zip(*rows, strict=True) if rows else ())


def _of_frame(frame: Any, names: Sequence[Any]) -> Iterator[Given]:
    if getattr(getattr(frame, "index", None), "nlevels", 1) > 1:
        raise FormError(ROW, "expected an index of dates alone: call reset_index() first")
    twice = [name for name, count in Counter(map(_folded, names)).items() if count > 1]
    if twice:
        raise FormError(ROW, f"expected each column once, got {twice[0]!r} twice")
    lower = {str(name).lower(): name for name in names}
    if DATE in lower and SYMBOL in lower:
        others = [name for name in names if str(name).lower() not in {DATE, SYMBOL}]
        if len(others) != 1:
            raise FormError(VALUE, f"expected one column beside date and symbol, got {others}")
        columns = (_as_list(frame[lower[DATE]]), _as_list(frame[lower[SYMBOL]]))
        values = _as_list(frame[others[0]])
        return (
            Cell(day, symbol, value, place, others[0])
            for place, (day, symbol, value) in enumerate(zip(*columns, values, strict=True))
        )
    if DATE in lower:
        dates = _as_list(frame[lower[DATE]])
    elif hasattr(frame, "index"):
        dates = _as_list(frame.index)
    else:
        raise FormError(DATE, "expected a column date")
    symbols = [name for name in names if str(name).lower() != DATE]
    if not symbols:
        raise FormError(VALUE, "expected a column of values, or one column a symbol")
    return _of_wide(dates, symbols, (_as_list(frame[name]) for name in symbols))


def _folded(name: Any) -> Any:
    """Return the names that mean something here as they are known, and others as they are."""
    lower = str(name).lower()
    return lower if lower in {DATE, SYMBOL} else name


def _of_wide(
    dates: Sequence[Any], symbols: Sequence[Any], columns: Iterable[Sequence[Any]]
) -> Iterator[Given]:
    by_row = zip(*columns, strict=True)
    for place, (day, values) in enumerate(zip(dates, by_row, strict=True)):
        yield from _of_day(day, zip(symbols, values, strict=True), place)


def _of_day(day: Any, values: Iterable[tuple[Any, Any]], place: int) -> Iterator[Given]:
    is_empty = True
    for symbol, value in values:
        if not _is_missing(value):
            is_empty = False
            yield Cell(day, symbol, value, place, symbol, is_wide=True)
    if is_empty:
        yield EmptyRow(day, place)


def _column_names(given: Any) -> Sequence[Any] | None:
    names = getattr(given, "column_names", None)  # Arrow
    if names is None:
        names = getattr(given, "columns", None)  # pandas, polars
    return None if names is None else list(names)


def _as_list(column: Any) -> list[Any]:
    for name in ("tolist", "to_list", "to_pylist"):
        if hasattr(column, name):
            return list(getattr(column, name)())
    return list(column)


def _is_missing(value: Any) -> bool:
    # Known by name, since the library of frames that they are of is not imported.
    if value is None or type(value).__name__ in {"NaTType", "NAType"}:
        return True
    return isinstance(value, float) and isnan(value)
