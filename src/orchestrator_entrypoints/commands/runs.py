"""`orchestrator runs`: what is stored."""

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from orchestrator_core.identifiers import StrategyId
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.ports import RunRepository
from orchestrator_core.runs import RunFilter, RunPage
from orchestrator_entrypoints.commands.console import Column, Console, Row
from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run import exit_code_of, explain_and_show
from orchestrator_entrypoints.commands.run_output import UNSENT
from orchestrator_entrypoints.commands.session import with_orchestrator
from orchestrator_entrypoints.commands.stored import run_id_of
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.shown_runs import page_of
from orchestrator_entrypoints.watching import watch_run
from orchestrator_entrypoints.wire_json import to_plain

_COLUMNS = (
    Column("run"),
    Column("status"),
    Column("as of"),
    Column("accepted", is_right=True),
    Column("rejected", is_right=True, least=0),
    *(Column(state, is_right=True, least=0) for state in UNSENT),
    Column("started (UTC)", least=0),
    Column("seconds", is_right=True, least=0),
    Column("signals", is_right=True, least=0),
    Column("strategy", least=0),
)

_STYLES = {
    RunStatus.COMPLETED: "",
    RunStatus.RUNNING: "yellow",
    RunStatus.PARTIAL: "yellow",
    RunStatus.FAILED: "red",
}


def list_runs(arguments: argparse.Namespace, console: Console) -> int:
    """List a page of runs."""

    async def work(orchestrator: Orchestrator) -> ExitCode:
        matching = RunFilter(
            strategy_id=None if arguments.strategy is None else StrategyId(arguments.strategy),
            status=None if arguments.status is None else RunStatus(arguments.status),
        )
        page = await orchestrator.ports.runs.list_runs(
            matching, limit=arguments.limit, offset=arguments.offset
        )
        plain = to_plain(page_of(page, limit=arguments.limit, offset=arguments.offset))
        if arguments.json:
            console.json(plain)
        else:
            _write_page(console, plain, await _unsent(page, orchestrator.ports.runs))
        return ExitCode.DONE

    return with_orchestrator(arguments, work, only_existing=True)


async def _unsent(page: RunPage, runs: RunRepository) -> list[Counter[OrderState]]:
    """Count each run's orders by state: the list itself counts those alone that were sent."""
    stored = [await runs.get_run(run.run_id) for run in page.runs]
    orders = [() if run is None else run.orders or () for run in stored]
    return [Counter(order.state for order in each) for each in orders]


def _write_page(
    console: Console, page: dict[str, Any], unsent: Sequence[Counter[OrderState]]
) -> None:
    runs, total, offset = page["runs"], page["total"], page["offset"]
    if not runs:
        console.line("no runs" if total == 0 else f"no runs here: {total} in all")
        return
    console.table(_COLUMNS, [_row(*each) for each in zip(runs, unsent, strict=True)])
    if len(runs) < total:
        console.line(f"{offset + 1} to {offset + len(runs)} of {total}")


def _row(run: dict[str, Any], states: Counter[OrderState]) -> Row:
    duration = run["duration_seconds"]
    cells = (
        run["run_id"],
        run["status"],
        run["as_of_date"],
        str(run["num_orders_accepted"]),
        str(run["num_orders_rejected"]),
        *(str(states[state]) for state in UNSENT),
        run["started_at"][:19].replace("T", " "),
        "" if duration is None else f"{float(duration):.2f}",
        str(run["num_signals"]),
        run["strategy_id"],
    )
    return Row(cells, _STYLES[RunStatus(run["status"])])


def show_run(arguments: argparse.Namespace, console: Console) -> int:
    """Show one run with its orders."""
    run_id = run_id_of(arguments.run_id)

    async def work(orchestrator: Orchestrator) -> ExitCode:
        waits, ports = arguments.wait is not None, orchestrator.ports
        stored = await watch_run(
            partial(ports.runs.get_run, run_id), clock=ports.clock, seconds=arguments.wait or 0
        )
        if stored is None:
            raise CommandFailure(f"there is no run {run_id}", ExitCode.FAILED)
        await explain_and_show(stored, orchestrator, console, arguments)
        return exit_code_of(stored) if waits else ExitCode.DONE

    return with_orchestrator(arguments, work, only_existing=True)
