"""`orchestrator sweep`: one backtest for each of many policies."""

import argparse
import logging
import os
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from attrs import frozen

from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.policy_fields import full_name, policy_with
from orchestrator_entrypoints.commands.backtest_inputs import read_data, read_fills, read_policy
from orchestrator_entrypoints.commands.backtest_outputs import outputs_of, tell_left
from orchestrator_entrypoints.commands.console import Column, Console, Row
from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.written_pairs import pairs
from orchestrator_entrypoints.reports.extras import require_extra
from orchestrator_entrypoints.reports.figures import SHOWN
from orchestrator_entrypoints.reports.sweep_page import best_first, notes_of, sweep_page, table_of
from orchestrator_entrypoints.sweeps.backtest_work import BacktestWork
from orchestrator_entrypoints.sweeps.cells import (
    Axis,
    Cell,
    Outcome,
    count_cells,
    grid,
    parse_axis,
    sample,
)
from orchestrator_entrypoints.sweeps.journal import JournalError, open_journal
from orchestrator_entrypoints.sweeps.processes import run_on_processes
from orchestrator_entrypoints.sweeps.sweeping import ClusterUnavailable, Compute
from orchestrator_entrypoints.sweeps.sweeping import sweep as compute_cells

MOST_CELLS = 1_000_000
# Cells that the console shows, and their figures.
MOST_TOLD = 5
TOLD = tuple(
    figure
    for figure in SHOWN
    if figure.name in {"total_return", "max_drawdown", "orders", "denied", "failed_runs"}
)


@frozen
class _Grid:
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]


def sweep(arguments: argparse.Namespace, console: Console) -> int:
    """Go over the cells that are not known yet; write what came of all, and say so."""
    if arguments.scheduler is not None:
        require_extra("distributed", "distributed", why="--scheduler")
    outputs = outputs_of(arguments, console)
    policy = read_policy(arguments)
    chosen = _grid(arguments, policy)
    data = read_data(arguments)
    fills = read_fills(arguments, has_opens=data.opens is not None)
    work = BacktestWork(data.read(fills.at), policy, fills)
    compute = _compute(arguments, work)
    outcomes = _outcomes(chosen, compute, outputs.path_of(".jsonl"), work.digest, console)
    varied = {full_name(axis.name) for axis in chosen.axes}
    common = {name: word for name, word in work.in_words().items() if name not in varied}
    source = f"{data.description}; {work.inputs.dates[0]} to {work.inputs.dates[-1]}"
    paths = outputs.write(
        {"cells": table_of(outcomes)},
        lambda: sweep_page(chosen.axes, outcomes, source=source, policy=common),
    )
    return _tell(chosen, outcomes, (*paths, outputs.path_of(".jsonl")), console)


def _grid(arguments: argparse.Namespace, policy: BacktestPolicy) -> _Grid:
    try:
        axes = tuple(map(parse_axis, arguments.grid))
    except ValueError as problem:
        raise CommandFailure(f"--grid: {problem}", ExitCode.USAGE) from None
    if not axes:
        raise CommandFailure("--grid: expected at least one FIELD=VALUES", ExitCode.USAGE)
    count = arguments.sample
    if count is not None and count < 1:
        raise CommandFailure(f"--sample: expected at least 1, got {count}", ExitCode.USAGE)
    if count is None and arguments.seed is not None:
        raise CommandFailure("--seed goes with --sample", ExitCode.USAGE)
    total = count_cells(axes)
    if min(total, count or total) > MOST_CELLS:
        raise CommandFailure(
            f"--grid: {total:,} cells are too many: draw some with --sample", ExitCode.USAGE
        )
    cells = grid(axes) if count is None else sample(axes, count, arguments.seed or 0)
    _require_readable(axes, policy)
    _require_apart(axes, arguments)
    return _Grid(axes, cells)


def _require_readable(axes: tuple[Axis, ...], policy: BacktestPolicy) -> None:
    try:
        policy_with(policy, [(axis.name, axis.values[0]) for axis in axes])
        for axis in axes:
            for value in axis.values:
                policy_with(policy, [(axis.name, value)])
    except ValueError as problem:
        raise CommandFailure(f"--grid: {problem}", ExitCode.USAGE) from None


def _require_apart(axes: tuple[Axis, ...], arguments: argparse.Namespace) -> None:
    in_policy = {full_name(name) for name, _ in pairs(chain(*arguments.policy), "--policy")}
    for axis in axes:
        if full_name(axis.name) in in_policy:
            raise CommandFailure(f"--grid: {axis.name} is in --policy too", ExitCode.USAGE)


def _compute(arguments: argparse.Namespace, work: BacktestWork) -> Compute:
    if arguments.scheduler is not None:
        from orchestrator_entrypoints.sweeps.cluster import run_on_cluster  # noqa: PLC0415 - extra

        # A cluster that is lost is told in one line, and not in Dask's tracebacks before it.
        logging.getLogger("distributed.client").setLevel(logging.CRITICAL + 1)
        return partial(run_on_cluster, work, scheduler=arguments.scheduler)
    processes = arguments.processes
    if processes is None:
        processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if processes < 1:
        raise CommandFailure(f"--processes: expected at least 1, got {processes}", ExitCode.USAGE)
    return partial(run_on_processes, work, processes=processes)


def _outcomes(
    chosen: _Grid, compute: Compute, path: Path, digest: str, console: Console
) -> tuple[Outcome, ...]:
    try:
        with open_journal(path, digest) as journal:
            known = sum(cell in journal.done for cell in chosen.cells)
            if known:
                console.note(f"{path} holds {known:,} of {len(chosen.cells):,} cells already")
            with console.progress("cells", total=len(chosen.cells)) as advance:
                return compute_cells(chosen.cells, compute, journal, progress=advance)
    except JournalError as problem:
        raise CommandFailure(str(problem), ExitCode.USAGE) from None
    except ValueError as problem:
        raise CommandFailure(f"--scheduler: {problem}", ExitCode.USAGE) from None
    except ClusterUnavailable as problem:
        raise CommandFailure(f"--scheduler: {problem}", ExitCode.UNAVAILABLE) from None


def _tell(
    chosen: _Grid, outcomes: Sequence[Outcome], paths: Iterable[Path], console: Console
) -> int:
    columns = [*(axis.name for axis in chosen.axes), *(figure.title for figure in TOLD)]
    rows = [
        Row(
            (
                *(value for _, value in outcome.cell),
                *(figure.text(outcome.figures) for figure in TOLD),
            )
        )
        for outcome in best_first(outcomes)[:MOST_TOLD]
    ]
    console.table([Column(name, is_right=True) for name in columns], rows)
    if len(rows) < len(outcomes):
        console.line(f"the best {len(rows)} of {len(outcomes):,} cells")
    tell_left(notes_of(outcomes), paths, console)
    failed = sum(outcome.error is not None for outcome in outcomes)
    if failed:
        console.error(f"{failed:,} of {len(outcomes):,} cells have no figures")
    return ExitCode.FAILED if failed else ExitCode.DONE
