"""`orchestrator backtest`: history under the production core, as a report and tables."""

import argparse

from attrs import fields

from orchestrator_entrypoints.backtests.backtesting import backtest_inputs
from orchestrator_entrypoints.backtests.result import OrderRow
from orchestrator_entrypoints.commands.backtest_from_runs import backtest_from_runs
from orchestrator_entrypoints.commands.backtest_inputs import read_data, read_fills, read_policy
from orchestrator_entrypoints.commands.backtest_outputs import outputs_of, tell_left
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.reports.backtest_page import backtest_page
from orchestrator_entrypoints.reports.figures import summary_lines
from orchestrator_entrypoints.reports.tables import Table

ORDER_COLUMNS = tuple(each.name for each in fields(OrderRow))


def backtest(arguments: argparse.Namespace, console: Console) -> int:
    """Go through history; write what came of it, and say so."""
    outputs = outputs_of(arguments, console)
    if arguments.from_runs is not None or arguments.since is not None:
        return backtest_from_runs(arguments, outputs, console)
    _refuse_alone(arguments, "strategy", "data")
    data = read_data(arguments)
    policy = read_policy(arguments)
    fills = read_fills(arguments, has_opens=data.opens is not None)
    inputs = data.read(fills.at)
    with console.progress(f"{data.description}: days", total=len(inputs.dates)) as advance:
        result = backtest_inputs(
            inputs, policy=policy, fills=fills, progress=lambda _done, _of: advance(1)
        )
    with console.working("writing"):
        tables = {"days": Table.of(result.table())}
        if result.engine == "faithful":  # arrays keep no orders
            tables["orders"] = Table.of(result.orders_table(), ORDER_COLUMNS)
        paths = outputs.write(
            tables, lambda: backtest_page(result, title="Backtest", source=data.description)
        )
    console.pairs(summary_lines(result.summary()))
    tell_left(result.notes, paths, console)
    has_run = [day for day in result.days if day.run_status is not None]
    if has_run and all(day.has_failed_run for day in has_run):
        console.error("every run failed: nothing was traded")
        return ExitCode.FAILED
    return ExitCode.DONE


def _refuse_alone(arguments: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(arguments, name) is not None:
            raise CommandFailure(f"--{name} goes with --since", ExitCode.USAGE)
