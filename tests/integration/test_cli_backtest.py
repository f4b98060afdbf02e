"""Backtests and sweeps from the command line: what they write, and how they end."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from orchestrator_entrypoints.cli import main
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.data import daily_prices
from orchestrator_entrypoints.demo.peers import PAPER, running_peers
from tests.integration.dask_cluster import running_cluster
from tests.integration.test_sweeps import wait_until

Captured = pytest.CaptureFixture[str]

SIGNALS = """date,symbol,weight
2024-01-02,KO,0.5
2024-01-02,MMM,-0.25
2024-01-03,KO,0.5
2024-01-04,KO,0.25
"""
PRICES = """date,symbol,close,open
2024-01-02,KO,60,59
2024-01-02,MMM,100,99
2024-01-03,KO,61,60.5
2024-01-03,MMM,101,100
2024-01-04,KO,62,61
2024-01-04,MMM,99,101
2024-01-05,KO,61,62
2024-01-05,MMM,98,99
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "signals.csv").write_text(SIGNALS)
    (tmp_path / "prices.csv").write_text(PRICES)
    return tmp_path


FILES = ["--signals", "signals.csv", "--prices", "prices.csv"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_options_it_trades_the_bundled_data_and_leaves_a_report(
    here: Path, capsys: Captured
) -> None:
    assert main(["backtest"]) == ExitCode.DONE
    said = capsys.readouterr()
    assert "days               502\n" in said.out
    days = rows_of(here / "orchestrator-backtest-days.csv")
    assert (days[0]["date"], days[-1]["date"]) == ("2020-12-31", "2022-12-28")
    # What the account held, what it was worth, and what it traded agree with the summary.
    assert f"equity at last     {float(days[-1]['equity']):,.2f}\n" in said.out
    orders = rows_of(here / "orchestrator-backtest-orders.csv")
    assert f"orders             {len(orders):,}\n" in said.out
    page = (here / "orchestrator-backtest.html").read_text()
    assert "momentum over 20 bundled US large caps" in page
    assert page.count("Plotly.newPlot('plot") == 1


def test_files_are_traded_at_opens_where_there_are_some(here: Path, capsys: Captured) -> None:
    assert main(["backtest", *FILES, "--out", "there/deep", "--name", "mine"]) == ExitCode.DONE
    [first, *_] = rows_of(here / "there" / "deep" / "mine-orders.csv")
    assert (first["symbol"], first["fill_price"], first["price"]) == ("KO", "60.5", "60")
    assert main(["backtest", *FILES, "--fills", "next_close", "--slippage-bps", "10"]) == 0
    [first, *_] = rows_of(here / "orchestrator-backtest-orders.csv")
    assert first["fill_price"] == "61.061"
    assert sorted(path.name for path in (here / "there" / "deep").iterdir()) == [
        "mine-days.csv",
        "mine-orders.csv",
        "mine.html",
    ]


def test_files_of_one_name_are_of_one_backtest(here: Path) -> None:
    named = ["--name", "mine"]
    assert main(["backtest", *FILES, *named, "--format", "parquet"]) == ExitCode.DONE
    assert main(["backtest", *FILES, *named, "--no-report", "--engine", "columnar"]) == 0
    # Arrays keep no orders: there is no file of none.
    assert [path.name for path in here.glob("mine*")] == ["mine-days.csv"]


@pytest.mark.parametrize("read", ["signals", "prices"])
def test_a_file_that_is_read_is_not_written_over(here: Path, capsys: Captured, read: str) -> None:
    files = {"signals": here / "signals.csv", "prices": here / "prices.csv"}
    files[read] = files[read].rename(here / "mine-orders.csv")
    arguments = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    assert main(["backtest", *arguments, "--name", "mine"]) == ExitCode.USAGE
    assert "mine-orders.csv is read, and would be written over" in capsys.readouterr().err
    assert files[read].exists()
    assert main(["backtest", *arguments, "--name", "other"]) == ExitCode.DONE


def test_a_backtest_without_orders_leaves_a_table_with_its_columns(here: Path) -> None:
    assert main(["backtest", *FILES, "--policy", "max_side_weight=0.01"]) == ExitCode.FAILED
    header, *rows = (here / "orchestrator-backtest-orders.csv").read_text().splitlines()
    assert header.startswith("as_of_date,client_order_id,symbol,side,qty,leg,state,")
    assert rows == []


def test_a_policy_is_in_force(here: Path) -> None:
    policy = ["cap=6000", "lot=10", "lot.MMM=7", "max_order_qty=50"]
    assert main(["backtest", *FILES, "--policy", *policy, "--no-report"]) == ExitCode.DONE
    orders = rows_of(here / "orchestrator-backtest-orders.csv")
    assert [(row["symbol"], row["qty"], row["state"]) for row in orders[:2]] == [
        ("KO", "100", "denied"),
        ("MMM", "56", "denied"),
    ]
    assert not list(here.glob("*.html"))


def test_tables_may_be_parquet(here: Path) -> None:
    as_parquet = ["--format", "parquet", "--name", "other"]
    assert main(["backtest", *FILES, *as_parquet]) == ExitCode.DONE
    assert main(["backtest", *FILES]) == ExitCode.DONE
    for table in ("days", "orders"):
        as_csv = rows_of(here / f"orchestrator-backtest-{table}.csv")
        rows = parquet.read_table(here / f"other-{table}.parquet").to_pylist()
        assert [list(row) for row in rows] == [list(row) for row in as_csv]
        assert len(rows) == len(as_csv)
    days = parquet.read_table(here / "other-days.parquet")["equity"].to_pylist()
    assert days == [
        float(row["equity"]) for row in rows_of(here / "orchestrator-backtest-days.csv")
    ]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("signals.csv", SIGNALS + "2024-01-03,KO,1\n", "row 6, date: 2024-01-03 comes after"),
        ("signals.csv", SIGNALS + "2024-01-04,KO,1\n", "row 6, symbol: KO is given twice"),
        ("signals.csv", SIGNALS + "2024-01-05,XOM,1\n", "row 6, symbol: unknown symbol"),
        ("signals.csv", SIGNALS + "2024-01-08,KO,1\n", "row 6, date: look-ahead: 2024-01-08"),
        (
            "signals.csv",
            SIGNALS + "2024-01-05,KO,x\n",
            "row 6, weight: KO: expected a finite number",
        ),
        ("prices.csv", PRICES.replace("101,100\n", "-1,9\n"), "row 5, close: MMM on 2024-01-03"),
        ("prices.csv", PRICES.replace("2024-01-04,MMM,99,101\n", ""), "row 6, date: gap: MMM has"),
        ("prices.csv", PRICES.replace("61,60.5", "61,0"), "row 4, open: KO on 2024-01-03"),
    ],
)
@pytest.mark.parametrize("command", [["backtest"], ["sweep", "--grid", "cap=1000,2000"]])
def test_data_that_no_backtest_can_be_made_of_are_told_by_file_row_and_column(
    capsys: Captured, command: list[str], file: str, content: str, said: str
) -> None:
    Path(file).write_text(content)
    assert main([*command, *FILES]) == ExitCode.USAGE
    error = capsys.readouterr().err
    assert f"orchestrator: {file}: {said}" in error
    assert not list(Path().glob("orchestrator-*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--signals", "signals.csv"], "--signals and --prices go together"),
        (["--policy", "caps=1"], "--policy: 'caps' is none of"),
        (["--policy", "cap=0"], "--policy: max_position_size=0: expected"),
        (["--policy", "cap"], "--policy: expected NAME=VALUE"),
        (["--policy", "lot=1", "lot=2"], "lot is given twice"),
        (["--policy", "max_price_age_seconds=1e16"], "expected seconds from 0 to 1,000,000,000"),
        (["--fills", "next_open"], "--fills next_open: there are no prices with a column open"),
        (["--slippage-bps", "x"], "--slippage-bps"),
        (["--slippage-bps", "10000"], "slippage_bps: expected less than"),
        (["--signals", "signals.csv", "--prices", "none.csv"], "none.csv: No such file"),
        (["--name", "a/b"], "--name: expected a name without a directory"),
        (["--strategy", "a"], "--strategy goes with --since"),
        (["--from-runs", "signals.csv"], "signals.csv: line 1 is no exported run"),
        (["--from-runs", "none.jsonl"], "none.jsonl: No such file"),
    ],
)
def test_arguments_that_cannot_be_used_are_told(
    capsys: Captured, arguments: list[str], said: str
) -> None:
    assert main(["backtest", *arguments]) != ExitCode.DONE
    [error] = [line for line in capsys.readouterr().err.splitlines() if "orchestrator: " in line]
    assert said in error
    assert "fault of the program" not in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--grid: expected at least one FIELD=VALUES"),
        (["--grid", "cap"], "--grid: expected NAME=VALUE"),
        (["--grid", "caps=1,2"], "--grid: 'caps' is none of"),
        (["--grid", "buffer=0,2"], "--grid: cash_buffer: expected a fraction"),
        (["--grid", "cap=1,2", "max_position_size=3"], "is given twice"),
        (["--grid", "cap=1..9999:1", "lot=1..999:1"], "9,989,001 cells are too many"),
        (["--grid", "lot=1,2", "--policy", "lot=5"], "--grid: lot is in --policy too"),
        (["--grid", "lot.KO=1,2", "--policy", "lot.ko=5"], "--grid: lot.KO is in --policy too"),
        (["--grid", "lot.KO=1,2", "lot.ko=3"], "is given twice"),
        (["--grid", "cap=1", "--policy", "max_position_size=5"], "--grid: cap is in --policy too"),
        (["--grid", "cap=1..9"], "--grid: cap: expected numbers as FIRST..LAST:STEP, got '1..9'"),
        (["--grid", "cap=1000,2e3,1e3"], "--grid: cap: 1000 is given twice"),
        (
            ["--grid", "cap=1..9000:1,1.5..9000:1"],
            "--grid: cap: 17,999 values are more than 10,000",
        ),
        (["--grid", "cap=1,2", "--seed", "3"], "--seed goes with --sample"),
        (["--grid", "cap=1", "--sample", "0"], "--sample: expected at least 1"),
        (["--grid", "cap=1", "--processes", "0"], "--processes: expected at least 1"),
        (["--grid", "cap=1", "--scheduler", "nonsense"], "--scheduler: missing port number in"),
    ],
)
def test_grids_that_cannot_be_gone_over_are_told(
    capsys: Captured, arguments: list[str], said: str
) -> None:
    assert main(["sweep", *FILES, *arguments]) in {ExitCode.USAGE, ExitCode.UNAVAILABLE}
    assert said in capsys.readouterr().err


GRID = ["--grid", "cap=2000..8000:2000", "lot=1,10", "--grid", "every=1,2"]


def test_a_sweep_says_the_same_on_processes_and_on_a_cluster(here: Path, tmp_path: Path) -> None:
    assert main(["sweep", *FILES, *GRID, "--processes", "2"]) == ExitCode.DONE
    with running_cluster(tmp_path, workers=2) as cluster:
        there = ["--scheduler", cluster.address, "--name", "there"]
        assert main(["sweep", *FILES, *GRID, *there]) == ExitCode.DONE
    cells = rows_of(here / "orchestrator-sweep-cells.csv")
    assert cells == rows_of(here / "there-cells.csv")
    page = (here / "there.html").read_text()
    _, _, common = page.partition("Common to all cells")
    assert "<td>cash_buffer</td><td>0</td>" in common
    assert "<td>max_position_size</td>" not in common
    lowest = min(float(row["total_return"]) for row in cells)
    assert f"worst total return</dt><dd>{lowest:.2%}</dd>" in page
    assert len(cells) == 16
    assert len({row["days_digest"] for row in cells}) > 8
    assert "cap against lot, mean over every" in page


def test_a_cell_is_the_backtest_under_its_policy(here: Path) -> None:
    assert main(["sweep", *FILES, *GRID, "--processes", "1", "--no-report"]) == ExitCode.DONE
    [cell] = [
        row
        for row in rows_of(here / "orchestrator-sweep-cells.csv")
        if (row["cap"], row["lot"], row["every"]) == ("4000", "10", "2")
    ]
    policy = ["--policy", "cap=4000", "lot=10", "every=2"]
    assert main(["backtest", *FILES, *policy, "--no-report"]) == ExitCode.DONE
    days = rows_of(here / "orchestrator-backtest-days.csv")
    assert cell["end_equity"] == days[-1]["equity"]
    assert int(cell["orders"]) == sum(int(row["orders"]) for row in days)


def test_a_sample_goes_on_into_the_whole_grid(here: Path, capsys: Captured) -> None:
    few = [*FILES, *GRID, "--processes", "1", "--no-report"]
    assert main(["sweep", *few, "--sample", "5", "--seed", "3"]) == ExitCode.DONE
    assert len(rows_of(here / "orchestrator-sweep-cells.csv")) == 5
    assert main(["sweep", *few]) == ExitCode.DONE
    assert "orchestrator-sweep.jsonl holds 5 of 16 cells already" in capsys.readouterr().err
    assert len((here / "orchestrator-sweep.jsonl").read_text().splitlines()) == 17


@pytest.mark.parametrize(
    "otherwise", [["--policy", "buffer=0.1"], ["--commission-bps", "1"], ["--fills", "next_close"]]
)
def test_a_journal_of_other_inputs_is_not_mixed_in(
    here: Path, capsys: Captured, otherwise: list[str]
) -> None:
    usual = ["sweep", *FILES, "--grid", "cap=2000", "--processes", "1", "--no-report"]
    assert main(usual) == ExitCode.DONE
    assert main([*usual, *otherwise]) == ExitCode.USAGE
    assert (
        "is of other data, another policy, other fills or another version"
        in capsys.readouterr().err
    )
    (here / "prices.csv").write_text(PRICES.replace("98,99", "98.5,99"))
    assert main(usual) == ExitCode.USAGE


def test_a_sweep_that_is_killed_goes_on(here: Path, capsys: Captured) -> None:
    arguments = ["sweep", "--grid", "cap=2000..30000:2000", "--processes", "2", "--no-report"]
    killed = subprocess.Popen(
        [sys.executable, "-m", "orchestrator_entrypoints", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    journal = here / "orchestrator-sweep.jsonl"
    wait_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 3)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    before = journal.read_bytes()
    before = before[: before.rindex(b"\n") + 1]
    assert main(arguments) == ExitCode.DONE
    known = len(before.splitlines()) - 1
    assert f"holds {known} of 15 cells already" in capsys.readouterr().err
    after = journal.read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == 16


def test_notes_of_cells_and_why_runs_failed_are_told(here: Path, capsys: Captured) -> None:
    grid = ["max_side_weight=0.1,1", "spends_leftover=true"]
    assert main(["sweep", *FILES, "--grid", *grid, "--processes", "1"]) == ExitCode.DONE
    cells = rows_of(here / "orchestrator-sweep-cells.csv")
    assert [row["failed_runs"] for row in cells] == ["3", "0"]
    assert "2 runs failed: long weights sum to 0.5, the limit is 0.1" in cells[0]["notes"]
    said = capsys.readouterr().err.replace("\n", " ")
    assert "note: decided by the workflow, not by arrays: the leftover pass" in said
    assert "2 runs failed: long weights sum to 0.5, the limit is 0.1" in said
    assert "2 runs failed: long weights" in (here / "orchestrator-sweep.html").read_text()


def test_a_backtest_says_why_runs_failed(here: Path, capsys: Captured) -> None:
    assert main(["backtest", *FILES, "--policy", "max_side_weight=0.1"]) == ExitCode.FAILED
    note = "note: 2 runs failed: long weights sum to 0.5, the limit is 0.1"
    assert note in capsys.readouterr().err
    assert note.removeprefix("note: ") in (here / "orchestrator-backtest.html").read_text()
    days = rows_of(here / "orchestrator-backtest-days.csv")
    assert days[0]["failure"] == "long weights sum to 0.5, the limit is 0.1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--signals", "none.csv", "--prices", "prices.csv"], "none.csv: No such file"),
        (["--from-runs", "none.jsonl"], "none.jsonl: No such file"),
        (["--from-runs", "runs.jsonl", "--prices", "none.csv"], "none.csv: No such file"),
        (["--from-runs", "runs.jsonl", "--engine", "columnar"], "--engine: recorded runs"),
        (["--from-runs", "runs.jsonl", "--signals", "signals.csv"], "--signals: recorded runs"),
    ],
)
def test_a_file_that_is_not_there_is_a_mistake_of_usage(
    capsys: Captured, arguments: list[str], said: str
) -> None:
    assert main(["backtest", *arguments]) == ExitCode.USAGE
    assert f"orchestrator: {said}" in capsys.readouterr().err


@pytest.fixture
def recorded(here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> Path:
    """An export of two runs, made by a service of embedded parts."""
    monkeypatch.setenv("ORCHESTRATOR_EMBEDDED", "true")
    monkeypatch.setenv("ORCHESTRATOR_DATA", str(here / "orchestrator.db"))
    monkeypatch.setenv("DRY_RUN", "false")
    closes = daily_prices().last_closes()
    with running_peers(flags=PAPER) as peers:
        monkeypatch.setenv("SIGNAL_SERVICE_URL", peers.signal_service_url)
        monkeypatch.setenv("EXECUTION_GATEWAY_URL", peers.execution_gateway_url)
        assert main(["prices", "set", *(f"{symbol}={closes[symbol]}" for symbol in closes)]) == 0
        for day in ("2022-12-01", "2022-12-02"):
            assert main(["run", "--as-of", day, "--symbols", "AAPL", "KO", "MSFT", "XOM"]) == 0
    capsys.readouterr()
    assert main(["runs", "export"]) == 0
    (here / "runs.jsonl").write_text(capsys.readouterr().out)
    return here / "runs.jsonl"


@pytest.mark.parametrize("source", [["--from-runs", "runs.jsonl"], ["--since", "2020-01-01"]])
def test_recorded_runs_are_decided_again_under_each_policy(
    recorded: Path, here: Path, capsys: Captured, source: list[str]
) -> None:
    policies = ["--policy", "lot=10", "--policy", "cap=5000", "max_order_qty=20"]
    assert main(["backtest", *source, *policies]) == ExitCode.DONE
    said = capsys.readouterr().out
    lines = [line.split() for line in said.splitlines()]
    assert lines[1][:4] == ["as", "recorded", "2", "0"]
    changes = rows_of(here / "orchestrator-backtest-changes.csv")
    assert {row["policy"] for row in changes} == {"lot=10", "cap=5000 max_order_qty=20"}
    assert {row["date"] for row in changes} == {"2022-12-01", "2022-12-02"}
    assert "Recorded runs under other policies" in (here / "orchestrator-backtest.html").read_text()


RECORDED_PRICES = "date,symbol,close,open\n" + "".join(
    f"{day},{symbol},{close},{open_}\n"
    for day, close, open_ in (
        ("2022-12-01", 50, 49),
        ("2022-12-02", 51, 50.5),
        ("2022-12-05", 52, 51),
    )
    for symbol in ("AAPL", "KO", "MSFT", "XOM")
)


def test_recorded_runs_are_traded_at_the_opens_of_a_file(
    recorded: Path, here: Path, capsys: Captured
) -> None:
    (here / "prices.csv").write_text(RECORDED_PRICES)
    arguments = ["backtest", "--from-runs", str(recorded), "--prices", "prices.csv"]
    at_open, at_close = ["--fills", "next_open"], ["--fills", "next_close"]
    assert main([*arguments, *at_open]) == ExitCode.DONE
    by_open = rows_of(here / "orchestrator-backtest-days.csv")
    assert main([*arguments]) == ExitCode.DONE
    assert rows_of(here / "orchestrator-backtest-days.csv") == by_open
    assert main([*arguments, *at_close]) == ExitCode.DONE
    assert rows_of(here / "orchestrator-backtest-days.csv") != by_open
    capsys.readouterr()
    assert main([*arguments[:3], *at_open]) == ExitCode.USAGE
    assert "there are no prices with a column open" in capsys.readouterr().err


def test_prices_beside_recorded_runs_that_are_wrong_are_told_by_file_row_and_column(
    recorded: Path, here: Path, capsys: Captured
) -> None:
    arguments = ["backtest", "--from-runs", str(recorded), "--prices", "prices.csv"]
    (here / "prices.csv").write_text(
        RECORDED_PRICES.replace("2022-12-02,AAPL,51", "2022-12-02,AAPL,-1")
    )
    assert main(arguments) == ExitCode.USAGE
    assert "orchestrator: prices.csv: row 6, close: AAPL on 2022-12-02" in capsys.readouterr().err
    # Prices of other days leave decisions, and no result.
    (here / "prices.csv").write_text(RECORDED_PRICES.replace("2022-12-0", "2023-12-0"))
    assert main([*arguments, "--policy", "lot=10"]) == ExitCode.FAILED
    assert "note: no results: 2022-12-01 is before the first price" in capsys.readouterr().err
    assert rows_of(here / "orchestrator-backtest-changes.csv")


def test_a_cut_export_is_refused(recorded: Path, capsys: Captured) -> None:
    recorded.write_text("\n".join(recorded.read_text().splitlines()[:-1]))
    assert main(["backtest", "--from-runs", str(recorded)]) == ExitCode.DAMAGED
    assert "its last line does not seal it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("every=2", "rebalance_every: cannot be changed of a recorded run"),
        ("cap=none", "a recorded run has a cap"),
        ("buffer=2", "cash_buffer"),
    ],
)
def test_a_policy_that_recorded_runs_cannot_have_is_told(
    recorded: Path, capsys: Captured, policy: str, said: str
) -> None:
    arguments = ["backtest", "--from-runs", str(recorded), "--policy", policy]
    assert main(arguments) == ExitCode.USAGE
    assert said in capsys.readouterr().err
