"""Rows of plain values as CSV or Parquet files."""

import csv
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from attrs import frozen

from orchestrator_entrypoints.reports.extras import require_extra

# None is an empty cell.
Value = Decimal | int | float | str | date | None
Row = Mapping[str, Value]


@frozen
class Table:
    """Rows of plain values.

    Attributes:
        columns: Their names, which a table without rows has too.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, rows: Iterable[Row], columns: Iterable[str] = ()) -> "Table":
        """Return rows under the columns named, and under further ones in the order met."""
        held = tuple(rows)
        met = (column for row in held for column in row)
        return cls(tuple(dict.fromkeys((*columns, *met))), held)


class TableFormat(StrEnum):
    """How tables are written; its name ends the file's."""

    CSV = "csv"
    PARQUET = "parquet"


def require_format(form: TableFormat) -> None:
    """Return if tables of that form can be written.

    Raises:
        MissingExtra: They cannot.
    """
    if form is TableFormat.PARQUET:
        require_extra("pyarrow", "parquet", why="Parquet")


def write_table(directory: Path, name: str, table: Table, form: TableFormat) -> Path:
    """Write a table to a file of that name; return its path.

    CSV holds decimals digit by digit; Parquet holds them as float64, since its decimals have one
    scale a column.

    Raises:
        MissingExtra: Of Parquet.
        OSError: The file cannot be written.
    """
    path = directory / f"{name}.{form}"
    if form is TableFormat.CSV:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(table.columns)
            writer.writerows(
                [_cell(row.get(column)) for column in table.columns] for row in table.rows
            )
    else:
        _write_parquet(path, table)
    return path


def _cell(value: Value) -> object:
    if isinstance(value, str):
        # A return by itself is a row's end to readers, and not quoted by the writer.
        return value.replace("\r", " ")
    return f"{value:f}" if isinstance(value, Decimal) else value


def _write_parquet(path: Path, table: Table) -> None:
    require_format(TableFormat.PARQUET)
    import pyarrow as pa  # noqa: PLC0415 - optional
    from pyarrow import parquet  # noqa: PLC0415 - optional

    values = {column: [_plain(row.get(column)) for row in table.rows] for column in table.columns}
    parquet.write_table(pa.table(values), path)


def _plain(value: Value) -> object:
    return float(value) if isinstance(value, Decimal) else value
