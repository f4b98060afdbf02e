"""Sweeps: 200 policies over the bundled data, on one process, on two, and on Dask with two workers.

Each way computes the same cells from scratch; speed-up is beside one process, and the outcomes must
be equal to the last digit. Then the time from `orchestrator backtest` to its report.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path

from bench.tables import print_table
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.inputs import read_inputs
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.commands.bundled import bundled_rows
from orchestrator_entrypoints.sweeps.backtest_work import BacktestWork
from orchestrator_entrypoints.sweeps.cells import Outcome, grid, parse_axis
from orchestrator_entrypoints.sweeps.cluster import run_on_cluster
from orchestrator_entrypoints.sweeps.journal import open_journal
from orchestrator_entrypoints.sweeps.processes import run_on_processes
from orchestrator_entrypoints.sweeps.sweeping import Compute, sweep

AXES = [
    parse_axis("cap=2500..25000:2500"),
    parse_axis("lot=1,5,10,50"),
    parse_axis("every=1,5,10,21,63"),
]
QUICK_AXES = [parse_axis("cap=10000,20000"), parse_axis("lot=1,10"), parse_axis("every=21,63")]


def sweeps(*, quick: bool = False) -> None:
    """Print seconds, speed-up and whether outcomes are equal."""
    cells = grid(QUICK_AXES if quick else AXES)
    signals, closes = bundled_rows()
    policy = BacktestPolicy(max_position_size=Decimal(20_000))
    work = BacktestWork(read_inputs(signals, closes, None, None), policy, FillModel())
    rows, first = [], None
    with running_cluster(workers=2) as scheduler:
        ways: dict[str, Compute] = {
            "1 process": partial(run_on_processes, work, processes=1),
            "2 processes": partial(run_on_processes, work, processes=2),
            "Dask, 2 workers": partial(run_on_cluster, work, scheduler=scheduler),
        }
        for name, compute in ways.items():
            seconds, outcomes = _timed(compute, cells)
            first = first or (seconds, outcomes)
            assert all(figures for _, figures in outcomes)
            rows.append(
                [
                    name,
                    f"{seconds:.1f}",
                    f"{len(cells) / seconds:.2f}",
                    f"{first[0] / seconds:.2f}",
                    "yes" if outcomes == first[1] else "NO",
                ]
            )
    print_table(
        f"{len(cells)} backtests of {len({day for day, _, _ in closes})} days x 20 symbols",
        ["way", "seconds", "cells/s", "speed-up", "equal"],
        rows,
    )
    _report(quick=quick)


def _timed(
    compute: Compute, cells: tuple[tuple[tuple[str, str], ...], ...]
) -> tuple[float, list[tuple[object, dict[str, str]]]]:
    with tempfile.TemporaryDirectory() as directory:
        began = time.perf_counter()
        with open_journal(Path(directory) / "journal", "bench") as journal:
            outcomes: tuple[Outcome, ...] = sweep(cells, compute, journal)
        seconds = time.perf_counter() - began
    return seconds, [(outcome.cell, dict(outcome.figures)) for outcome in outcomes]


def _report(*, quick: bool) -> None:
    rows = []
    for engine in ("faithful", "auto"):
        with tempfile.TemporaryDirectory() as directory:
            began = time.perf_counter()
            command = [sys.executable, "-m", "orchestrator_entrypoints", "backtest"]
            if quick:
                command += ["--policy", "every=63"]
            subprocess.run(
                [*command, "--engine", engine],
                cwd=directory,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            seconds = time.perf_counter() - began
            size = (Path(directory) / "orchestrator-backtest.html").stat().st_size
            rows.append([engine, f"{seconds:.1f}", f"{size / 1e6:.1f}"])
    print_table(
        "From `orchestrator backtest` to its report", ["engine", "seconds", "page, MB"], rows
    )


@contextmanager
def running_cluster(*, workers: int) -> Iterator[str]:
    """Run a Dask cluster of processes of one thread each; yield its address."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(kind: str, *arguments: str) -> None:
        processes.append(
            subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    f"distributed.cli.dask_{kind}",
                    "--no-dashboard",
                    *arguments,
                ],
                stderr=subprocess.DEVNULL,
            )
        )

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "scheduler.json"
        try:
            start("scheduler", "--port", "0", "--scheduler-file", str(file))
            while not (file.exists() and file.read_text()):
                time.sleep(0.05)
            address = str(json.loads(file.read_text())["address"])
            for _ in range(workers):
                start("worker", address, "--no-nanny", "--nthreads", "1")
            yield address
        finally:
            for process in processes:
                process.kill()
                process.wait()
