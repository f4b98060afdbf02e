"""`orchestrator run`: one run against the configured parts, without the HTTP service."""

import argparse

from attrs import evolve

from orchestrator_core.errors import PortError
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.requests import resolve_request
from orchestrator_core.runs import FailureKind, Run
from orchestrator_core.workflow import execute_run
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.edge import CommandFailure, describe_port_error
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run_output import counted_as, write_run
from orchestrator_entrypoints.commands.session import stop_at_signals, with_orchestrator
from orchestrator_entrypoints.commands.written_pairs import limits_given
from orchestrator_entrypoints.explanations import explain_run
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.run_service import new_run_id
from orchestrator_entrypoints.shown_runs import is_wholly_stopped, result_of, waits_for_operator
from orchestrator_entrypoints.wire_json import to_plain

_OF_STATUS = {
    RunStatus.COMPLETED: ExitCode.DONE,
    RunStatus.PARTIAL: ExitCode.PARTIAL,
    RunStatus.FAILED: ExitCode.FAILED,
    RunStatus.RUNNING: ExitCode.RUNNING,
}

_OF_FAILURE = {
    FailureKind.HALTED: ExitCode.HALTED,
    FailureKind.BUDGET_UNAVAILABLE: ExitCode.UNAVAILABLE,
    FailureKind.SIGNALS_UNAVAILABLE: ExitCode.UNAVAILABLE,
    FailureKind.PRICES_UNAVAILABLE: ExitCode.UNAVAILABLE,
    FailureKind.POSITIONS_UNAVAILABLE: ExitCode.UNAVAILABLE,
    FailureKind.BOOK_MOVED: ExitCode.UNAVAILABLE,
    FailureKind.THROTTLED: ExitCode.HALTED,
    FailureKind.GATEWAY_UNAVAILABLE: ExitCode.UNAVAILABLE,
    FailureKind.GATEWAY_UNSAFE: ExitCode.UNAVAILABLE,
    FailureKind.DATABASE_UNAVAILABLE: ExitCode.UNAVAILABLE,
}


def exit_code_of(run: Run) -> ExitCode:
    """Return the code of a run as it stands."""
    if run.status is RunStatus.FAILED and run.failure is not None:
        return _OF_FAILURE.get(run.failure.kind, ExitCode.FAILED)
    if is_wholly_stopped(run):
        return ExitCode.PARTIAL
    return _OF_STATUS[run.status]


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Make one run, show it, and end with its code."""

    async def work(orchestrator: Orchestrator) -> ExitCode:
        for warning in orchestrator.settings.warnings:
            console.note(f"warning: {warning}")
        request = resolve_request(
            orchestrator.request_policy,
            symbols=_split(arguments.symbols),
            as_of_date=arguments.as_of,
            capital=arguments.capital,
            max_position_size=arguments.max_position_size,
            dry_run=arguments.dry_run,
            rebalance_key=arguments.rebalance_key,
            limits=limits_given(arguments.limits, "--limit"),
        )
        was_interrupted = stop_at_signals(orchestrator)
        run_id = new_run_id()
        try:
            with console.working(f"run {run_id}: {counted_as(len(request.symbols), 'symbol')}"):
                made = await execute_run(
                    request, run_id=run_id, ports=orchestrator.ports, policy=orchestrator.policy
                )
        except PortError as error:
            # Raised only while nothing was sent; later the run comes back with what is known.
            raise CommandFailure(
                f"run {run_id}: no order was sent: {describe_port_error(error)}",
                ExitCode.UNAVAILABLE,
            ) from error
        await explain_and_show(made, orchestrator, console, arguments)
        if waits_for_operator(made):
            console.note("nothing settles this by itself: orchestrator orders open")
        elif made.status is RunStatus.RUNNING:
            console.note("a service settles this by itself; without one: orchestrator recover")
        return ExitCode.INTERRUPTED if was_interrupted() else exit_code_of(made)

    return with_orchestrator(arguments, work)


async def explain_and_show(
    made: Run, orchestrator: Orchestrator, console: Console, arguments: argparse.Namespace
) -> None:
    """Write a run, for a person or as the HTTP service answers it, explained as was asked for."""
    # A person sees the figures of each line in any case.
    in_full = arguments.explain or not arguments.json
    explained = await explain_run(
        made, orchestrator.ports.runs, orchestrator.policy, in_full=in_full
    )
    if explained is not None and not arguments.explain:
        explained = evolve(explained, trouble=None)
    result = to_plain(result_of(made, explained))
    if arguments.json:
        console.json(result)
    else:
        write_run(console, result, in_full=arguments.explain)


def _split(texts: list[str]) -> list[str]:
    return [symbol for text in texts for symbol in text.split(",") if symbol.strip()]
