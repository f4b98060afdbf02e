"""Backtests: the production workflow over history, beside arrays that decide the same.

Signals are momentum on the bundled closes, and random weights of 500 symbols. An order is one that
was sent and filled; a second is of a whole backtest, from plain rows to its result.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import numpy as np
from attrs import evolve, frozen

from bench.tables import print_table
from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.frames import Matrix
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.result import BacktestResult
from orchestrator_entrypoints.commands.bundled import bundled_rows

COSTS = FillModel(slippage_bps=2, commission_bps=1)
WIDE = BacktestPolicy(capital=10_000_000)
SYMBOLS = 500

WAYS: dict[str, Callable[[BacktestPolicy], BacktestPolicy]] = {
    "workflow, runs kept": lambda policy: evolve(policy, engine="faithful"),
    "workflow": lambda policy: evolve(policy, engine="faithful", keeps_runs=False),
    "arrays": lambda policy: evolve(policy, engine="columnar", keeps_runs=False),
}


@frozen
class Measured:
    """What one backtest took."""

    seconds: float
    result: BacktestResult

    def row(self, name: str) -> list[str]:
        """Return a line of the table."""
        orders = self.result.summary().orders
        return [
            name,
            f"{len(self.result.days):,}",
            f"{orders:,}",
            f"{self.seconds:.2f} s",
            f"{orders / self.seconds:,.0f}",
        ]


def measure(work: Callable[[], BacktestResult]) -> Measured:
    """Return what one call took."""
    begin = time.perf_counter()
    result = work()
    return Measured(time.perf_counter() - begin, result)


def random_world(days: int, symbols: int = SYMBOLS) -> tuple[Matrix, Matrix]:
    """Return weights whose magnitudes sum to one a day, and prices of two decimals that drift."""
    draw = np.random.default_rng(1)
    dates = [date(2014, 1, 1) + timedelta(days=number) for number in range(days)]
    names = [f"S{number:03d}" for number in range(symbols)]
    steps = draw.normal(0, 0.01, (days, symbols))
    prices = np.round(50 * np.exp(np.cumsum(steps, axis=0)), 2)
    weights = draw.normal(0, 1, (days, symbols))
    weights /= np.abs(weights).sum(axis=1, keepdims=True)
    return Matrix(dates, names, weights), Matrix(dates, names, prices)


def faithful(*, quick: bool = False) -> None:
    """Print orders a second, and the memory of ten years of 500 symbols."""
    rows = []
    days = []
    signals, closes = bundled_rows()
    weights, prices = random_world(20 if quick else 100)
    for name, way in WAYS.items():
        measured = measure(
            partial(backtest, signals, closes, policy=way(BacktestPolicy()), fills=COSTS)
        )
        rows.append(measured.row(f"momentum, 20 symbols, {name}"))
        days.append(measured.result.days)
    for name, way in WAYS.items():
        measured = measure(partial(backtest, weights, prices, policy=way(WIDE)))
        rows.append(measured.row(f"random, {SYMBOLS} symbols, {name}"))
        days.append(measured.result.days)
    assert days[0] == days[1] == days[2]
    assert days[3] == days[4] == days[5]
    print_table("Backtests", ["what", "days", "orders", "time", "orders/s"], rows)
    _print_memory(252 if quick else 2_520)


def ten_years(*, quick: bool = False) -> None:
    """Print ten years of 500 symbols, by the workflow and by arrays: the same days."""
    weights, prices = random_world(252 if quick else 2_520)
    rows, days = [], []
    for name in ("workflow", "arrays"):
        measured = measure(partial(backtest, weights, prices, policy=WAYS[name](WIDE)))
        rows.append(measured.row(name))
        days.append(measured.result.days)
    assert days[0] == days[1]
    print_table(f"{SYMBOLS} symbols", ["what", "days", "orders", "time", "orders/s"], rows)


def _print_memory(days: int) -> None:
    """Measure in a process of its own: a peak is of the whole process."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.faithful", str(days)],
        check=True,
        capture_output=True,
        text=True,
    )
    peak, before, seconds, orders = map(float, done.stdout.split())
    print_table(
        f"{days:,} days x {SYMBOLS} symbols by arrays, nothing kept but days",
        ["peak", "before", "orders", "time", "orders/s"],
        [
            [
                f"{peak:,.0f} MB",
                f"{before:,.0f} MB",
                f"{orders:,.0f}",
                f"{seconds:.1f} s",
                f"{orders / seconds:,.0f}",
            ]
        ],
    )


def _peak_megabytes() -> float:
    # Not getrusage's: that goes on from the process which started this one.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise LookupError("/proc/self/status tells no VmHWM")


def main() -> None:
    """Backtest that many days; print peak and former megabytes, seconds and orders."""
    weights, prices = random_world(int(sys.argv[1]))
    before = _peak_megabytes()
    policy = evolve(WIDE, engine="columnar", keeps_runs=False)
    measured = measure(lambda: backtest(weights, prices, policy=policy))
    orders = measured.result.summary().orders
    print(_peak_megabytes(), before, measured.seconds, orders)


if __name__ == "__main__":
    main()
