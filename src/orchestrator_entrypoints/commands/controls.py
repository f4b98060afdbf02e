"""`orchestrator controls`: what an operator sets for the strategy while services run."""

import argparse
from typing import Any

from orchestrator_core.controls import ControlEventKind
from orchestrator_core.errors import InvalidRequest, OutcomeUnknown
from orchestrator_entrypoints.commands.console import Column, Console, Row
from orchestrator_entrypoints.commands.edge import CommandFailure, describe_port_error, words
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run_output import counted_as
from orchestrator_entrypoints.commands.session import with_orchestrator
from orchestrator_entrypoints.control_answers import (
    ReduceOnlyIsOff,
    change_controls,
    read_status,
)
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.wire import ControlsStatus
from orchestrator_entrypoints.wire_json import to_plain

_EVENTS = (
    Column("time (UTC)"),
    Column("event"),
    Column("operator", least=8),
    Column("notes", least=12, may_fold=True),
)


def show(arguments: argparse.Namespace, console: Console) -> int:
    """Say how the controls stand; end with 0 only if a run may trade."""

    async def work(orchestrator: Orchestrator) -> ExitCode:
        status = await read_status(orchestrator.ports.runs, orchestrator.policy)
        return _shown(console, status, as_json=arguments.json)

    return with_orchestrator(arguments, work, only_existing=True)


def reduce_only(arguments: argparse.Namespace, console: Console) -> int:
    """Let only orders go that shrink a position, or all again."""
    on, off = ControlEventKind.REDUCE_ONLY_ON, ControlEventKind.REDUCE_ONLY_OFF
    return _change(arguments, console, on if arguments.state == "on" else off)


def rearm(arguments: argparse.Namespace, console: Console) -> int:
    """Let a strategy go on that failed too often."""
    return _change(arguments, console, ControlEventKind.REARMED)


def _change(arguments: argparse.Namespace, console: Console, kind: ControlEventKind) -> int:
    operator = words(arguments.operator, "--operator")
    notes = words(arguments.notes, "--notes")

    async def work(orchestrator: Orchestrator) -> ExitCode:
        try:
            status = await change_controls(orchestrator, kind, operator=operator, notes=notes)
        except ReduceOnlyIsOff as already:
            raise CommandFailure(already.problem, ExitCode.ALREADY) from already
        except InvalidRequest as refused:
            raise CommandFailure(refused.problem, ExitCode.USAGE) from refused
        except OutcomeUnknown as error:
            raise CommandFailure(
                f"{describe_port_error(error)}: it may or may not be recorded, ask again",
                ExitCode.UNAVAILABLE,
            ) from error
        return _shown(console, status, as_json=arguments.json)

    return with_orchestrator(arguments, work, only_existing=True)


def _shown(console: Console, status: ControlsStatus, *, as_json: bool) -> ExitCode:
    if as_json:
        console.json(to_plain(status))
    else:
        _write(console, status)
    return ExitCode.HALTED if status.throttled else ExitCode.DONE


def _write(console: Console, status: ControlsStatus) -> None:
    console.line(f"strategy {status.strategy_id}")
    if status.reduce_only:
        who = " and ".join(f"by {source}" for source in status.reduce_only_by)
        console.line(f"reduce-only mode is ON, {who}: only orders go that shrink a position")
    else:
        console.line("reduce-only mode is off")
    if status.in_flight:
        console.line(f"{counted_as(status.in_flight, 'order')} may still be on the way")
    if status.failed_runs is None:
        console.line("failed runs are not counted: MAX_FAILED_RUNS is unset")
    else:
        failed = counted_as(status.failed_runs, "run")
        console.line(f"{failed} in a row failed; {status.max_failed_runs} stop the strategy")
    if status.throttled:
        console.line("THROTTLED: no run trades; to go on: orchestrator controls rearm")
    if status.events:
        console.line()
        console.table(_EVENTS, [_event(event) for event in to_plain(status)["events"]])


def _event(event: dict[str, Any]) -> Row:
    time = event["timestamp"][:19].replace("T", " ")
    return Row((time, event["event"], event["operator"], event["notes"]))
