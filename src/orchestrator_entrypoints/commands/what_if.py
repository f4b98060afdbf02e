"""`orchestrator what-if`: a stored run's orders, had something been otherwise."""

import argparse
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from attrs import evolve

from orchestrator_core.explaining import explain
from orchestrator_core.identifiers import Symbol, parse_symbol
from orchestrator_core.model import Quote
from orchestrator_core.money import multiply, parse_money
from orchestrator_core.orders import order_of
from orchestrator_core.plans import OrderPlan, SizingDecision, Snapshot
from orchestrator_core.ports import RunRepository
from orchestrator_core.replay import PlanRow, UnreadableRecord, derive
from orchestrator_core.what_if import Changes, WhatIf, what_if
from orchestrator_entrypoints.backtests.policy_fields import changes_with
from orchestrator_entrypoints.commands.console import Column, Console, Row
from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run_output import counted_as
from orchestrator_entrypoints.commands.stored import read_one, run_id_of, with_runs
from orchestrator_entrypoints.commands.written_pairs import pairs, parsed
from orchestrator_entrypoints.shown_runs import steps_of
from orchestrator_entrypoints.wire_json import to_plain
from orchestrator_entrypoints.written_fields import finite

_COLUMNS = (
    Column("symbol"),
    Column("before", least=10, may_fold=True),
    Column("after", least=10, may_fold=True),
    Column("notional before", is_right=True),
    Column("after", is_right=True),
)


def show_what_if(arguments: argparse.Namespace, console: Console) -> int:
    """Show the orders before and after; nothing is stored or sent."""
    run_id = run_id_of(arguments.run_id)
    changes = _changes(arguments)

    async def work(runs: RunRepository) -> ExitCode:
        record = await read_one(runs, run_id)
        try:
            derivation = derive(record)
        except UnreadableRecord as error:
            raise CommandFailure(f"run {run_id}: {error}", ExitCode.DAMAGED) from None
        snapshot = derivation.snapshot
        found = what_if(snapshot, changes)
        missing = _missing(found.changed)
        if arguments.json:
            console.json(_as_json(found, snapshot) | {"missing": list(missing)})
        else:
            _write(console, found)
            for words in missing:
                console.line(f"note: {words}")
        return ExitCode.DONE

    return with_runs(arguments, work)


def _changes(arguments: argparse.Namespace) -> Changes:
    try:
        fields = changes_with(pairs(arguments.settings, "--set"))
    except ValueError as problem:
        raise CommandFailure(f"--set: {problem}", ExitCode.USAGE) from None
    changes = evolve(
        fields,
        prices=_by_symbol(arguments.prices, "--price", parse_money),
        weights=_by_symbol(arguments.weights, "--weight", finite),
    )
    if not (arguments.settings or changes.prices or changes.weights):
        raise CommandFailure("expected --set, --price or --weight", ExitCode.USAGE)
    return changes


def _missing(changed: Snapshot) -> tuple[str, ...]:
    """Say what the run did not look at, and a limit in force would depend on."""
    limits = changed.policy.limits
    said = {
        "no positions were read: reduce-only mode denies every order": (
            limits.reduce_only and changed.holdings is None
        ),
        "what the day had ordered was not read: its limits judge this run alone": (
            limits.has_day_bounds and changed.day is None
        ),
        "no reference prices were read: the price band has nothing to go by": (
            limits.needs_references and not changed.references
        ),
    }
    return tuple(words for words, holds in said.items() if holds)


def _by_symbol(texts: Iterable[str], option: str, read: Callable[[str], Any]) -> dict[Symbol, Any]:
    return {
        parse_symbol(symbol): parsed(option, symbol, value, read)
        for symbol, value in pairs(texts, option)
    }


Pair = tuple[Symbol, SizingDecision | None, SizingDecision | None]


def _paired(found: WhatIf) -> list[Pair]:
    """Return each order's decision before and after; a flip may be two orders in one of them."""
    before, after = _by_leg(found.before), _by_leg(found.after)
    order = dict.fromkeys(symbol for symbol, _ in (*before, *after))
    return [
        (symbol, before.get((symbol, leg)), after.get((symbol, leg)))
        for symbol in order
        for leg in (0, 1)
        if (symbol, leg) in before or (symbol, leg) in after
    ]


def _by_leg(plan: OrderPlan) -> dict[tuple[Symbol, int], SizingDecision]:
    found: dict[tuple[Symbol, int], SizingDecision] = {}
    for decision in plan.decisions:
        leg = 0 if decision.intent is None else decision.intent.leg
        symbol = decision.signal.symbol
        # A second leg that is no order of its own stands as the second.
        found[symbol, leg if (symbol, leg) not in found else leg + 1] = decision
    return found


def _write(console: Console, found: WhatIf) -> None:
    rows, changed = [], 0
    for symbol, before, after in _paired(found):
        was, now = _said(before), _said(after)
        changed += was != now
        cells = (symbol, was, now if was != now else "the same", _worth(before))
        rows.append(Row((*cells, _worth(after)), "bold" if was != now else "dim"))
    console.table(_COLUMNS, rows)
    console.line(f"{counted_as(changed, 'decision')} of {len(rows)} changed; nothing was sent")
    if found.refusal is not None:
        console.line(f"a run would refuse these signals as a whole: {found.refusal}")


def _said(decision: SizingDecision | None) -> str:
    if decision is None:
        return "no order"
    row = PlanRow.of(order_of(decision))
    order = "" if row.qty is None else f"{row.side} {row.qty:,}"
    return ", ".join(word for word in (order, row.stopped) if word)


def _worth(decision: SizingDecision | None) -> str:
    notional = _notional(decision)
    return "" if notional is None else f"{notional:,.2f}"


def _notional(decision: SizingDecision | None) -> Decimal | None:
    if decision is None or decision.intent is None or not isinstance(decision.quote, Quote):
        return None
    return multiply(decision.quote.price, decision.intent.qty)


def _as_json(found: WhatIf, before: Snapshot) -> dict[str, Any]:
    return {
        "decisions": [
            {
                "symbol": symbol,
                "is_changed": _said(old) != _said(new),
                "before": _steps(old, before),
                "after": _steps(new, found.changed),
            }
            for symbol, old, new in _paired(found)
        ],
        "refusal": found.refusal,
    }


def _steps(decision: SizingDecision | None, snapshot: Snapshot) -> list[Any]:
    if decision is None:
        return []
    return [to_plain(step) for step in steps_of(explain(decision, snapshot))]
