"""Policy fields as they are written: `cap=20000`, `lot=10`, `max_order_qty=500`, `every=5`.

The same words serve `--policy` of a backtest and the axes of a sweep.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import evolve

from orchestrator_core.errors import InvalidRequest
from orchestrator_core.identifiers import Symbol, parse_symbol
from orchestrator_core.limits import Limits
from orchestrator_core.money import parse_money
from orchestrator_core.sizing import SizingMode
from orchestrator_core.what_if import Changes
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.variables import one_of
from orchestrator_entrypoints.written_fields import LIMIT_READERS, from_zero, truth, whole

# Short names, and what they are of a policy.
SHORT = {"cap": "max_position_size", "buffer": "cash_buffer", "every": "rebalance_every"}
LOT = "lot"
# Of a bound that is open where none is given.
OPEN = "none"


def _open_or(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text == OPEN else read(text)


_OWN: Mapping[str, Callable[[str], Any]] = {
    "capital": parse_money,
    "max_position_size": _open_or(parse_money),
    "lot": whole,
    "compounds": truth,
    "rebalance_every": whole,
}
_RULES: Mapping[str, Callable[[str], Any]] = {
    "min_order_notional": from_zero,
    "cash_buffer": from_zero,
    "spends_leftover": truth,
    "closes_absent": truth,
    "mode": one_of(SizingMode, str.lower),
}
_LIMITS: Mapping[str, Callable[[str], Any]] = {
    name: _open_or(read) if getattr(Limits(), name) is None else read
    for name, read in LIMIT_READERS.items()
} | {
    "restricted_symbols": lambda text: (
        frozenset() if text == OPEN else LIMIT_READERS["restricted_symbols"](text)
    )
}
NAMES = (*SHORT, *_OWN, *_RULES, *_LIMITS)


def policy_with(policy: BacktestPolicy, written: Iterable[tuple[str, str]]) -> BacktestPolicy:
    """Return the policy with fields of that name and value in force.

    Raises:
        ValueError: A name is unknown or there twice, or a value is none that it may have; names it.

    >>> policy_with(BacktestPolicy(), [("cap", "20000"), ("lot", "10")]).lot
    10
    """
    fields = _by_full_name(written)
    rules, lots = _taken(fields, _RULES), _lots(fields)
    if lots:
        rules["lot_sizes"] = {**policy.rules.lot_sizes, **lots}
    return evolve(
        policy,
        rules=evolve(policy.rules, **rules),
        limits=evolve(policy.limits, **_taken(fields, _LIMITS)),
        **_taken(fields, _OWN),
    )


def changes_with(written: Iterable[tuple[str, str]]) -> Changes:
    """Return fields of that name and value as changes to recorded runs.

    Raises:
        ValueError: As of `policy_with`, or a recorded run has no such field.
    """
    fields = _by_full_name(written)
    for name in ("compounds", "mode", "rebalance_every"):
        if name in fields:
            raise ValueError(f"{name}: cannot be changed of a recorded run")
    if fields.get("max_position_size") == OPEN:
        raise ValueError("max_position_size=none: a recorded run has a cap")
    own = _taken(fields, _OWN)
    return Changes(
        capital=own.get("capital"),
        max_position_size=own.get("max_position_size"),
        rules=_taken(fields, _RULES),
        lot=own.get(LOT),
        lots=_lots(fields),
        limits=_taken(fields, _LIMITS),
    )


def full_name(name: str) -> str:
    """Return a field's name for its short one, a lot's with the symbol in upper case."""
    prefix = f"{LOT}."
    if name.startswith(prefix):
        return prefix + name.removeprefix(prefix).strip().upper()
    return SHORT.get(name, name)


def _by_full_name(written: Iterable[tuple[str, str]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, text in written:
        full = full_name(name)
        if full in fields:
            raise ValueError(f"{name} is given twice")
        if full not in NAMES and not full.startswith(f"{LOT}."):
            raise ValueError(f"{name[:60]!r} is none of {', '.join(sorted(NAMES))}, lot.SYMBOL")
        fields[full] = text
    return fields


def _taken(
    fields: Mapping[str, str], readers: Mapping[str, Callable[[str], Any]]
) -> dict[str, Any]:
    return {name: _one(fields, name, read) for name, read in readers.items() if name in fields}


def _one(fields: Mapping[str, str], name: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(fields[name])
    except (ValueError, ArithmeticError) as problem:
        raise ValueError(f"{name}={fields[name][:60]}: {problem}") from None


def _lots(fields: Mapping[str, str]) -> dict[Symbol, int]:
    prefix = f"{LOT}."
    return {
        _symbol(name, name.removeprefix(prefix)): _one(fields, name, whole)
        for name in fields
        if name.startswith(prefix)
    }


def _symbol(name: str, text: str) -> Symbol:
    try:
        return parse_symbol(text)
    except InvalidRequest as problem:
        raise ValueError(f"{name[:60]}: {problem.problem}") from None
