"""Policy fields as they are written: `cap=20000`, `lot=10`, `max_order_qty=500`, `every=5`.

The same words serve `--policy` of a backtest and the axes of a sweep.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from attrs import evolve, frozen

from orchestrator_core.errors import InvalidRequest
from orchestrator_core.identifiers import Symbol, parse_symbol
from orchestrator_core.money import parse_money
from orchestrator_core.planning import PlanningPolicy
from orchestrator_core.sizing import SizingMode
from orchestrator_entrypoints.commands.limit_words import LIMIT_READERS, from_zero, truth, whole
from orchestrator_entrypoints.variables import one_of

# Short names, and what they are of a policy.
SHORT = {"cap": "max_position_size", "buffer": "cash_buffer"}
EVERY, LOT = "every", "lot"
# Of limits that are open where none is given.
OPEN = "none"

_SIZES: Mapping[str, Callable[[str], Decimal]] = {
    "capital": parse_money,
    "max_position_size": parse_money,
}
_RULES: Mapping[str, Callable[[str], Any]] = {
    "min_order_notional": from_zero,
    "cash_buffer": from_zero,
    "spends_leftover": truth,
    "closes_absent": truth,
    "mode": one_of(SizingMode, str.lower),
}
NAMES = (*SHORT, LOT, EVERY, *_SIZES, *_RULES, *LIMIT_READERS)


@frozen
class PolicyFields:
    """Fields that were read, by name.

    Attributes:
        lot: Shares that every symbol trades in multiples of; None leaves the policy's.
        lots: The same of single symbols.
        every: Signals of one date in so many are traded on; 1 trades on all.
    """

    sizes: Mapping[str, Decimal]
    rules: Mapping[str, Any]
    limits: Mapping[str, Any]
    lot: int | None
    lots: Mapping[Symbol, int]
    every: int

    def applied(self, policy: PlanningPolicy, symbols: Iterable[Symbol]) -> PlanningPolicy:
        """Return the policy with these fields in force.

        Raises:
            ValueError: A value is none that the policy may have.
        """
        rules = {**self.rules}
        if self.lot is not None or self.lots:
            stored = policy.sizing.rules.lot_sizes
            common = stored if self.lot is None else dict.fromkeys(symbols, self.lot)
            rules["lot_sizes"] = {**common, **self.lots}
        sizing = evolve(policy.sizing, rules=evolve(policy.sizing.rules, **rules), **self.sizes)
        return PlanningPolicy(sizing, evolve(policy.limits, **self.limits))


def read_fields(written: Iterable[tuple[str, str]]) -> PolicyFields:
    """Return the fields of names and values.

    Raises:
        ValueError: A name is unknown or there twice, or a value cannot be read; names it.
    """
    fields: dict[str, str] = {}
    for name, text in written:
        full = SHORT.get(name, name)
        if full in fields:
            raise ValueError(f"{name} is given twice")
        fields[full] = text
    return PolicyFields(
        sizes=_taken(fields, _SIZES),
        rules=_taken(fields, _RULES),
        limits=_taken(fields, {name: _or_open(name) for name in LIMIT_READERS}),
        lot=_one(fields, LOT, whole) if LOT in fields else None,
        lots=_lots(fields),
        every=_one(fields, EVERY, whole) if EVERY in fields else 1,
    )


def _taken(fields: Mapping[str, str], readers: Mapping[str, Callable[[str], Any]]) -> Any:
    _require_known(fields)
    return {name: _one(fields, name, read) for name, read in readers.items() if name in fields}


def _require_known(fields: Mapping[str, str]) -> None:
    for name in fields:
        if name not in NAMES and not name.startswith(f"{LOT}."):
            raise ValueError(f"{name[:60]!r} is none of {', '.join(sorted(NAMES))}, lot.SYMBOL")


def _one(fields: Mapping[str, str], name: str, read: Callable[[str], Any]) -> Any:
    try:
        return read(fields[name])
    except (ValueError, ArithmeticError) as problem:
        raise ValueError(f"{name}={fields[name][:60]}: {problem}") from None


def _or_open(name: str) -> Callable[[str], Any]:
    read = LIMIT_READERS[name]
    if not name.startswith("max_") or name in {"max_signal_weight", "max_side_weight"}:
        return read
    return lambda text: None if text == OPEN else read(text)


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
