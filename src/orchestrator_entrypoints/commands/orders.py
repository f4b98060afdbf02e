"""`orchestrator orders`: what is open, and closing by hand what nothing else settles."""

import argparse
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from attrs import frozen

from orchestrator_core.commits import OpenOrder
from orchestrator_core.errors import InvalidRequest, Unavailable
from orchestrator_core.identifiers import ClientOrderId, RunId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.ports import RunRepository
from orchestrator_core.resolving import RESOLVABLE, Resolution, resolve_order
from orchestrator_core.runs import Run
from orchestrator_entrypoints.commands.console import Column, Console, Row
from orchestrator_entrypoints.commands.edge import CommandFailure, describe_port_error, words
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.live_orders import ENDED, end
from orchestrator_entrypoints.commands.run import explain_and_show
from orchestrator_entrypoints.commands.run_output import counted_as
from orchestrator_entrypoints.commands.session import with_orchestrator
from orchestrator_entrypoints.orchestrator import Orchestrator

_COLUMNS = (
    Column("order id"),
    Column("symbol"),
    Column("side"),
    Column("shares", is_right=True),
    Column("state"),
    Column("run"),
    Column("run's age", is_right=True),
    Column("reason", least=12, may_fold=True),
)


@frozen
class _Listed:
    """An open order, with what its run tells of it.

    Attributes:
        run: None where it is gone from the list meanwhile.
    """

    order: OpenOrder
    run: Run | None

    def as_json(self, now: datetime) -> dict[str, Any]:
        """Return the order as JSON values, its run's age in seconds."""
        found = None if self.run is None else self.run.order(self.order.client_order_id)
        intent = None if found is None else found.intent
        age = None if self.run is None else (now - self.run.started_at).total_seconds()
        return {
            "run_id": str(self.order.run_id),
            "client_order_id": self.order.client_order_id,
            "symbol": self.order.symbol,
            "side": None if intent is None else str(intent.side),
            "qty": None if intent is None else intent.qty,
            "state": str(self.order.state),
            "reason": None if found is None else found.reason,
            "age_seconds": None if age is None else round(age, 1),
            "waits_for_operator": self.order.state in RESOLVABLE,
        }


def list_open(arguments: argparse.Namespace, console: Console) -> int:
    """List every open order, of every replica and strategy."""

    async def work(orchestrator: Orchestrator) -> ExitCode:
        runs = orchestrator.ports.runs
        listed = await _with_runs(await runs.open_orders(), runs)
        now = orchestrator.ports.clock.now()
        plain = [each.as_json(now) for each in listed]
        if arguments.json:
            console.json({"orders": plain, "total": len(plain)})
        else:
            _write(console, plain)
        return ExitCode.DONE

    return with_orchestrator(arguments, work, only_existing=True)


async def _with_runs(orders: Sequence[OpenOrder], runs: RunRepository) -> list[_Listed]:
    found: dict[RunId, Run | None] = {}
    for order in orders:
        if order.run_id not in found:
            found[order.run_id] = await runs.get_run(order.run_id)
    return [_Listed(order, found[order.run_id]) for order in orders]


def _write(console: Console, orders: list[dict[str, Any]]) -> None:
    if not orders:
        console.line("no open orders")
        return
    console.table(_COLUMNS, [_row(order) for order in orders])
    waiting = sum(order["waits_for_operator"] for order in orders)
    if waiting:
        console.line()
        console.line(
            f"{counted_as(waiting, 'order')} to be settled by hand: find out at the broker what "
            "became of it, then"
        )
        console.line("  orchestrator orders resolve ID --as WHAT --operator YOU --evidence TEXT")


def _row(order: dict[str, Any]) -> Row:
    age = order["age_seconds"]
    cells = (
        order["client_order_id"],
        order["symbol"],
        order["side"] or "",
        "" if order["qty"] is None else f"{order['qty']:,}",
        order["state"],
        order["run_id"],
        "" if age is None else _age(age),
        order["reason"] or "",
    )
    return Row(cells, "red" if order["waits_for_operator"] else "yellow")


def _age(seconds: float) -> str:
    """Return a time span for the eye.

    >>> _age(59.9), _age(7260), _age(200_000)
    ('59 s', '121 min', '55 h')
    """
    if seconds < 120:  # noqa: PLR2004 - two minutes
        return f"{int(seconds)} s"
    return f"{int(seconds / 60)} min" if seconds < 3 * 3600 else f"{int(seconds / 3600)} h"


def resolve(arguments: argparse.Namespace, console: Console) -> int:
    """Close an order that waits for an operator, and show its run."""
    broker_order_id = arguments.broker_order_id
    if broker_order_id is not None and arguments.resolved_as != OrderState.ACCEPTED:
        raise CommandFailure("--broker-order-id: only an accepted order has one", ExitCode.USAGE)
    if arguments.resolved_as == ENDED:
        return end(arguments, console)
    state = OrderState(arguments.resolved_as)
    resolution = Resolution(
        ClientOrderId(words(arguments.client_order_id, "CLIENT_ORDER_ID")),
        state,
        operator=words(arguments.operator, "--operator"),
        evidence=words(arguments.evidence, "--evidence"),
        broker_order_id=(
            None if broker_order_id is None else words(broker_order_id, "--broker-order-id")
        ),
        stands_unasked=arguments.unasked,
    )

    async def work(orchestrator: Orchestrator) -> ExitCode:
        run = await _closed(resolution, orchestrator)
        await explain_and_show(run, orchestrator, console, arguments)
        order = run.order(resolution.client_order_id)
        if order is not None and order.reason == resolution.reason(is_asked=False):
            say = console.note if arguments.json else console.line
            whose = f"the word of {resolution.operator}"
            say(f"the gateway was not asked: the order is closed on {whose}")
        return ExitCode.DONE

    return with_orchestrator(arguments, work, only_existing=True)


async def _closed(resolution: Resolution, orchestrator: Orchestrator) -> Run:
    """Close the order; say where the gateway's silence is what forbids it.

    Raises:
        CommandFailure: The order does not wait for an operator; or the gateway cannot be asked,
            and nobody said to go without.
    """
    try:
        return await resolve_order(resolution, ports=orchestrator.ports, policy=orchestrator.policy)
    except InvalidRequest as refused:
        if refused.field != "client_order_id":
            raise
        raise CommandFailure(refused.problem, ExitCode.FAILED) from refused
    except Unavailable as error:
        if error.port != "orders":
            raise
        raise CommandFailure(
            f"{describe_port_error(error)}: the gateway cannot be asked whether it has the order, "
            "and nothing was changed; --unasked closes it on your word alone",
            ExitCode.UNAVAILABLE,
        ) from error
