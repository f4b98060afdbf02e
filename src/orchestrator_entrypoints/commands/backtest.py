"""`orchestrator backtest`: history under the production core, as a report and tables."""

import argparse

from orchestrator_entrypoints.backtests.faithful import backtest as go_through
from orchestrator_entrypoints.commands.backtest_inputs import read_fills, read_inputs, read_policy
from orchestrator_entrypoints.commands.backtest_outputs import missing_told, outputs_of
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.reports.backtest_page import backtest_page
from orchestrator_entrypoints.reports.figures import summary_lines


def backtest(arguments: argparse.Namespace, console: Console) -> int:
    """Go through history; write what came of it, and say so."""
    with missing_told():
        outputs = outputs_of(arguments)
        inputs = read_inputs(arguments)
    policy = read_policy(arguments)
    fills = read_fills(arguments, inputs)
    with (
        inputs.located(),
        console.progress(f"{inputs.description}: days", total=len(inputs.days)) as advance,
    ):
        result = go_through(
            inputs.signals,
            inputs.closes,
            opens=inputs.opens,
            policy=policy,
            fills=fills,
            progress=lambda _done, _of: advance(1),
        )
    with console.working("writing"):
        paths = outputs.write(
            {"days": result.table(), "orders": result.orders_table()},
            lambda: backtest_page(result, title="Backtest", source=inputs.description),
        )
    console.pairs(summary_lines(result.summary()))
    for note in result.notes:
        console.note(f"note: {note}")
    for path in paths:
        console.line(f"wrote {path}")
    return ExitCode.DONE
