from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.series_files import (
    CLOSE_COLUMNS,
    OPEN_COLUMNS,
    WEIGHT_COLUMNS,
    read_series,
)

LONG = """Date,Symbol,Close,Open
2024-01-02,KO,60.10,59.9
2024-01-02,MMM,100.5,100

2024-01-03,KO,60.20,60.1
"""
WIDE = """Date,KO,MMM
2024-01-02,60.10,100.5
2024-01-03,60.20,
"""
READ = [
    (date(2024, 1, 2), "KO", Decimal("60.10")),
    (date(2024, 1, 2), "MMM", Decimal("100.5")),
    (date(2024, 1, 3), "KO", Decimal("60.20")),
]


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "some.csv"
    path.write_text(content)
    return path


@pytest.mark.parametrize("content", [LONG, WIDE, "\ufeff" + WIDE.replace("\n", "\r\n")])
def test_rows_of_values_and_rows_of_days_say_the_same(tmp_path: Path, content: str) -> None:
    file = read_series(written(tmp_path, content), CLOSE_COLUMNS, OPEN_COLUMNS)
    assert [(cell.day, cell.symbol, cell.value) for cell in file.cells] == READ
    assert [str(cell.value) for cell in file.others] == (
        ["59.9", "100", "60.1"] if content is LONG else []
    )


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    days, symbols, values = zip(*READ, strict=True)
    long, wide = tmp_path / "long.parquet", tmp_path / "wide.parquet"
    floats = [float(value) for value in values]
    parquet.write_table(pa.table({"date": days, "symbol": symbols, "weight": floats}), long)
    stamps = pa.array(["2024-01-02", "2024-01-03"]).cast(pa.timestamp("ns"))
    columns = {"KO": floats[::2], "MMM": [floats[1], float("nan")], "__index_level_0__": stamps}
    parquet.write_table(pa.table(columns), wide)
    for path in (long, wide):
        cells = read_series(path, WEIGHT_COLUMNS).cells
        assert [(cell.day, cell.symbol, cell.value) for cell in cells] == READ


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "row 1, header: expected a column date, got "),
        ("symbol,weight\n", "row 1, header: expected a column date, got symbol, weight"),
        ("date\n2024-01-02\n", "row 1, header: expected a column symbol, or one column a symbol"),
        ("date,symbol,qty\n", "row 1, header: expected a column weight or target_weight"),
        ("date,KO,KO\n", "row 1, header: a column is there twice"),
        ("date,K O\n", "row 1, K O: 'K O' is no symbol"),
        ("date,KO\n", "holds no values"),
        ("date,KO\n2024-01-02,0.1,0.2\n", "row 2: expected 2 columns, got 3"),
        ("date,KO\n2024-01-02,0.1\n02.01.2024,1\n", "row 3, date: expected YYYY-MM-DD, got '02.01"),
        ("date,KO,MMM\n2024-01-02,0.1,n/a\n", "row 2, MMM: expected a finite number, got 'n/a'"),
        ("date,KO\n2024-01-02,nan\n", "row 2, KO: expected a finite number, got 'nan'"),
        ("date,symbol,weight\n2024-01-02,KO,\n", "row 2, weight: is empty"),
        ("date,symbol,weight\n2024-01-02,*,1\n", "row 2, symbol: '*' is no symbol"),
        ('date,KO\n2024-01-02,"0.1\n', "no CSV: unexpected end of data"),
    ],
)
def test_what_is_wrong_is_told_by_file_row_and_column(
    tmp_path: Path, content: str, said: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(CommandFailure) as told:
        read_series(path, WEIGHT_COLUMNS)
    assert str(told.value).startswith(f"{path}: ")
    assert said in str(told.value)
    assert told.value.code is ExitCode.USAGE


def test_a_day_without_any_value_is_a_gap_of_prices_and_nothing_in_signals(tmp_path: Path) -> None:
    path = written(tmp_path, "date,KO\n2024-01-01,\n2024-01-02,1\n2024-01-03,\n2024-01-04,2\n")
    assert [cell.value for cell in read_series(path, WEIGHT_COLUMNS).cells] == [1, 2]
    with pytest.raises(CommandFailure, match="row 4: gap: no values on 2024-01-03"):
        read_series(path, CLOSE_COLUMNS, is_gapless=True)


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    path.write_text(WIDE)
    with pytest.raises(CommandFailure, match="no Parquet"):
        read_series(path, WEIGHT_COLUMNS)
