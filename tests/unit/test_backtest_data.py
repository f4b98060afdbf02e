"""The forms that signals and prices come in, and what is said of those that are wrong."""

from datetime import date, datetime
from decimal import Decimal
from math import nan
from typing import Any

import numpy as np
import pytest

from orchestrator_core.model import SignalBatch
from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.frames import Matrix
from orchestrator_entrypoints.backtests.inputs import batch_of
from orchestrator_entrypoints.backtests.tables import (
    BacktestDataError,
    Table,
    read_prices,
    read_table,
)

DAYS = [date(2024, 1, 2), date(2024, 1, 3)]
TEXTS = [day.isoformat() for day in DAYS]
ROWS = [(DAYS[0], "KO", 60.5), (DAYS[0], "MO", 40.0), (DAYS[1], "KO", 61.5)]

ColumnsByName = dict[str, list[Any]]


class LikePolars:
    """What of a polars frame is used."""

    def __init__(self, columns: ColumnsByName) -> None:
        self.columns: list[Any] = list(columns)
        self._columns = columns

    def __getitem__(self, name: str) -> "LikeSeries":
        return LikeSeries(self._columns[name])


class LikeSeries:
    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def to_list(self) -> list[Any]:
        return self._values


class LikeArrow(LikePolars):
    def __init__(self, columns: ColumnsByName) -> None:
        super().__init__(columns)
        self.column_names = list(columns)
        self.columns = [object()]


WIDE: ColumnsByName = {"Date": TEXTS, "KO": [60.5, 61.5], "MO": [40.0, None]}
LONG: ColumnsByName = {
    "date": [row[0] for row in ROWS],
    "symbol": [row[1] for row in ROWS],
    "weight": [row[2] for row in ROWS],
}

FORMS: dict[str, Any] = {
    "rows": ROWS,
    "generator": (row for row in ROWS),
    "lists": [list(row) for row in ROWS],
    "texts": [(day.isoformat(), symbol.lower(), str(value)) for day, symbol, value in ROWS],
    "mappings": [dict(zip(("date", "symbol", "close"), row, strict=True)) for row in ROWS],
    "datetimes": [(datetime(day.year, day.month, day.day), s, v) for day, s, v in ROWS],  # noqa: DTZ001
    "dict": {DAYS[0]: {"KO": 60.5, "MO": 40.0}, DAYS[1]: {"KO": 61.5, "MO": nan}},
    "numpy": Matrix(
        np.array(TEXTS, dtype="datetime64[D]"), ["KO", "MO"], np.array([[60.5, 40], [61.5, nan]])
    ),
    "lists with labels": Matrix(TEXTS, ["KO", "MO"], [[60.5, 40.0], [61.5, None]]),
    "numpy numbers": [(day, symbol, np.float64(value)) for day, symbol, value in ROWS],
    "numpy dates": [(np.datetime64(day), symbol, value) for day, symbol, value in ROWS],
    "wide frame": LikePolars(WIDE),
    "long frame": LikePolars(LONG),
    "arrow": LikeArrow(WIDE),
}


def values_of(table: Table) -> list[tuple[date, str, float]]:
    return [
        (day, symbol, float(value))
        for _, day, values in table.by_date()
        for symbol, value in values.items()
    ]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_table(form: str) -> None:
    assert values_of(read_table("prices", FORMS[form])) == ROWS


def test_frames_of_pandas_are_read_wide_and_long() -> None:
    pandas = pytest.importorskip("pandas")
    wide = pandas.DataFrame(
        {"KO": [60.5, 61.5], "MO": [40.0, None]}, index=pandas.DatetimeIndex(TEXTS)
    )
    assert values_of(read_table("prices", wide)) == ROWS
    long = pandas.DataFrame(ROWS, columns=["date", "symbol", "close"])
    assert values_of(read_table("prices", long)) == ROWS
    stamped = long.assign(date=pandas.to_datetime(long["date"]))
    assert values_of(read_table("prices", stamped)) == ROWS
    nullable = wide.astype("Float64")
    assert values_of(read_table("prices", nullable)) == ROWS


def test_frames_of_polars_and_arrow_are_read_wide_and_long() -> None:
    polars = pytest.importorskip("polars")
    wide = polars.DataFrame({"date": DAYS, "KO": [60.5, 61.5], "MO": [40.0, None]})
    long = polars.DataFrame(ROWS, schema=["date", "symbol", "close"], orient="row")
    for frame in (wide, long, wide.to_arrow()):
        assert values_of(read_table("prices", frame)) == ROWS


D0, D1 = DAYS


@pytest.mark.parametrize(
    ("given", "field", "row", "words"),
    [
        ([(D1, "KO", 1), (D0, "KO", 1)], "date", 1, "2024-01-02 comes after 2024-01-03"),
        ([(D0, "KO", 1), (D0, "ko ", 1)], "symbol", 1, "KO is given twice on 2024-01-02"),
        ([(D0, "KO", nan)], "value", 0, "KO: expected a finite number, got 'nan'"),
        ([(D0, "KO", "1,5")], "value", 0, "expected a finite number, got '1,5'"),
        ([(D0, "KO", True)], "value", 0, "expected a finite number, got 'True'"),
        ([(D0, "KO", None)], "value", 0, "expected a finite number, got 'None'"),
        ([(D0, "KO", 1), (D1, "KO", Decimal("sNaN"))], "value", 1, "got 'sNaN'"),
        ([(D0, "KO", "sNaN")], "value", 0, "got 'sNaN'"),
        ([(D0, "KO", 10**400)], "value", 0, "got '1000"),
        ([(D0, "KO", 10**5000)], "value", 0, "got an integer too large to write"),
        ([(D0, "KO", Decimal("1e400"))], "value", 0, "got '1E+400'"),
        ([(D0, ["KO"], 1)], "symbol", 0, "expected a symbol, got"),
        ([(np.datetime64("NaT"), "KO", 1)], "date", 0, "expected a day"),
        ([(D0, "KO", Decimal("inf"))], "value", 0, "expected a finite number"),
        ([("02/01/2024", "KO", 1)], "date", 0, "expected a day such as 2024-01-31"),
        ([("2024-01-02T10:00", "KO", 1)], "date", 0, "expected a day"),
        ([(None, "KO", 1)], "date", 0, "expected a day"),
        ([(20240102, "KO", 1)], "date", 0, "expected a day"),
        ([(D0, "K O", 1)], "symbol", 0, "'K O' is no symbol"),
        ([(D0, 7, 1)], "symbol", 0, "expected a symbol, got '7'"),
        ([(D0, "KO")], "row", 0, "expected (date, symbol, value)"),
        (["KO"], "row", 0, "expected (date, symbol, value)"),
        ({D0: 5}, "row", 0, "expected symbols and values, got '5'"),
        (Matrix(DAYS, ["KO"], [[1.0]]), "value", None, "expected 2 rows of 1 values"),
        ({D0: {"K O": 1}}, "K O", 0, "'K O' is no symbol"),
        (LikePolars({"date": [D0, D0], "KO": [1, 2]}), "date", 1, "2024-01-02 is given twice"),
        (
            LikePolars({"date": [D0, D0], "KO": [1, None], "MO": [None, 2]}),
            *("date", 1, "2024-01-02 is given twice"),
        ),
        (
            LikePolars({"date": [D0, D0], "symbol": ["V", "V"], "V": [1, 2]}),
            *("symbol", 1, "V is given twice on 2024-01-02"),
        ),
        (LikePolars({"date": [D0], "KO": [1], "ko": [2]}), "ko", 0, "KO is given twice"),
        ({D0: {"KO": "x"}}, "KO", 0, "expected a finite number, got 'x'"),
        (LikePolars({**LONG, "weight": [1, "x", 2]}), "weight", 1, "MO: expected a finite"),
        (LikePolars({"KO": [1]}), "date", None, "expected a column date"),
        (LikePolars({**LONG, "more": LONG["weight"]}), "value", None, "expected one column beside"),
        (LikePolars({"date": [D0], "Date": [D0], "KO": [1]}), "row", None, "got 'date' twice"),
        (LikePolars({"date": [D0]}), "value", None, "expected a column of values"),
        (Matrix(TEXTS[:1], [], [[]]), "symbol", None, "expected at least one symbol"),
        (Matrix(TEXTS[:1], ["KO"], np.array([1.0])), "value", None, "expected 1 rows of 1 values"),
        (Matrix(TEXTS[:1], ["KO"], np.array(1.0)), "value", None, "expected 1 rows of 1 values"),
        (Matrix(TEXTS[:1], ["KO"], None), "value", None, "expected 1 rows of 1 values"),
        ([(D0, 10**5000, 1)], "symbol", 0, "got an integer too large to write"),
        ([(np.int64(0), "KO", 1)], "date", 0, "expected a day"),
        ([(np.str_("2024-01"), "KO", 1)], "date", 0, "expected a day"),
        ({D0: {"KO": 1}, "garbage": {}}, "date", 1, "expected a day"),
        ([(D0, "KO", 1.1e15)], "value", 0, "at most 1000000000000000"),
        ([], "value", None, "expected at least one value"),
        (5, "value", None, "expected rows of (date, symbol, value)"),
        ("prices.csv", "value", None, "expected rows of (date, symbol, value)"),
    ],
)
def test_a_malformed_table_says_where(given: Any, field: str, row: int | None, words: str) -> None:
    with pytest.raises(BacktestDataError) as raised:
        read_prices("prices", given)
    error = raised.value
    assert (error.table, error.field, error.row) == ("prices", field, row)
    assert words in error.problem
    assert error.problem in str(error)


def test_dates_of_pandas_that_are_none_and_columns_given_twice_are_named() -> None:
    pandas = pytest.importorskip("pandas")
    for none in (pandas.NaT, pandas.NA):
        with pytest.raises(BacktestDataError, match="row 1, date: expected a day"):
            read_table("prices", [(D0, "KO", 1), (none, "KO", 1)])
    with pytest.raises(BacktestDataError, match="row 1, date: expected a day"):
        read_table("prices", pandas.DataFrame({"date": [D0, pandas.NaT], "KO": [1.0, 1.0]}))
    multiple = pandas.DataFrame(
        {"close": [1.0]},
        index=pandas.MultiIndex.from_tuples([(D0, "KO")], names=["date", "symbol"]),
    )
    with pytest.raises(BacktestDataError, match=r"reset_index\(\)"):
        read_table("prices", multiple)
    periods = pandas.DataFrame({"KO": [1.0]}, index=pandas.PeriodIndex([D0], freq="D"))
    assert read_table("prices", periods).dates == (D0,)
    # A week's value is not known on its first day.
    weeks = pandas.DataFrame({"KO": [1.0]}, index=pandas.PeriodIndex([D0], freq="W"))
    with pytest.raises(BacktestDataError, match="row 0, date: expected a day such as"):
        read_table("prices", weeks)
    wide = pandas.DataFrame([[60.5, 40.0]], columns=["KO", "KO"], index=[D0])
    with pytest.raises(BacktestDataError, match="expected each column once, got 'KO' twice"):
        read_table("prices", wide)


CLOSES = {day: {"KO": 60, "MO": 40} for day in (*DAYS, date(2024, 1, 5))}


@pytest.mark.parametrize(
    ("signals", "prices", "opens", "table", "words"),
    [
        ([(D0, "XOM", 1)], CLOSES, None, "signals", "unknown symbol: no prices of XOM"),
        ([(date(2024, 1, 4), "KO", 1)], CLOSES, None, "signals", "look-ahead: 2024-01-04"),
        ([(date(2024, 1, 6), "KO", 1)], CLOSES, None, "signals", "look-ahead: 2024-01-06"),
        ([(date(2024, 1, 1), "KO", 1)], CLOSES, None, "signals", "before the first price"),
        ([(D0, "KO", 1)], {D0: {"KO": 1}, D1: {"MO": 1}}, None, "prices", "gap: KO has earlier"),
        ([(D0, "MO", 1)], {D0: {"KO": 1}, D1: {"KO": 1, "MO": 1}}, None, "signals", "begin later"),
        (
            [(D0, "KO", 1)],
            {D0: {"KO": 0}},
            None,
            "prices",
            "KO on 2024-01-02: expected a price above",
        ),
        (
            [(D0, "KO", 1)],
            {D0: {"KO": -5.5}},
            None,
            "prices",
            "expected a price above zero, at most 1000000000000000, got -5.5",
        ),
        ([(D0, "KO", 1)], CLOSES, {D0: {"KO": 1}}, "opens", "gap: MO has a close on 2024-01-02"),
        (
            [(D0, "KO", 1)],
            {D0: {"KO": 1}},
            {D0: {"KO": 1, "XOM": 1}},
            "opens",
            "XOM has an open on 2024-01-02, and no",
        ),
        (
            [(D0, "KO", 1)],
            {D0: {"KO": 1}},
            {D0: {"KO": 1}, D1: {"KO": 1}},
            "opens",
            "opens, row 1, date: KO has an open on 2024-01-03, and no close",
        ),
        (
            [(D0, "KO", 1)],
            Matrix([D0, D1, date(2024, 1, 4)], ["KO"], [[1.0], [nan], [1.0]]),
            None,
            "prices",
            "prices, row 1, KO: gap: KO has earlier prices and none on 2024-01-03",
        ),
    ],
)
def test_what_does_not_fit_together_says_where(
    signals: Any, prices: Any, opens: Any, table: str, words: str
) -> None:
    with pytest.raises(BacktestDataError) as raised:
        backtest(signals, prices, opens=opens)
    assert raised.value.table == table
    assert words in str(raised.value)


def test_a_date_without_signals_is_looked_at_too() -> None:
    with pytest.raises(BacktestDataError, match="signals, row 1, date: expected a day"):
        read_table("signals", {D0: {"KO": 1}, "garbage": {}})


def test_a_lazy_frame_is_told_to_collect() -> None:
    polars = pytest.importorskip("polars")
    with pytest.raises(BacktestDataError, match=r"call collect\(\) first"):
        read_table("prices", polars.LazyFrame({"date": [D0], "KO": [1.0]}))


def test_rows_of_no_value_are_nothing_in_signals_and_before_the_first_price() -> None:
    days = [*DAYS, date(2024, 1, 4)]
    signals = Matrix(days, ["KO"], [[nan], [0.5], [nan]])
    result = backtest(signals, {D0: {}, D1: {"KO": 1}, days[2]: {"KO": 1}})
    assert [day.run_status for day in result.days] == ["completed", None]


def test_a_zero_weight_before_the_first_price_is_no_mistake() -> None:
    prices = {DAYS[0]: {"KO": 1.5}, DAYS[1]: {"KO": 1.5, "MO": 1.5}}
    result = backtest({DAYS[0]: {"KO": 0.5, "MO": 0.0}}, prices)
    assert result.days[0].run_status == "completed"


def test_whole_batches_are_traded_as_they_are() -> None:
    batch = batch_of(DAYS[0], {"KO": 0.5, "MO": -0.25})  # type: ignore[dict-item]
    assert [signal.rank for signal in batch.signals] == [1, 2]
    changed = SignalBatch(tuple(reversed(batch.signals)), DAYS[0], 2, {"model": "7"})
    result = backtest([changed], CLOSES)
    assert [order.symbol for order in result.orders] == ["MO", "KO"]
    with pytest.raises(BacktestDataError, match="unknown symbol"):
        backtest([changed], {day: {"KO": 60} for day in CLOSES})


def test_two_batches_of_one_date_are_refused() -> None:
    batch = batch_of(DAYS[0], {"KO": 0.5})  # type: ignore[dict-item]
    with pytest.raises(BacktestDataError, match="row 1, date: 2024-01-02 comes after 2024-01-02"):
        backtest([batch, batch], CLOSES)
