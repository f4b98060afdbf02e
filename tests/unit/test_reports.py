import csv
import json
import re
from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from pyarrow import parquet

from orchestrator_entrypoints.backtests.result import BacktestResult, Day
from orchestrator_entrypoints.reports.backtest_page import backtest_page, plot_days
from orchestrator_entrypoints.reports.extras import MissingExtra, require_extra
from orchestrator_entrypoints.reports.figures import SHOWN
from orchestrator_entrypoints.reports.heat_map import describe_sweep, draw_sweep
from orchestrator_entrypoints.reports.page import Page, PageTable, write_page
from orchestrator_entrypoints.reports.sweep_page import best_first, notes_of, sweep_page, table_of
from orchestrator_entrypoints.reports.tables import Row, Table, TableFormat, write_table
from orchestrator_entrypoints.sweeps.cells import Axis, Outcome, grid

HOSTILE = "</script><img src=x onerror=alert(1)>&"


def a_day(number: int, **figures: Any) -> Day:
    return Day(
        date=date(2024, 1, number),
        equity=Decimal(100 + number),
        cash=Decimal(5),
        positions={},
        **figures,
    )


def a_result(*days: Day, **fields: Any) -> BacktestResult:
    return BacktestResult(days, (), (), Decimal(100), fields.pop("policy", {}), **fields)


class Reader(HTMLParser):
    """Keeps the tags of a page, and the text outside scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] != "script":
            self.text += data


def test_a_page_names_nothing_outside_itself_and_forbids_to_fetch_it(tmp_path: Path) -> None:
    write_page(
        backtest_page(a_result(a_day(1)), title="Backtest", source="ours"), tmp_path / "page"
    )
    read = Reader((tmp_path / "page").read_text())
    links = [
        value for _, tag in read.tags for name, value in tag.items() if name in {"src", "href"}
    ]
    assert links == ["data:,"]
    [policy] = [
        tag["content"] for _, tag in read.tags if tag.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_plots_have_no_button_that_sends_them_away(tmp_path: Path) -> None:
    write_page(backtest_page(a_result(a_day(1)), title="", source=""), tmp_path / "page")
    [config] = re.findall(r"\{\"displaylogo.*?\}", (tmp_path / "page").read_text())
    told = json.loads(config)
    assert told["showSendToCloud"] is False
    assert told["plotlyServerURL"] == ""


def test_text_of_others_stays_text(tmp_path: Path) -> None:
    plot = draw_sweep([Axis(HOSTILE, ("1", "2"))], [], SHOWN)
    page = Page(
        HOSTILE,
        HOSTILE,
        [(HOSTILE, HOSTILE)],
        [(HOSTILE, plot)],
        [PageTable(HOSTILE, (HOSTILE,), ((HOSTILE,),))],
        [HOSTILE],
    )
    write_page(page, tmp_path / "page")
    read = Reader((tmp_path / "page").read_text())
    assert "img" not in {tag for tag, _ in read.tags}
    assert read.text.count(HOSTILE) == 10


def test_a_plot_of_days_is_one_that_plotly_knows_and_holds_their_figures() -> None:
    days = (
        a_day(1, drawdown=Decimal("0.25"), denials={"OPEN_ORDER": 2}, short=Decimal(7)),
        a_day(2, leftover_cash=Decimal("1.5"), turnover=Decimal(9), denials={"REDUCE_ONLY": 1}),
    )
    drawn = go.Figure(plot_days(days))
    found = {trace.name: list(trace.y) for trace in drawn.data}
    assert found["equity"] == [101.0, 102.0]
    assert found["drawdown"] == [-0.25, 0.0]
    assert found["short"] == [-7.0, 0.0]
    assert found["leftover"] == [None, 1.5]
    assert found["turnover"] == [0.0, 9.0]
    assert found["OPEN_ORDER"] == [2, 0]
    assert found["REDUCE_ONLY"] == [0, 1]


def test_panels_of_zeros_begin_at_zero() -> None:
    layout = plot_days((a_day(1), a_day(2)))["layout"]
    axes = [axis for name, axis in layout.items() if name.startswith("yaxis")]
    ranges = [axis["range"] for axis in axes if "range" in axis]
    assert ranges == [[-0.01, 0], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1]]
    go.Figure(layout=layout)


def test_denials_of_many_codes_are_drawn_to_the_last() -> None:
    codes = {f"CODE_{n:02d}": n for n in range(1, 15)}
    drawn = go.Figure(plot_days((a_day(1, denials=codes),)))
    counted = {trace.name: trace.y[0] for trace in drawn.data if trace.name in {*codes, "others"}}
    assert sum(counted.values()) == sum(codes.values())
    assert counted["others"] == sum(range(8, 15))


AXES = (Axis("cap", ("1", "2")), Axis("fixed", ("x",)), Axis("lot", ("5", "6", "7")))


def outcomes_of(*axes: Axis) -> list[Outcome]:
    return [
        Outcome(cell, {**dict.fromkeys((figure.name for figure in SHOWN), "0"), "orders": str(n)})
        for n, cell in enumerate(grid(axes))
    ]


def test_a_heat_map_has_each_cell_in_its_place() -> None:
    drawn = go.Figure(draw_sweep(AXES, outcomes_of(*AXES), SHOWN))
    [trace] = [trace for trace in drawn.data if trace.name == "orders"]
    assert (list(trace.y), list(trace.x)) == (["1", "2"], ["5", "6", "7"])
    assert [list(row) for row in trace.z] == [[0, 1, 2], [3, 4, 5]]
    assert describe_sweep(AXES) == "cap against lot"


def test_further_axes_are_averaged_over_and_a_cell_without_figures_is_a_gap() -> None:
    axes = (*AXES, Axis("buffer", ("0", "0.1")))
    outcomes = outcomes_of(*axes)
    for place in (0, 2, 3):
        outcomes[place] = Outcome(outcomes[place].cell, error="ValueError: no")
    drawn = go.Figure(draw_sweep(axes, outcomes, SHOWN))
    [trace] = [trace for trace in drawn.data if trace.name == "orders"]
    assert [list(row) for row in trace.z] == [[1, None, 4.5], [6.5, 8.5, 10.5]]
    assert describe_sweep(axes).endswith("mean over buffer")
    page = sweep_page(axes, outcomes, source="ours", policy={"lot": "1"})
    assert page.notes == ["3 cells: ValueError: no"]
    assert table_of(outcomes).rows[0]["error"] == "ValueError: no"


def test_notes_of_cells_are_told_with_how_many_they_are_of() -> None:
    cells = grid((Axis("cap", tuple(map(str, range(20)))),))
    everywhere = [Outcome(cell, {"notes": "a word of all"}) for cell in cells]
    assert notes_of(everywhere) == ["a word of all"]
    texts = ["", "twice | thrice", "twice", *["thrice"] * 2, *(f"alone {n}" for n in range(15))]
    mixed = [
        Outcome(cell, {"notes": text}) if text != "alone 0" else Outcome(cell, error="ValueError")
        for cell, text in zip(cells, texts, strict=True)
    ]
    assert notes_of(mixed) == [
        "3 cells: thrice",
        "2 cells: twice",
        "1 cell: ValueError",
        "1 cell: alone 1",
        "1 cell: alone 2",
        "12 more notes of cells: the table of cells holds them",
    ]


@pytest.mark.parametrize("values", [("1",), ("1", "2", "3")])
def test_one_axis_is_drawn_as_a_line(values: tuple[str, ...]) -> None:
    axis = Axis("cap", values)
    drawn = go.Figure(draw_sweep([axis], outcomes_of(axis), SHOWN))
    [trace] = [trace for trace in drawn.data if trace.name == "orders"]
    assert list(trace.y) == list(range(len(values)))


def test_tables_hold_decimals_digit_by_digit_or_as_floats(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"date": date(2024, 1, 2), "equity": Decimal("1E+5"), "status": None},
        {"date": date(2024, 1, 3), "equity": Decimal("0.10"), "status": "a,b", "more": 3},
    ]
    path = write_table(tmp_path, "days", Table.of(rows), TableFormat.CSV)
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["date", "equity", "status", "more"],
            ["2024-01-02", "100000", "", ""],
            ["2024-01-03", "0.10", "a,b", "3"],
        ]
    path = write_table(tmp_path, "days", Table.of(rows), TableFormat.PARQUET)
    assert parquet.read_table(path).to_pylist() == [
        {"date": date(2024, 1, 2), "equity": 100_000.0, "status": None, "more": None},
        {"date": date(2024, 1, 3), "equity": 0.1, "status": "a,b", "more": 3},
    ]


def test_a_text_with_a_return_is_one_cell_of_one_row(tmp_path: Path) -> None:
    path = write_table(tmp_path, "days", Table.of([{"name": "a\rb\nc"}]), TableFormat.CSV)
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [["name"], ["a b\nc"]]


@pytest.mark.parametrize("form", TableFormat)
def test_a_table_without_rows_has_its_columns(tmp_path: Path, form: TableFormat) -> None:
    path = write_table(tmp_path, "orders", Table.of([], ("date", "symbol")), form)
    if form is TableFormat.CSV:
        assert path.read_text() == "date,symbol\n"
    else:
        assert parquet.read_table(path).column_names == ["date", "symbol"]


def test_cells_that_traded_nothing_are_no_best_ones() -> None:
    figures = [("0.1", "5"), ("-0.2", "7"), ("0.0", "0"), ("0.3", "0")]
    outcomes = [
        Outcome((("cap", str(n)),), {"total_return": total, "turnover": turnover})
        for n, (total, turnover) in enumerate(figures)
    ]
    assert [dict(each.cell)["cap"] for each in best_first(outcomes)] == ["0", "1", "3", "2"]


def test_an_extra_that_is_missing_is_named_in_one_line() -> None:
    with pytest.raises(MissingExtra) as told:
        require_extra("no_such_package", "report", why="the HTML report")
    assert str(told.value) == (
        "the HTML report needs no_such_package, which is not installed: "
        "pip install 'orchestrator[report]'"
    )
