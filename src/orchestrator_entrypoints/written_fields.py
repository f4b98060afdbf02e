"""Fields of policies and limits as they are written on a command line, or in a sweep's grid."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

from orchestrator_core.limits import SessionRule
from orchestrator_core.money import ZERO, parse_money
from orchestrator_core.tightening import AMOUNTS, COUNTS, SWITCHES
from orchestrator_entrypoints.variables import one_of, parse_symbol_list

MOST_SECONDS = 10**9


def whole(text: str) -> int:
    """Return a whole number above zero."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ValueError(f"expected a whole number above zero, got {text[:60]!r}")
    return int(text)


def finite(text: str) -> float:
    """Return a finite number."""
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"expected a finite number, got {text[:60]!r}")
    return value


def from_zero(text: str) -> Decimal:
    """Return an amount, which may be 0."""
    try:
        return ZERO if Decimal(text) == 0 else parse_money(text)
    except (ArithmeticError, ValueError):
        raise ValueError(f"expected an amount from 0, got {text[:60]!r}") from None


def truth(text: str) -> bool:
    """Return `true` or `false`."""
    if text not in {"true", "false"}:
        raise ValueError(f"expected true or false, got {text[:60]!r}")
    return text == "true"


def seconds(text: str) -> float:
    """Return seconds from 0 to some thirty years."""
    value = finite(text)
    if not 0 <= value <= MOST_SECONDS:
        raise ValueError(f"expected seconds from 0 to {MOST_SECONDS:,}, got {text[:60]!r}")
    return value


LIMIT_READERS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(COUNTS, whole),
    **dict.fromkeys(AMOUNTS, parse_money),
    **dict.fromkeys(SWITCHES, truth),
    "restricted_symbols": parse_symbol_list,
    "allowed_symbols": parse_symbol_list,
    "market_session": one_of(SessionRule, str.lower),
    "max_price_age_seconds": seconds,
}
