"""Rows of plain values as CSV or Parquet files."""

import csv
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

from orchestrator_entrypoints.reports.extras import require_extra

# None is an empty cell.
Value = Decimal | int | float | str | date | None
Rows = Sequence[Mapping[str, Value]]


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


def write_table(directory: Path, name: str, rows: Rows, form: TableFormat) -> Path:
    """Write rows to a file of that name; return its path.

    Columns are the keys in the order met. CSV holds decimals digit by digit; Parquet holds them as
    float64, since its decimals have one scale a column.

    Raises:
        MissingExtra: Of Parquet.
        OSError: The file cannot be written.
    """
    path = directory / f"{name}.{form}"
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if form is TableFormat.CSV:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    else:
        _write_parquet(path, columns, rows)
    return path


def _cell(value: Value) -> object:
    return f"{value:f}" if isinstance(value, Decimal) else value


def _write_parquet(path: Path, columns: Sequence[str], rows: Rows) -> None:
    require_format(TableFormat.PARQUET)
    import pyarrow as pa  # noqa: PLC0415 - optional
    from pyarrow import parquet  # noqa: PLC0415 - optional

    values = {column: [_plain(row.get(column)) for row in rows] for column in columns}
    parquet.write_table(pa.table(values), path)


def _plain(value: Value) -> object:
    return float(value) if isinstance(value, Decimal) else value
