from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from orchestrator_entrypoints.backtests.frames import EmptyRow
from orchestrator_entrypoints.backtests.tables import PRICES, SIGNALS, Table, read_table
from orchestrator_entrypoints.commands.backtest_inputs import located
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
2024-01-02 00:00:00,60.10,100.5
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


def values_of(table: Table) -> list[tuple[date, str, Decimal]]:
    return [
        (day, symbol, Decimal(str(value)))
        for _, day, values in table.by_date()
        for symbol, value in values.items()
    ]


@pytest.mark.parametrize(
    "content",
    [
        LONG,
        WIDE,
        "\n\n" + WIDE,
        WIDE.removeprefix("Date"),  # a data frame's index without a name
        "\ufeff" + WIDE.replace("\n", "\r\n"),
    ],
)
def test_rows_of_values_and_rows_of_days_say_the_same(tmp_path: Path, content: str) -> None:
    file = read_series(written(tmp_path, content), CLOSE_COLUMNS, OPEN_COLUMNS)
    assert values_of(read_table(PRICES, file.cells)) == READ
    assert (file.others is not None) == (content is LONG)
    if file.others is not None:
        opens = values_of(read_table("opens", file.others))
        assert [str(value) for _, _, value in opens] == ["59.9", "100", "60.1"]


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    days, symbols, values = zip(*READ, strict=True)
    long, wide = tmp_path / "long.parquet", tmp_path / "wide.parquet"
    floats = [float(value) for value in values]
    parquet.write_table(pa.table({"date": days, "symbol": symbols, "weight": floats}), long)
    stamps = pa.array(["2024-01-02", "2024-01-03"]).cast(pa.timestamp("ns"))
    columns = {"KO": floats[::2], "MMM": [floats[1], float("nan")], "__index_level_0__": stamps}
    parquet.write_table(pa.table(columns), wide)
    # A frame that was filtered leaves its index beside its dates.
    filtered = tmp_path / "filtered.parquet"
    table = pa.table({"Date": days, "symbol": symbols, "weight": floats})
    parquet.write_table(table.append_column("__index_level_0__", [[3, 5, 8]]), filtered)
    for path in (long, wide, filtered):
        assert values_of(read_table(SIGNALS, read_series(path, WEIGHT_COLUMNS).cells)) == READ


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ("symbol,weight\n", "header: expected a column date, got symbol, weight"),
        ("date\n2024-01-02\n", "header: expected a column symbol, or one column a symbol"),
        ("date,ticker,weight\n", "header: expected a column symbol beside weight"),
        ("date,symbol,qty\n", "header: expected a column weight or target_weight"),
        ("date,KO,KO\n", "header: the column KO is there twice"),
        ("date,KO\n2024-01-02,0.1,0.2\n", "row 2: expected 2 columns, got 3"),
        ("\ndate,KO\n\n2024-01-02,x\n", "row 4, KO: expected a finite number"),
        ('date,KO\n2024-01-02,"0.1\n', "row 2: no CSV: unexpected end of data"),
        # What is in the cells is judged as it is of any other form.
        ("date,K O\n2024-01-02,1\n", "row 2, K O: 'K O' is no symbol"),
        ("date,KO\n", "value: expected at least one value"),
        ("date,KO\n2024-01-02,0.1\n02.01.2024,1\n", "row 3, date: expected a day such as"),
        ("date,KO\n2024-01-02 15:30,0.1\n", "row 2, date: expected a day such as"),
        ("date,KO,MMM\n2024-01-02,0.1,n/a\n", "row 2, MMM: expected a finite number"),
        ("date,KO\n2024-01-02,nan\n", "row 2, KO: expected a finite number, got 'nan'"),
        ("date,KO\n2024-01-02,1\n2024-01-02,1\n", "row 3, date: 2024-01-02 is given twice"),
        ("date,symbol,weight\n2024-01-02,KO,\n", "row 2, weight: KO: expected a finite number"),
        ("date,symbol,weight\n2024-01-02,*,1\n", "row 2, symbol: '*' is no symbol"),
        ("date,symbol,weight\n2024-01-02,,1\n", "row 2, symbol: '' is no symbol"),
    ],
)
def test_what_is_wrong_is_told_by_file_row_and_column(
    tmp_path: Path, content: str, said: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(CommandFailure) as told, located({SIGNALS: path}):
        read_table(SIGNALS, read_series(path, WEIGHT_COLUMNS).cells)
    assert str(told.value).startswith(f"{path}: ")
    assert said in str(told.value)
    assert told.value.code is ExitCode.USAGE


def test_a_day_without_any_value_is_kept_as_an_empty_row(tmp_path: Path) -> None:
    path = written(tmp_path, "date,KO\n2024-01-01,\n2024-01-02,1\n,\n2024-01-03,\n")
    empty, _, last = read_series(path, WEIGHT_COLUMNS).cells
    assert (empty, last) == (EmptyRow("2024-01-01", 2), EmptyRow("2024-01-03", 5))


def test_a_file_that_is_no_parquet_is_told(tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    path.write_text(WIDE)
    with pytest.raises(CommandFailure, match="no Parquet"):
        read_series(path, WEIGHT_COLUMNS)
