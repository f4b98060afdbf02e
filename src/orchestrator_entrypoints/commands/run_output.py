"""A run for a person: each symbol's way from weight to order.

What is shown is the run as clients read it, the JSON of the HTTP service with its explanations:
nothing is computed a second time, and the command line and the demo show the same.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from orchestrator_core.explaining import StepName
from orchestrator_core.lifecycle import OPEN, OrderState
from orchestrator_entrypoints.commands.console import Column, Console, Row

Json = Mapping[str, Any]
Figure = tuple[StepName, Callable[[Decimal], str]]

SHORT_ID = 8

_STYLES = {
    OrderState.ACCEPTED: "",
    OrderState.ADOPTED: "cyan",
    OrderState.SKIPPED: "dim",
}


# Neither accepted nor rejected: what nothing was sent for.
UNSENT = (OrderState.DENIED, OrderState.HALTED, OrderState.SKIPPED)


def write_run(console: Console, result: Json, *, in_full: bool = False) -> None:
    """Write a run: what became of it, then a line for each signal.

    Args:
        console: Where to.
        result: An OrchestrationResult as JSON.
        in_full: Write each step of each decision too.
    """
    write_head(console, result)
    if result["mappings"]:
        console.line()
        write_orders(console, result)
        if any(_attributions(mapping) for mapping in result["mappings"]):
            console.line()
            write_attributions(console, result)
        if in_full and any(_steps(mapping) for mapping in result["mappings"]):
            console.line()
            write_steps(console, result)


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
    allocation = result.get("allocation")
    if allocation is not None:
        console.line(_allocated(allocation))
    for said in (result["error_message"], result["note"]):
        if said:
            console.line(said)


def _counts(result: Json) -> str:
    states = Counter(mapping["order_state"] for mapping in result["mappings"])
    adopted = states[OrderState.ADOPTED]
    counted = [
        counted_as(result["num_signals"], "signal"),
        f"{counted_as(result['num_orders_accepted'], 'order')} accepted",
        f"{result['num_orders_rejected']} rejected" if result["num_orders_rejected"] else "",
        f"{result['num_orders_open']} open" if result["num_orders_open"] else "",
        f"{adopted} ordered before" if adopted else "",
        *(f"{states[state]} {state}" for state in UNSENT if states[state]),
    ]
    return ", ".join(count for count in counted if count)


def _allocated(allocation: Json) -> str:
    amounts = {name: Decimal(value) for name, value in allocation.items()}
    wanted, left = money(amounts["wanted"]), amounts["leftover_cash"]
    over = "left over" if left >= 0 else "too much"
    return (
        f"{money(amounts['allocated'])} allocated of {wanted} wanted, {money(left.copy_abs())} "
        f"{over}, tracking error {amounts['tracking_error']:.6f}"
    )


def write_orders(console: Console, result: Json) -> None:
    """Write one line for each signal of a run; its figures where the run is explained."""
    mappings = result["mappings"]
    figures = _figures_of(mappings)
    columns = [
        Column("symbol"),
        *(Column(title, is_right=True) for title in ("weight", *figures, "shares")),
        Column("side"),
        Column("order id", least=7),
        Column("outcome", least=14, may_fold=True),
    ]
    console.table(columns, [_row(mapping, figures) for mapping in mappings])


def _figures_of(mappings: Sequence[Json]) -> Mapping[str, Figure]:
    """Return what is shown between weight and shares, as far as the run is explained."""
    steps = {step["name"] for mapping in mappings for step in _steps(mapping)}
    if not steps:
        return {}
    return _FIGURES | _DIFFERENCES if StepName.POSITION in steps else _FIGURES


def _row(mapping: Json, figures: Mapping[str, Figure]) -> Row:
    values = {step["name"]: step["value"] for step in _steps(mapping)}
    cells = [
        mapping["symbol"],
        _weight(mapping["target_weight"]),
        *(
            "" if values.get(name) is None else show(Decimal(values[name]))
            for name, show in figures.values()
        ),
    ]
    cells += [
        "" if mapping["order_qty"] is None else f"{mapping['order_qty']:,}",
        mapping["order_side"] or "",
        mapping["client_order_id"] or "",
        outcome(mapping),
    ]
    return Row(tuple(cells), _style(OrderState(mapping["order_state"])))


def _steps(mapping: Json) -> Sequence[Json]:
    return mapping.get("explanation") or ()


def _attributions(mapping: Json) -> Sequence[Json]:
    return mapping.get("attributions") or ()


def write_attributions(console: Console, result: Json) -> None:
    """Write what each of several strategies has of each signal of a run."""
    figures = ("share", "its weight", "of capital", "shares")
    columns = [
        Column("symbol"),
        Column("strategy", least=8),
        *(Column(title, is_right=True) for title in figures),
    ]
    rows = []
    for mapping in result["mappings"]:
        for place, part in enumerate(_attributions(mapping)):
            cells = (
                mapping["symbol"] if place == 0 else "",
                part["strategy_id"],
                part["share"],
                _weight(part["target_weight"]),
                _weight(Decimal(part["weight"])),
                f"{part['qty']:,}",
            )
            rows.append(Row(cells))
    console.table(columns, rows)


def _weight(weight: float | Decimal) -> str:
    return f"{weight:+.4f}" if weight else "0"


def write_steps(console: Console, result: Json) -> None:
    """Write each step of each decision."""
    columns = [
        Column("symbol"),
        Column("step"),
        Column("value", is_right=True, least=8),
        Column("held to", is_right=True),
        Column("", least=14, may_fold=True),
    ]
    rows = []
    for mapping in result["mappings"]:
        for place, step in enumerate(_steps(mapping)):
            shown = (step["value"] or "none", step["bound"] or "", step["note"] or "")
            symbol = mapping["symbol"] if place == 0 else ""
            style = "bold" if place == 0 else ""
            rows.append(Row((symbol, step["name"].replace("_", " "), *shown), style))
    console.table(columns, rows)


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


def signed(shares: Decimal) -> str:
    """Return shares with their sign; 0 has none."""
    return f"{shares:+,}" if shares else "0"


# What a line shows of the way to an order, and how; of a difference, more.
_FIGURES: dict[str, Figure] = {
    "target": (StepName.TARGET_NOTIONAL, money),
    "capped": (StepName.CAPPED_NOTIONAL, money),
    "price": (StepName.PRICE, "{:,.2f}".format),
}
_DIFFERENCES: dict[str, Figure] = {
    "position": (StepName.POSITION, "{:,}".format),
    "on order": (StepName.ON_ORDER, signed),
    "delta": (StepName.DELTA, signed),
}
