"""Signals and prices from CSV or Parquet files.

Either a row holds one value (`date`, `symbol` and a column of the value), or a row holds a day: a
column `date`, and one column a symbol. In the latter an empty cell is no value. What stands in the
cells is for `backtests.tables` to judge.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from orchestrator_entrypoints.backtests.frames import DATE, SYMBOL, Cell, EmptyRow, Given
from orchestrator_entrypoints.commands.edge import CommandFailure, describe_os_error
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.reports.extras import require_extra

WEIGHT_COLUMNS = ("weight", "target_weight")
CLOSE_COLUMNS = ("close", "price")
OPEN_COLUMNS = ("open",)
# What pandas calls an index that has no name.
_INDEX = "__index_level_0__"


@frozen
class SeriesFile:
    """What a file holds.

    Attributes:
        cells: In the file's order, their rows counted from 1; of CSV that is the header.
        others: Of a second column of values, such as opens; None where there is none.
    """

    path: Path
    cells: tuple[Given, ...]
    others: tuple[Given, ...] | None = None


def read_series(path: Path, names: Sequence[str], others: Sequence[str] = ()) -> SeriesFile:
    """Return the cells of a file.

    Args:
        path: Parquet where it ends in `.parquet`, else CSV.
        names: What the column of values may be called.
        others: What a second column of values may be called.

    Raises:
        CommandFailure: The file cannot be read, or has no such columns; names it, and the row.
        MissingExtra: Parquet cannot be read.
    """
    header, body = _read(path)
    places = _places(path, header)
    for number, row in body:
        if len(row) != len(header):
            raise _failure(path, number, f"expected {len(header)} columns, got {len(row)}")
    # CLOSE and OPEN are tickers, too.
    valued = [name for name in header if name.lower() in names and not name.isupper()]
    if SYMBOL not in places and valued:
        raise _failure(path, None, f"expected a column symbol beside {valued[0]}")
    if SYMBOL not in places:
        return SeriesFile(path, tuple(_by_day(path, header, places[DATE], body)))
    if len([name for name in names if name in places]) > 1:
        raise _failure(path, None, f"expected one column of {', '.join(names)}")
    found = next((name for name in names if name in places), None)
    if found is None:
        raise _failure(path, None, f"expected a column {' or '.join(names)}")
    second = next((name for name in others if name in places), None)
    return SeriesFile(
        path,
        tuple(_by_row(header, places, found, body)),
        None if second is None else tuple(_by_row(header, places, second, body)),
    )


Row = Sequence[object]
Body = Sequence[tuple[int, Row]]


def _read(path: Path) -> tuple[list[str], Body]:
    """Return the names of the columns, and the rows that hold something, with their numbers."""
    is_parquet = path.suffix == ".parquet"
    # Rows of CSV count from its header's, and those of Parquet from the first below its names.
    rows = enumerate(_parquet_rows(path), start=0) if is_parquet else enumerate(_csv_rows(path), 1)
    try:
        there = [(number, row) for number, row in rows if any(map(_is_there, row))]
    except OSError as error:
        raise CommandFailure(describe_os_error(error), ExitCode.USAGE) from None
    if not there:
        raise CommandFailure(f"{path}: is empty", ExitCode.USAGE)
    (_, names), *body = there
    header = [str(name).strip() for name in names]
    if not header[0] and DATE not in map(str.lower, header):
        header[0] = DATE  # the index of a data frame, which has no name
    return header, body


def _places(path: Path, header: list[str]) -> dict[str, int]:
    """Return where each column stands, by its name in lower case."""
    places = {name.lower(): place for place, name in enumerate(header)}
    if len(places) < len(header):
        twice = next(name for place, name in enumerate(header) if places[name.lower()] != place)
        raise _failure(path, None, f"the column {twice} is there twice")
    if DATE not in places:
        raise _failure(path, None, f"expected a column date, got {', '.join(header)[:80]}")
    return places


def _csv_rows(path: Path) -> Iterator[Row]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            yield from reader
        except csv.Error as problem:
            raise _failure(path, reader.line_num, f"no CSV: {problem}") from None
        except UnicodeDecodeError as problem:
            raise CommandFailure(f"{path}: no UTF-8: {problem}", ExitCode.USAGE) from None


def _parquet_rows(path: Path) -> Iterator[Row]:
    require_extra("pyarrow", "parquet", why=str(path))
    import pyarrow as pa  # noqa: PLC0415 - optional
    from pyarrow import parquet  # noqa: PLC0415 - optional

    try:
        with path.open("rb") as file:
            table = parquet.read_table(file)
            columns = [column.to_pylist() for column in table.columns]
    except (pa.ArrowException, ValueError, OverflowError) as problem:
        raise CommandFailure(f"{path}: no Parquet: {problem}", ExitCode.USAGE) from None
    names = list(table.column_names)
    if _INDEX in names:
        place = names.index(_INDEX)
        # Of a data frame whose dates are its index; beside dates it means nothing here.
        if DATE in (name.lower() for name in names):
            del names[place], columns[place]
        else:
            names[place] = DATE
    yield names
    yield from zip(*columns, strict=True)


def _by_day(path: Path, header: Sequence[str], dated: int, body: Body) -> Iterator[Given]:
    symbols = [(place, name) for place, name in enumerate(header) if place != dated]
    if not symbols:
        raise _failure(path, None, "expected a column symbol, or one column a symbol")
    for number, row in body:
        there = [(place, name) for place, name in symbols if _is_there(row[place])]
        if not there:
            yield EmptyRow(row[dated], number)
        for place, name in there:
            yield Cell(row[dated], name, row[place], number, name, is_wide=True)


def _by_row(
    header: Sequence[str], places: Mapping[str, int], name: str, body: Body
) -> Iterator[Given]:
    dated, named, valued = places[DATE], places[SYMBOL], places[name]
    for number, row in body:
        yield Cell(row[dated], row[named], row[valued], number, header[valued])


def _is_there(value: object) -> bool:
    return value is not None and value != "" and value == value  # noqa: PLR0124 - nan is not


def _failure(path: Path, row: int | None, problem: str) -> CommandFailure:
    where = "header" if row is None else f"row {row}"
    return CommandFailure(f"{path}: {where}: {problem}", ExitCode.USAGE)
