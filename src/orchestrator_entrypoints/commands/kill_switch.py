"""`orchestrator kill-switch`: stop all trading, see who did, let it go on."""

import argparse
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from orchestrator_core.canceling import Canceling
from orchestrator_core.commits import OpenOrder
from orchestrator_core.engaging import AlreadyInState, EngageAnswer
from orchestrator_core.engaging import disengage as let_go
from orchestrator_core.engaging import engage as stop
from orchestrator_core.engaging import initialise as create
from orchestrator_core.errors import OutcomeUnknown
from orchestrator_core.halting import SwitchReading, read_open_orders, read_switch
from orchestrator_core.history import read_history
from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    Halted,
    KillSwitchState,
    Latch,
    Trading,
)
from orchestrator_entrypoints.commands.console import Column, Console, Row
from orchestrator_entrypoints.commands.edge import CommandFailure, describe_port_error, words
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run_output import counted_as
from orchestrator_entrypoints.commands.session import with_orchestrator
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.switch_answers import answer_engaged, history_of, status_of
from orchestrator_entrypoints.wire_json import to_plain

MAX_SHOWN_ORDERS = 20

_HISTORY = (
    Column("time (UTC)"),
    Column("event"),
    Column("operator", least=8),
    Column("reason or notes", least=12, may_fold=True),
)


def status(arguments: argparse.Namespace, console: Console) -> int:
    """Say whether orders may leave; end with 0 only if so."""

    async def work(orchestrator: Orchestrator) -> ExitCode:
        return await _show_status(orchestrator, console, as_json=arguments.json)

    return with_orchestrator(arguments, work, only_existing=True)


def engage(arguments: argparse.Namespace, console: Console) -> int:
    """Stop all trading and show what the barrier answers."""
    operator, reason = (
        words(arguments.operator, "--operator"),
        words(arguments.reason, "--reason"),
    )

    async def work(orchestrator: Orchestrator) -> ExitCode:
        ports, settings = orchestrator.ports, orchestrator.settings
        wait = settings.kill_switch_drain_seconds
        with console.working(f"stopping; waiting up to {wait:g} s for orders on the wire"):
            answer = await stop(
                Engagement(operator=operator, reason=reason, at=ports.clock.now()),
                kill_switch=ports.kill_switch,
                runs=ports.runs,
                clock=ports.clock,
                wait_seconds=wait,
                cancel_at=ports.sink if arguments.cancel_open else None,
            )
        if arguments.json:
            shown = answer_engaged(answer, status_of(await _read(orchestrator)))
            console.json(to_plain(shown.body))
        else:
            _write_barrier(console, answer)
        return _code_of(answer)

    # A file that is not there halts nobody: to say ENGAGED over a mistyped path would be a lie.
    return _unless_already(lambda: with_orchestrator(arguments, work, only_existing=True))


def disengage(arguments: argparse.Namespace, console: Console) -> int:
    """Let trading go on."""
    return _release(arguments, console, let_go)


def initialise(arguments: argparse.Namespace, console: Console) -> int:
    """Create the state where there is none."""
    return _release(arguments, console, create)


def history(arguments: argparse.Namespace, console: Console) -> int:
    """List the changes, newest first."""

    async def work(orchestrator: Orchestrator) -> ExitCode:
        ports = orchestrator.ports
        entries = await read_history(ports.kill_switch, ports.runs, limit=arguments.limit)
        plain = to_plain(history_of(entries, limit=arguments.limit))
        if arguments.json:
            console.json(plain)
        elif not plain["history"]:
            console.line("no changes")
        else:
            console.table(_HISTORY, [_change(change) for change in plain["history"]])
        return ExitCode.DONE

    return with_orchestrator(arguments, work, only_existing=True)


def _change(change: dict[str, Any]) -> Row:
    words = change["reason"] or change["notes"] or ""
    time = change["timestamp"][:19].replace("T", " ")
    return Row((time, change["event"], change["operator"], words))


def _release(
    arguments: argparse.Namespace,
    console: Console,
    release: Callable[..., Awaitable[KillSwitchState]],
) -> int:
    operator = words(arguments.operator, "--operator")
    notes = None if arguments.notes is None else words(arguments.notes, "--notes")

    async def work(orchestrator: Orchestrator) -> ExitCode:
        ports = orchestrator.ports
        try:
            await release(
                Disengagement(operator=operator, at=ports.clock.now(), notes=notes),
                kill_switch=ports.kill_switch,
                runs=ports.runs,
            )
        except OutcomeUnknown as error:
            raise CommandFailure(
                f"{describe_port_error(error)}: the switch may or may not halt, ask its status",
                ExitCode.UNAVAILABLE,
            ) from error
        return await _show_status(orchestrator, console, as_json=arguments.json)

    return _unless_already(lambda: with_orchestrator(arguments, work, only_existing=True))


def _unless_already(command: Callable[[], int]) -> int:
    try:
        return command()
    except AlreadyInState as already:
        raise CommandFailure(already.problem, ExitCode.ALREADY) from already


async def _read(orchestrator: Orchestrator) -> SwitchReading:
    return await read_switch(orchestrator.ports.kill_switch, orchestrator.ports.runs)


async def _show_status(orchestrator: Orchestrator, console: Console, *, as_json: bool) -> ExitCode:
    reading = await _read(orchestrator)
    orders = await read_open_orders(orchestrator.ports.runs)
    if as_json:
        console.json(_plain_status(reading, orders))
    else:
        _write_status(console, reading)
        if orders:
            count = counted_as(len(orders), "order")
            console.line(f"{count} on the wire, or waiting for an operator: see `orders open`")
    return ExitCode.DONE if isinstance(reading.verdict, Trading) else ExitCode.HALTED


def _plain_status(reading: SwitchReading, orders: Sequence[OpenOrder] | None) -> object:
    shown = status_of(reading, orders)
    if shown is not None:
        return to_plain(shown)
    verdict = reading.verdict
    reason = verdict.reason if isinstance(verdict, Halted) else ""
    release = verdict.release if isinstance(verdict, Halted) else ""
    return {"state": None, "trading_allowed": False, "reason": reason, "release": release}


def _write_status(console: Console, reading: SwitchReading) -> None:
    verdict = reading.verdict
    if isinstance(verdict, Trading):
        console.line(f"ACTIVE: orders may leave (epoch {verdict.epoch})")
        latch = reading.latch
        if isinstance(latch, Latch):
            console.line(f"since {latch.changed_at:%Y-%m-%d %H:%M:%S} UTC, by {latch.changed_by}")
        return
    word = "ENGAGED" if verdict.engaged else "HALTED, in doubt"
    console.line(f"{word}: no order leaves: {verdict.reason}")
    if verdict.engaged_by is not None:
        since = (verdict.engaged_at or "")[:19].replace("T", " ")
        console.line(f"since {since} UTC, by {verdict.engaged_by}")
    console.line(f"held by {' and '.join(str(store) for store in verdict.held_by)}")
    console.line(f"to release: {verdict.release}")


def _write_barrier(console: Console, answer: EngageAnswer) -> None:
    if answer.durable and answer.shared:
        console.line("ENGAGED in both stores: no order can start")
    elif answer.durable or answer.shared:
        held = "run database" if answer.durable else "shared state"
        console.line(f"ENGAGED in the {held} only: {answer.cause}; engage again")
    else:
        console.line(f"NOT engaged, in neither store: {answer.cause}")
    if answer.drained:
        console.line("drained: no order is on the wire")
    elif answer.in_flight:
        count = counted_as(len(answer.in_flight), "order")
        console.line(f"NOT drained: {count} may be on the wire")
        _write_orders(console, answer.in_flight)
    else:
        console.line("NOT drained: it is not known what is on the wire")
    if answer.unresolved:
        count = counted_as(len(answer.unresolved), "order")
        console.line(f"{count} of unknown fate, for an operator to settle")
        _write_orders(console, answer.unresolved)
    if answer.canceling is not None:
        _write_canceling(console, answer.canceling)


def _write_canceling(console: Console, canceling: Canceling) -> None:
    console.line(f"{counted_as(canceling.requested, 'live order')} asked to be canceled")
    for outcome in canceling.failed[:MAX_SHOWN_ORDERS]:
        console.line(f"  NOT asked: {outcome.client_order_id}: {outcome.cause}")
    if len(canceling.failed) > MAX_SHOWN_ORDERS:
        console.line(f"  and {len(canceling.failed) - MAX_SHOWN_ORDERS} more")
    if canceling.cause is not None:
        console.line(f"not every live order is known: {canceling.cause}; engage again")


def _write_orders(console: Console, orders: tuple[OpenOrder, ...]) -> None:
    columns = (Column("symbol"), Column("order id"), Column("state"), Column("run", least=8))
    rows = [
        Row((order.symbol, order.client_order_id, str(order.state), str(order.run_id)))
        for order in orders[:MAX_SHOWN_ORDERS]
    ]
    console.table(columns, rows)
    if len(orders) > MAX_SHOWN_ORDERS:
        console.line(f"and {len(orders) - MAX_SHOWN_ORDERS} more")


def _code_of(answer: EngageAnswer) -> ExitCode:
    if not (answer.durable and answer.shared):
        return ExitCode.UNAVAILABLE
    canceling = answer.canceling
    if canceling is not None and (canceling.failed or canceling.cause is not None):
        return ExitCode.UNAVAILABLE
    return ExitCode.DONE if answer.drained else ExitCode.RUNNING
