"""A run for a person: each symbol's way from weight to order.

What is shown is computed from the run as clients read it, the JSON of the HTTP service, so that
the command line and the demo show the same.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from orchestrator_core.identifiers import Symbol
from orchestrator_core.lifecycle import OPEN, OrderState
from orchestrator_core.money import decimal_of, multiply
from orchestrator_entrypoints.commands.console import Column, Console, Row

Json = Mapping[str, Any]

SHORT_ID = 8

_STYLES = {
    OrderState.ACCEPTED: "",
    OrderState.ADOPTED: "cyan",
    OrderState.SKIPPED: "dim",
}


def write_run(
    console: Console, result: Json, *, prices: Mapping[Symbol, Decimal] | None = None
) -> None:
    """Write a run: what became of it, then a line for each signal.

    Args:
        console: Where to.
        result: An OrchestrationResult as JSON.
        prices: What the orders were sized with, where that is known.
    """
    write_head(console, result)
    if result["mappings"]:
        console.line()
        write_orders(console, result, prices=prices)


def write_head(console: Console, result: Json) -> None:
    """Write what became of a run, in a few lines."""
    duration = result["duration_seconds"]
    took = "" if duration is None else f", {Decimal(duration):.2f} s"
    console.line(f"run {result['run_id']}: {result['status']}{took}")
    capital, cap = Decimal(result["capital"]), Decimal(result["max_position_size"])
    console.line(
        f"strategy {result['strategy_id']}, as of {result['as_of_date']}, capital {capital:,f}"
    )
    key = f", rebalance key {result['rebalance_key']}" if result["rebalance_key"] else ""
    console.line(f"at most {cap:,f} a position{key}")
    if result["dry_run"]:
        console.line("a dry run: nothing was sent")
    if result["mappings"]:
        console.line(_counts(result))
    for said in (result["error_message"], result["note"]):
        if said:
            console.line(said)


def _counts(result: Json) -> str:
    adopted = sum(mapping["order_state"] == OrderState.ADOPTED for mapping in result["mappings"])
    counted = [
        counted_as(result["num_signals"], "signal"),
        f"{counted_as(result['num_orders_accepted'], 'order')} accepted",
        f"{result['num_orders_rejected']} rejected" if result["num_orders_rejected"] else "",
        f"{result['num_orders_open']} open" if result["num_orders_open"] else "",
        f"{adopted} ordered before" if adopted else "",
    ]
    return ", ".join(count for count in counted if count)


def write_orders(
    console: Console, result: Json, *, prices: Mapping[Symbol, Decimal] | None = None
) -> None:
    """Write one line for each signal of a run."""
    figures = ["weight", "target", "capped", *(["price"] if prices is not None else []), "shares"]
    columns = [
        Column("symbol"),
        *(Column(title, is_right=True) for title in figures),
        Column("side"),
        Column("order id", least=7),
        Column("outcome", least=14, may_fold=True),
    ]
    console.table(columns, [_row(mapping, result, prices) for mapping in result["mappings"]])


def _row(mapping: Json, result: Json, prices: Mapping[Symbol, Decimal] | None) -> Row:
    weight = decimal_of(mapping["target_weight"])
    target = multiply(abs(weight), Decimal(result["capital"]))
    capped = min(target, Decimal(result["max_position_size"]))
    cells = [mapping["symbol"], f"{weight:+.4f}" if weight else "0"]
    cells += [money(target), money(capped)] if weight else ["", ""]
    if prices is not None:
        price = prices.get(Symbol(mapping["symbol"]))
        cells.append("" if price is None or not weight else f"{price:,.2f}")
    cells += [
        "" if mapping["order_qty"] is None else f"{mapping['order_qty']:,}",
        mapping["order_side"] or "",
        mapping["client_order_id"] or "",
        outcome(mapping),
    ]
    return Row(tuple(cells), _style(OrderState(mapping["order_state"])))


def outcome(mapping: Json) -> str:
    """Return in a few words what became of a signal."""
    status, reason = mapping["order_status"], mapping["skip_reason"]
    owner = mapping["adopted_from_run_id"]
    if owner is not None:
        said = f"{status}: {reason}" if reason and not reason.startswith("already") else status
        return f"{said or 'planned'} in run {owner[:SHORT_ID]}"
    if reason is None:
        return str(status or mapping["order_state"])
    return f"{status}: {reason}" if status else reason


def _style(state: OrderState) -> str:
    return "yellow" if state in OPEN else _STYLES.get(state, "red")


def counted_as(count: int, noun: str) -> str:
    """Return a count with its noun.

    >>> counted_as(1, "order"), counted_as(2, "order")
    ('1 order', '2 orders')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def money(amount: Decimal) -> str:
    """Return an amount of account currency, rounded to whole units for the eye."""
    return f"{amount:,.0f}"
