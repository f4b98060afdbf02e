"""One variable of the environment: its parser, its words for the table, and how it is shown.

A parser turns text into a value, or raises ValueError with what was expected.
"""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlsplit

from attrs import field, frozen

from orchestrator_core.errors import InvalidRequest
from orchestrator_core.identifiers import Symbol, parse_name, parse_symbol
from orchestrator_core.money import parse_money

Word = TypeVar("Word", bound=StrEnum)

MASK = "***"

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


def parse_bool(text: str) -> bool:
    """Return the boolean: `true`, `1`, `yes` or `on`, or their opposites, in any case."""
    word = text.lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("expected true or false")


def integer_from(*, least: int, most: int = 10**9) -> Callable[[str], int]:
    """Return a parser of whole numbers within bounds."""

    def parse(text: str) -> int:
        if re.fullmatch(r"-?[0-9]{1,12}", text) and least <= int(text) <= most:
            return int(text)
        raise ValueError(f"expected a whole number from {least} to {most}")

    return parse


def seconds_from(*, least: float = 0.01, most: float = 86_400.0) -> Callable[[str], float]:
    """Return a parser of seconds within bounds."""

    def parse(text: str) -> float:
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) and least <= float(text) <= most:
            return float(text)
        raise ValueError(f"expected seconds from {least:g} to {most:g}")

    return parse


def parse_amount(text: str) -> Decimal:
    """Return an amount of account currency, above zero."""
    return parse_money(text)


def parse_fraction(text: str) -> Decimal:
    """Return a fraction from 0 to below 1."""
    if re.fullmatch(r"0(\.[0-9]{1,9})?", text):
        return Decimal(text)
    raise ValueError("expected a fraction from 0 to below 1, such as 0.05")


def parse_band(text: str) -> Decimal:
    """Return a fraction above 0, at most 1."""
    # A band of 5 is a per cent that somebody meant: five times the price is no band at all.
    if re.fullmatch(r"(0(\.[0-9]{1,9})?|1)", text) and Decimal(text) > 0:
        return Decimal(text)
    raise ValueError("expected a fraction above 0, at most 1, such as 0.1")


def parse_lots(text: str) -> Mapping[Symbol, int]:
    """Return the shares a lot by symbol, of a text such as `AAPL=10,BRK.B=1`; empty: none."""
    lots: dict[Symbol, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, shares = part.partition("=")
        if not re.fullmatch(r"[1-9][0-9]{0,8}", shares.strip()):
            raise ValueError("expected whole lots as SYMBOL=SHARES, commas between")
        try:
            symbol = parse_symbol(name)
        except InvalidRequest as error:
            raise ValueError(f"expected SYMBOL=SHARES: {error.problem}") from None
        if symbol in lots:
            raise ValueError(f"expected one lot a symbol, {symbol} has two")
        lots[symbol] = int(shares)
    return lots


def parse_symbol_list(text: str) -> frozenset[Symbol]:
    """Return the symbols of a text such as `AAPL,BRK.B`; empty: none."""
    parts = [part for part in text.split(",") if part.strip()]
    if text and not parts:
        raise ValueError("expected symbols, commas between")
    try:
        return frozenset(parse_symbol(part) for part in parts)
    except InvalidRequest as error:
        raise ValueError(f"expected symbols, commas between: {error.problem}") from None


def parse_plain_name(text: str) -> str:
    """Return printable ASCII of at most 128 characters."""
    try:
        return parse_name(text, field_name="")
    except InvalidRequest as error:
        raise ValueError(error.problem) from None


def parse_host(text: str) -> str:
    """Return a host's name or address."""
    # It is shown where the host does not answer: an address with a password is no host.
    if re.fullmatch(r"[A-Za-z0-9._:%-]{1,255}", text):
        return text
    raise ValueError("expected a host's name or address, without scheme, user or port")


def one_of(words: type[Word], fold: Callable[[str], str]) -> Callable[[str], Word]:
    """Return a parser of an enum's words, after `fold` has changed their case."""

    def parse(text: str) -> Word:
        try:
            return words(fold(text))
        except ValueError:
            raise ValueError(f"expected one of {', '.join(words)}") from None

    return parse


def parse_peer_url(text: str) -> str:
    """Return the address of a peer, without a slash at its end."""
    # The address is shown in /health: it must hold no credentials.
    problem = "expected http://host[:port] or https://host[:port], without user, query or fragment"
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError(problem)
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(problem) from None
    is_plain = parts.username is None and not parts.query and not parts.fragment
    if parts.scheme not in {"http", "https"} or not parts.hostname or not is_plain:
        raise ValueError(problem)
    return text.rstrip("/")


def parse_database_url(text: str) -> str:
    """Return the address of a Postgres database."""
    problem = "expected postgresql://user:password@host:port/database"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(problem) from None
    if parts.scheme not in {"postgresql", "postgres"} or not parts.path.strip("/"):
        raise ValueError(problem)
    return text


def mask_url(url: str) -> str:
    """Return a database address without its passwords, whatever characters they hold.

    >>> mask_url("postgresql://trader:p@ss/word@db:5432/trader?sslpassword=x")
    'postgresql://trader:***@db:5432/trader?sslpassword=***'
    """
    without = re.sub(r"^([a-z]+://[^:/@]*):.*@", rf"\1:{MASK}@", url)
    return re.sub(r"(?i)([a-z]*password)=[^&]*", rf"\1={MASK}", without)


def may_hold_credentials(text: str) -> bool:
    """Return whether the text of a setting, right or wrong, looks like an address with a secret."""
    return re.search(r"[@?]|://", text) is not None


def show_plain(value: object) -> str:
    """Return a setting as one would write it."""
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return ",".join(f"{name}={each}" for name, each in value.items()) or "unset"
    if isinstance(value, frozenset):
        return ",".join(sorted(value)) or "unset"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


@frozen
class Variable:
    """One variable of the environment.

    Attributes:
        name: As it stands in the environment.
        parse: Text to value; raises ValueError with what was expected.
        meaning: For the table.
        show: Value to text that holds no secret.
        is_secret: The text itself must not stand in an error.
    """

    name: str
    parse: Callable[[str], Any]
    meaning: str
    show: Callable[[Any], str]
    is_secret: bool


def variable(
    name: str,
    parse: Callable[[str], Any],
    meaning: str,
    *,
    default: str | None = None,
    show: Callable[[Any], str] | None = None,
) -> Any:
    """Return the attrs field of one variable; `show` marks a secret."""
    defined = Variable(name, parse, meaning, show or show_plain, is_secret=show is not None)
    shown_by_repr: Callable[[Any], str] | bool = True if show is None else defined.show
    return field(
        default=None if default is None else parse(default),
        repr=shown_by_repr,
        metadata={Variable: defined},
    )


def masked(value: str | None) -> str:
    """Return a secret as it may be shown."""
    return "unset" if value is None else MASK
