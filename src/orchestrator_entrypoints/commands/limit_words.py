"""Limits as they are written on the command line: NAME=VALUE."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Any

from orchestrator_core.limits import SessionRule
from orchestrator_core.money import ZERO, parse_money
from orchestrator_core.tightening import AMOUNTS, COUNTS, SWITCHES
from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.variables import one_of, parse_symbol_list


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
    return ZERO if text == "0" else parse_money(text)


def truth(text: str) -> bool:
    """Return `true` or `false`."""
    if text not in {"true", "false"}:
        raise ValueError(f"expected true or false, got {text[:60]!r}")
    return text == "true"


def seconds(text: str) -> float:
    """Return seconds, not below zero."""
    value = finite(text)
    if value < 0:
        raise ValueError(f"expected seconds, not below zero, got {text[:60]!r}")
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


# What tightens a run, and is no limit by its name.
_OPTIONS = {"capital": "--capital", "max_position_size": "--max-position-size"}


def pairs(texts: Iterable[str], option: str) -> Iterable[tuple[str, str]]:
    """Return name and value of each NAME=VALUE.

    Raises:
        CommandFailure: One is of another form, or a name is given twice.
    """
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


def parsed(option: str, name: str, text: str, read: Callable[[str], Any]) -> Any:
    """Return a value as it is read.

    Raises:
        CommandFailure: It cannot be.
    """
    try:
        return read(text)
    except ValueError as problem:
        raise CommandFailure(f"{option} {name[:60]}: {problem}", ExitCode.USAGE) from None


def limits_given(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Return the limits of a command line, by name.

    Raises:
        CommandFailure: A name is none of a limit, or a value cannot be read.
    """
    limits = {}
    for name, text in pairs(texts, option):
        if name not in LIMIT_READERS:
            known = ", ".join(sorted(LIMIT_READERS))
            own = f"an option by itself, {_OPTIONS[name]}, and " if name in _OPTIONS else ""
            problem = f"{option}: {name[:60]!r} is {own}none of {known}"
            raise CommandFailure(problem, ExitCode.USAGE)
        limits[name] = parsed(option, name, text, LIMIT_READERS[name])
    return limits
