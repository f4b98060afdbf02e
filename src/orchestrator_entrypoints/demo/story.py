"""What the demo shows, and checks while it shows it.

A demo that prints a success which did not happen is worse than none: each step says what it expects
and the story ends at the first that came out otherwise.
"""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from orchestrator_core.explaining import StepName
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.run_output import (
    counted_as,
    money,
    write_head,
    write_orders,
)
from orchestrator_entrypoints.demo.client import Reply, ServiceClient
from orchestrator_entrypoints.demo.ledger import Ledger
from orchestrator_entrypoints.demo.lossy import LossyWay

SYMBOLS = ("AAPL", "AMD", "BAC", "CVX", "HD", "JPM", "KO", "LLY", "MSFT", "PEP", "RRC", "XOM")
PAIR = ("AAPL", "XOM")
OPERATOR = "demo"
RECOVERY_LIMIT_SECONDS = 20


class StoryFailure(Exception):
    """Something came out otherwise than it should."""


@frozen
class Stage:
    """Where the story takes place.

    Attributes:
        way: Between the service and the gateway.
        rebalance_key: This demo's own.
    """

    console: Console
    service: ServiceClient
    ledger: Ledger
    way: LossyWay
    rebalance_key: str


def tell(stage: Stage) -> str:
    """Tell the whole story; return the id of its first run.

    Raises:
        StoryFailure: Something came out otherwise than it should.
    """
    first = _trade(stage)
    _halt(stage)
    _repeat(stage, first)
    _lose_an_answer(stage)
    return str(first["run_id"])


def _trade(stage: Stage) -> dict[str, Any]:
    console = stage.console
    _title(console, 1, f"A run of {counted_as(len(SYMBOLS), 'stock')}")
    reply = stage.service.run(SYMBOLS, rebalance_key=stage.rebalance_key)
    _expect(reply, 200, "a run")
    result = reply.body
    write_head(console, result)
    console.line()
    write_orders(console, result)
    console.line()
    ordered = {m["client_order_id"] for m in result["mappings"] if m["order_qty"] is not None}
    taken = {order.ticket.client_order_id for order in stage.ledger.orders}
    _require(result["status"] == "completed", f"a completed run, it is {result['status']}")
    _require(bool(ordered), "a run with orders, there is none")
    _require(taken == ordered, "exactly the run's orders in the gateway's ledger")
    capped = sum(
        step["name"] == StepName.CAPPED_NOTIONAL and step["bound"] is not None
        for mapping in result["mappings"]
        for step in mapping["explanation"]
    )
    console.line(
        f"The gateway's ledger: {counted_as(len(taken), 'order')}, worth "
        f"{money(stage.ledger.exposure())}; {counted_as(capped, 'target')} cut to the cap."
    )
    return result


def _halt(stage: Stage) -> None:
    console = stage.console
    _title(console, 2, "The kill switch")
    reply = stage.service.engage(operator=OPERATOR, reason="showing how it stops")
    _expect(reply, 200, "engaging the kill switch")
    barrier = reply.body
    _require(barrier["drained"] is True, "a drained barrier")
    console.line(
        f"engage     {reply.status} {barrier['state']} by {barrier['engaged_by']}; "
        f"drained: {_word(barrier['drained'])}, in flight: {barrier['in_flight']}"
    )
    console.line(f"           held by {' and '.join(barrier['held_by'])}")
    stored, sent = stage.service.count_runs(), len(stage.ledger.orders)
    refused = stage.service.run(SYMBOLS, rebalance_key=stage.rebalance_key)
    _expect(refused, 503, "a run while the kill switch is engaged")
    detail = refused.body["detail"]
    console.line(f"run        {refused.status} {detail['error']}")
    for name in ("message", "reason", "engaged_by", "engaged_at"):
        console.line(f"           {name + ':':<12}{detail[name]}")
    _require(stage.service.count_runs() == stored, "nothing stored of a refused run")
    _require(len(stage.ledger.orders) == sent, "no order while the kill switch is engaged")
    released = stage.service.disengage(operator=OPERATOR, notes="shown")
    _expect(released, 200, "disengaging the kill switch")
    _require(released.body["trading_allowed"] is True, "trading allowed again")
    console.line(f"disengage  {released.status} {released.body['state']}")


def _repeat(stage: Stage, first: Mapping[str, Any]) -> None:
    console = stage.console
    _title(console, 3, "The same run again")
    before = stage.ledger.orders
    reply = stage.service.run(SYMBOLS, rebalance_key=stage.rebalance_key)
    _expect(reply, 200, "the same run again")
    result = reply.body
    adopted = [m for m in result["mappings"] if m["adopted_from_run_id"] == first["run_id"]]
    ids = {m["client_order_id"] for m in adopted}
    _require(result["run_id"] != first["run_id"], "a run of its own")
    _require(stage.ledger.orders == before, "an unchanged ledger")
    _require(
        ids == {order.ticket.client_order_id for order in before}, "every order of the first run"
    )
    write_head(console, result)
    console.line(
        f"The gateway's ledger: {counted_as(len(before), 'order')} before, "
        f"{len(stage.ledger.orders)} now: nothing was sent twice."
    )


def _lose_an_answer(stage: Stage) -> None:
    console = stage.console
    _title(console, 4, "A lost answer")
    before = len(stage.ledger.orders)
    stage.way.loses_next_order = True
    reply = stage.service.run(PAIR, rebalance_key=f"{stage.rebalance_key}-lost")
    _expect(reply, 202, "a run that an answer was lost of")
    console.line(f"run        {reply.status} {reply.body['status']}: {_fates(reply)}")
    _require(reply.body["num_orders_open"] == 1, "one order of unknown fate")
    ended = stage.service.await_run(reply.body["run_id"], seconds=RECOVERY_LIMIT_SECONDS)
    _expect(ended, 200, "the same run, awaited")
    _require(ended.body["status"] == "completed", "a run that recovery completed")
    console.line(f"recovery   {ended.status} {ended.body['status']}: {_fates(ended)}")
    _require(len(stage.ledger.orders) == before + len(PAIR), "each order in the ledger once")
    console.line(
        f"The gateway's ledger: {counted_as(before, 'order')} before, "
        f"{len(stage.ledger.orders)} now: nothing was sent twice."
    )


def _fates(reply: Reply) -> str:
    return ", ".join(f"{m['symbol']} {m['order_status']}" for m in reply.body["mappings"])


def _title(console: Console, number: int, text: str) -> None:
    console.line()
    console.line(f"{number}. {text}")
    console.line()


def _word(answer: bool) -> str:  # noqa: FBT001 - it is what it says
    return "yes" if answer else "no"


def _expect(reply: Reply, status: int, what: str) -> None:
    if reply.status != status:
        raise StoryFailure(f"{what}: expected {status}, got {reply.status}: {_detail(reply)}")


def _detail(reply: Reply) -> str:
    detail = reply.body.get("detail", reply.body)
    if not isinstance(detail, dict):
        return str(detail)
    said = (detail.get(name) for name in ("error", "reason", "message"))
    return ", ".join(str(word) for word in said if word)


def _require(holds: bool, expected: str) -> None:  # noqa: FBT001 - it is what it says
    if not holds:
        raise StoryFailure(f"expected {expected}")
