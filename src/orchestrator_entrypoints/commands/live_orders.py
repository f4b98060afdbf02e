"""`orchestrator orders live`, and ending an accepted order that the gateway has lost."""

import argparse
from typing import Any

from orchestrator_core.ending import Ending, LiveOrder, end_order, look_at_live_orders
from orchestrator_core.errors import InvalidRequest, Unavailable
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.runs import Run
from orchestrator_entrypoints.commands.console import Column, Console, Row
from orchestrator_entrypoints.commands.edge import CommandFailure, describe_port_error, words
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run import explain_and_show
from orchestrator_entrypoints.commands.run_output import counted_as
from orchestrator_entrypoints.commands.session import with_orchestrator
from orchestrator_entrypoints.orchestrator import Orchestrator

ENDED = "ended"

_COLUMNS = (
    Column("order id"),
    Column("symbol"),
    Column("side"),
    Column("shares", is_right=True),
    Column("filled", is_right=True),
    Column("last word"),
    Column("gateway now"),
    Column("run"),
    Column("cause", least=12, may_fold=True),
)


def list_live(arguments: argparse.Namespace, console: Console) -> int:
    """List the strategy's accepted orders that have not ended, each looked up at the gateway."""

    async def work(orchestrator: Orchestrator) -> ExitCode:
        found = await look_at_live_orders(orchestrator.ports, orchestrator.policy.strategy_id)
        plain = [_as_json(each) for each in found]
        if arguments.json:
            console.json({"orders": plain, "total": len(plain)})
        else:
            _write(console, plain)
        return ExitCode.DONE

    return with_orchestrator(arguments, work, only_existing=True)


def _as_json(live: LiveOrder) -> dict[str, Any]:
    order, answer = live.order, live.answer
    return {
        "run_id": str(order.run_id),
        "client_order_id": order.intent.client_order_id,
        "symbol": order.intent.symbol,
        "side": str(order.intent.side),
        "qty": order.intent.qty,
        "filled_qty": f"{order.report.filled_qty:f}",
        "last_word": order.report.status,
        "gateway_says": str(answer.kind) if answer.report is None else answer.report.status,
        "cause": answer.cause,
        "age_seconds": round(order.age_seconds, 1),
        "is_lost": live.is_lost,
    }


def _write(console: Console, orders: list[dict[str, Any]]) -> None:
    if not orders:
        console.line("no live orders")
        return
    console.table(_COLUMNS, [_row(order) for order in orders])
    lost = sum(order["is_lost"] for order in orders)
    if lost:
        console.line()
        console.line(
            f"{counted_as(lost, 'order')} that the gateway has no record of: find out at the "
            "broker that it lives no more, then"
        )
        console.line(
            f"  orchestrator orders resolve ID --as {ENDED} --operator YOU --evidence TEXT"
        )


def _row(order: dict[str, Any]) -> Row:
    cells = (
        order["client_order_id"],
        order["symbol"],
        order["side"],
        f"{order['qty']:,}",
        order["filled_qty"],
        order["last_word"],
        order["gateway_says"],
        order["run_id"],
        order["cause"] or "",
    )
    return Row(cells, "red" if order["is_lost"] else "")


def end(arguments: argparse.Namespace, console: Console) -> int:
    """Record an operator's word that an accepted order has ended, and show its run."""
    ending = Ending(
        ClientOrderId(words(arguments.client_order_id, "CLIENT_ORDER_ID")),
        operator=words(arguments.operator, "--operator"),
        evidence=words(arguments.evidence, "--evidence"),
        stands_untold=arguments.unasked,
    )

    async def work(orchestrator: Orchestrator) -> ExitCode:
        run = await _ended(ending, orchestrator)
        await explain_and_show(run, orchestrator, console, arguments)
        say = console.note if arguments.json else console.line
        say(f"{ending.client_order_id} has ended on the word of {ending.operator}")
        return ExitCode.DONE

    return with_orchestrator(arguments, work, only_existing=True)


async def _ended(ending: Ending, orchestrator: Orchestrator) -> Run:
    try:
        return await end_order(
            ending, ports=orchestrator.ports, strategy_id=orchestrator.policy.strategy_id
        )
    except InvalidRequest as refused:
        raise CommandFailure(refused.problem, ExitCode.FAILED) from refused
    except Unavailable as error:
        if error.port != "orders":
            raise
        raise CommandFailure(
            f"{describe_port_error(error)}: the gateway cannot tell whether it has the order, and "
            "nothing was changed; --unasked ends it on your word alone",
            ExitCode.UNAVAILABLE,
        ) from error
