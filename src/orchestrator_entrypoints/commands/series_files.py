"""Signals and prices from CSV or Parquet files.

Either a row holds one value (`date`, `symbol` and a column of the value), or a row holds a day: a
column `date`, and one column a symbol. An empty cell is no value.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from attrs import frozen

from orchestrator_core.errors import InvalidRequest
from orchestrator_core.identifiers import Symbol, parse_symbol
from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.reports.extras import require_extra

WEIGHT_COLUMNS = ("weight", "target_weight")
CLOSE_COLUMNS = ("close", "price")
OPEN_COLUMNS = ("open",)


@frozen
class Cell:
    """One value of a file.

    Attributes:
        value: As it stands there.
        row: Of the file, the header being 1.
        column: Its name in the header.
    """

    day: date
    symbol: Symbol
    value: Decimal
    row: int
    column: str


@frozen
class SeriesFile:
    """What a file holds.

    Attributes:
        cells: In the file's order.
        others: Of a second column of values, such as opens; empty where there is none.
    """

    path: Path
    cells: tuple[Cell, ...]
    others: tuple[Cell, ...] = ()


def read_series(
    path: Path, names: Sequence[str], others: Sequence[str] = (), *, is_gapless: bool = False
) -> SeriesFile:
    """Return the values of a file.

    Args:
        path: Parquet where it ends in `.parquet`, else CSV.
        names: What the column of values may be called.
        others: What a second column of values may be called.
        is_gapless: Whether every day from the first value on must have one.

    Raises:
        CommandFailure: The file cannot be understood; names it, the row and the column.
        MissingExtra: Parquet cannot be read.
        OSError: The file cannot be read.
    """
    rows = _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path)
    header = [str(name).strip() for name in next(rows, ())]
    places = {name.lower(): place for place, name in enumerate(header)}
    if len(places) < len(header):
        raise _failure(path, 1, "header", "a column is there twice")
    if "date" not in places:
        raise _failure(path, 1, "header", f"expected a column date, got {', '.join(header)[:80]}")
    body = [(number, row) for number, row in enumerate(rows, start=2) if any(map(_is_there, row))]
    for number, row in body:
        if len(row) != len(header):
            raise _failure(path, number, "", f"expected {len(header)} columns, got {len(row)}")
    if "symbol" not in places:
        cells = tuple(_by_day(path, header, places["date"], body, is_gapless=is_gapless))
        return SeriesFile(path, _some(path, cells))
    found = _column(path, places, names)
    second = next((name for name in others if name in places), None)
    return SeriesFile(
        path,
        _some(path, tuple(_by_row(path, header, places, found, body))),
        () if second is None else tuple(_by_row(path, header, places, second, body)),
    )


Row = Sequence[object]
Body = Iterable[tuple[int, Row]]


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            yield from reader
        except (csv.Error, UnicodeDecodeError) as problem:
            raise _failure(path, reader.line_num + 1, "", f"no CSV: {problem}") from None


def _parquet_rows(path: Path) -> Iterator[Row]:
    require_extra("pyarrow", "parquet", why=str(path))
    import pyarrow as pa  # noqa: PLC0415 - optional
    from pyarrow import parquet  # noqa: PLC0415 - optional

    try:
        table = parquet.read_table(path)
    except pa.ArrowInvalid as problem:
        raise CommandFailure(f"{path}: no Parquet: {problem}", ExitCode.USAGE) from None
    # A data frame's index of dates is a column of its own name.
    yield ["date" if name == "__index_level_0__" else name for name in table.column_names]
    yield from zip(*(column.to_pylist() for column in table.columns), strict=True)


def _by_day(
    path: Path, header: Sequence[str], dated: int, body: Body, *, is_gapless: bool
) -> Iterator[Cell]:
    symbols = {
        place: _symbol(path, 1, name, name) for place, name in enumerate(header) if place != dated
    }
    if not symbols:
        raise _failure(path, 1, "header", "expected a column symbol, or one column a symbol")
    has_begun = False
    for number, row in body:
        day = _date(path, number, row[dated])
        is_empty = not any(_is_there(row[place]) for place in symbols)
        if is_empty and has_begun and is_gapless:
            raise _failure(path, number, "", f"gap: no values on {day}")
        has_begun = has_begun or not is_empty
        for place, symbol in symbols.items():
            if _is_there(row[place]):
                value = _number(path, number, header[place], row[place])
                yield Cell(day, symbol, value, number, header[place])


def _by_row(
    path: Path, header: Sequence[str], places: Mapping[str, int], name: str, body: Body
) -> Iterator[Cell]:
    dated, named, valued = places["date"], places["symbol"], places[name]
    for number, row in body:
        day = _date(path, number, row[dated])
        symbol = _symbol(path, number, header[named], row[named])
        if not _is_there(row[valued]):
            raise _failure(path, number, header[valued], "is empty")
        value = _number(path, number, header[valued], row[valued])
        yield Cell(day, symbol, value, number, header[valued])


def _column(path: Path, places: Mapping[str, int], names: Sequence[str]) -> str:
    for name in names:
        if name in places:
            return name
    raise _failure(path, 1, "header", f"expected a column {' or '.join(names)}")


def _some(path: Path, cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
    if not cells:
        raise CommandFailure(f"{path}: holds no values", ExitCode.USAGE)
    return cells


def _is_there(value: object) -> bool:
    return value is not None and value != "" and value == value  # noqa: PLR0124 - nan is not


def _date(path: Path, row: int, value: object) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    text = str(value).strip()
    try:
        # Files of data frames say midnight.
        return date.fromisoformat(text.removesuffix(" 00:00:00").removesuffix("T00:00:00"))
    except ValueError:
        raise _failure(path, row, "date", f"expected YYYY-MM-DD, got {text[:40]!r}") from None


def _symbol(path: Path, row: int, column: str, value: object) -> Symbol:
    try:
        return parse_symbol(str(value))
    except InvalidRequest as problem:
        raise _failure(path, row, column, problem.problem) from None


def _number(path: Path, row: int, column: str, value: object) -> Decimal:
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise _failure(path, row, column, f"expected a finite number, got {str(value)[:40]!r}")
    return number


def _failure(path: Path, row: int, column: str, problem: str) -> CommandFailure:
    where = f"row {row}" + (f", {column}" if column else "")
    return CommandFailure(f"{path}: {where}: {problem}", ExitCode.USAGE)
