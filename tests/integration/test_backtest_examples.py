"""The examples run as they stand, in a process of their own, and say what they promise."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.frames import Matrix
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.data import daily_prices

FOLDER = Path(__file__).parents[2] / "examples"
NEEDS = {"pandas_in_pandas_out": ["pandas"], "inside_backtrader": ["backtrader"]}
SAYS = {
    "notebook_ten_lines": ["max_drawdown=", "order buy 120 o1"],
    "fault_day": ["2020-01-10 halted", "2020-01-08 failed", "not_placed price stale"],
    "pandas_in_pandas_out": ["2022-12-28", "RRC"],
    "inside_backtrader": ["equity 115014.47", "KO 715"],
}


def test_every_example_is_tried_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == SAYS.keys()


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs_and_says_what_it_promises(name: str, tmp_path: Path) -> None:
    for library in NEEDS.get(name, []):
        pytest.importorskip(library)
    # Another library's warnings are its own.
    strict = [] if name in NEEDS else ["-W", "error"]
    done = subprocess.run(
        [sys.executable, *strict, FOLDER / f"{name}.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for words in SAYS[name]:
        assert words in done.stdout
    assert not list(tmp_path.iterdir())


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # backtrader looks a class's module up by its name.
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
def test_another_library_that_asks_the_core_ends_where_our_own_backtest_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("backtrader")
    example = loaded("inside_backtrader", monkeypatch)
    prices = daily_prices()
    theirs = example.run(prices)

    policy: BacktestPolicy = example.Rebalancing.policy
    signals = dict.fromkeys(prices.dates[:: example.EVERY], example.WEIGHTS)
    closes = Matrix(prices.dates, prices.symbols, prices.closes)
    ours = backtest(signals, closes, policy=policy).days[-1]

    held = {data._name: int(theirs.getposition(data).size) for data in theirs.datas}  # noqa: SLF001
    assert held == ours.positions
    assert theirs.broker.getvalue() == pytest.approx(float(ours.equity), abs=0.01)
