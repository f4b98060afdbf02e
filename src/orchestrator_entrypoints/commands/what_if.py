"""`orchestrator what-if`: a stored run's orders, had something been otherwise."""

import argparse
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

from orchestrator_core.explaining import explain
from orchestrator_core.identifiers import Symbol, parse_symbol
from orchestrator_core.model import Quote
from orchestrator_core.money import ZERO, multiply, parse_money
from orchestrator_core.orders import order_of
from orchestrator_core.planning import SizingDecision, Snapshot
from orchestrator_core.ports import RunRepository
from orchestrator_core.replay import PlanRow, UnreadableRecord, derive
from orchestrator_core.what_if import Changes, WhatIf, what_if
from orchestrator_entrypoints.answers import steps_of
from orchestrator_entrypoints.commands.console import Column, Console, Row
from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run_output import counted_as
from orchestrator_entrypoints.commands.stored import read_one, run_id_of, with_runs
from orchestrator_entrypoints.wire_json import to_plain

_COLUMNS = (
    Column("symbol"),
    Column("before", least=10, may_fold=True),
    Column("after", least=10, may_fold=True),
    Column("notional before", is_right=True),
    Column("after", is_right=True),
)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"expected a whole number above zero, got {text[:60]!r}")
    return int(text)


def _weight(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"expected a finite number, got {text[:60]!r}")
    return value


def _from_zero(text: str) -> Decimal:
    return ZERO if text == "0" else parse_money(text)


def _truth(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(f"expected true or false, got {text[:60]!r}")
    return text == "true"


def _seconds(text: str) -> float:
    value = _weight(text)
    if value < 0:
        raise ValueError(f"expected seconds, not below zero, got {text[:60]!r}")
    return value


_SIZES: Mapping[str, Callable[[str], Decimal]] = {
    "capital": parse_money,
    "max_position_size": parse_money,
}
_RULES: Mapping[str, Callable[[str], Any]] = {
    "min_order_notional": _from_zero,
    "cash_buffer": _from_zero,
    "spends_leftover": _truth,
}
_LIMITS: Mapping[str, Callable[[str], Any]] = {
    "max_order_qty": _whole,
    "max_order_notional": parse_money,
    "max_signal_weight": parse_money,
    "max_side_weight": parse_money,
    "max_price_age_seconds": _seconds,
}


def show_what_if(arguments: argparse.Namespace, console: Console) -> int:
    """Show the orders before and after; nothing is stored or sent."""
    run_id, changes = run_id_of(arguments.run_id), _changes(arguments)

    async def work(runs: RunRepository) -> ExitCode:
        record = await read_one(runs, run_id)
        try:
            derivation = derive(record)
        except UnreadableRecord as error:
            raise CommandFailure(f"run {run_id}: {error}", ExitCode.DAMAGED) from None
        found = what_if(derivation.snapshot, changes)
        if arguments.json:
            console.json(_as_json(found, derivation.snapshot))
        else:
            _write(console, found)
        return ExitCode.DONE

    return with_runs(arguments, work)


def _changes(arguments: argparse.Namespace) -> Changes:
    settings = dict(_pairs(arguments.settings, "--set"))
    for name in settings:
        if name not in {**_SIZES, **_RULES, **_LIMITS}:
            known = ", ".join([*_SIZES, *_RULES, *_LIMITS])
            raise CommandFailure(f"--set: {name[:60]!r} is none of {known}", ExitCode.USAGE)
    sizes = _taken(settings, _SIZES)
    changes = Changes(
        capital=sizes.get("capital"),
        max_position_size=sizes.get("max_position_size"),
        rules=_taken(settings, _RULES),
        limits=_taken(settings, _LIMITS),
        prices=_by_symbol(arguments.prices, "--price", parse_money),
        weights=_by_symbol(arguments.weights, "--weight", _weight),
    )
    if not (settings or changes.prices or changes.weights):
        raise CommandFailure("expected --set, --price or --weight", ExitCode.USAGE)
    return changes


def _taken(
    settings: Mapping[str, str], readers: Mapping[str, Callable[[str], Any]]
) -> dict[str, Any]:
    return {
        name: _parsed("--set", name, text, readers[name])
        for name, text in settings.items()
        if name in readers
    }


def _by_symbol(texts: Iterable[str], option: str, read: Callable[[str], Any]) -> dict[Symbol, Any]:
    return {
        parse_symbol(symbol): _parsed(option, symbol, value, read)
        for symbol, value in _pairs(texts, option)
    }


def _pairs(texts: Iterable[str], option: str) -> Iterable[tuple[str, str]]:
    seen = set()
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise CommandFailure(
                f"{option}: expected NAME=VALUE, got {text[:60]!r}", ExitCode.USAGE
            )
        if name.strip().upper() in seen:
            raise CommandFailure(f"{option}: {name[:60]} is given twice", ExitCode.USAGE)
        seen.add(name.strip().upper())
        yield name.strip(), value.strip()


def _parsed(option: str, name: str, text: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(text)
    except ValueError as problem:
        raise CommandFailure(f"{option} {name[:60]}: {problem}", ExitCode.USAGE) from None


def _write(console: Console, found: WhatIf) -> None:
    rows, changed = [], 0
    for before, after in zip(found.before.decisions, found.after.decisions, strict=True):
        was, now = _said(before), _said(after)
        changed += was != now
        cells = (before.signal.symbol, was, now if was != now else "the same", _worth(before))
        rows.append(Row((*cells, _worth(after)), "bold" if was != now else "dim"))
    console.table(_COLUMNS, rows)
    console.line(f"{counted_as(changed, 'decision')} of {len(rows)} changed; nothing was sent")
    if found.refusal is not None:
        console.line(f"a run would refuse these signals as a whole: {found.refusal}")


def _said(decision: SizingDecision) -> str:
    row = PlanRow.of(order_of(decision))
    order = "" if row.qty is None else f"{row.side} {row.qty:,}"
    return ", ".join(word for word in (order, row.stopped) if word)


def _worth(decision: SizingDecision) -> str:
    notional = _notional(decision)
    return "" if notional is None else f"{notional:,.2f}"


def _notional(decision: SizingDecision) -> Decimal | None:
    if decision.intent is None or not isinstance(decision.quote, Quote):
        return None
    return multiply(decision.quote.price, decision.intent.qty)


def _as_json(found: WhatIf, before: Snapshot) -> dict[str, Any]:
    return {
        "decisions": [
            {
                "symbol": old.signal.symbol,
                "is_changed": _said(old) != _said(new),
                "before": [to_plain(step) for step in steps_of(explain(old, before))],
                "after": [to_plain(step) for step in steps_of(explain(new, found.changed))],
            }
            for old, new in zip(found.before.decisions, found.after.decisions, strict=True)
        ],
        "refusal": found.refusal,
    }
