"""Reading a peer's JSON strictly: each check names the path of the field that fails it.

A peer that sends something else than agreed is not understood, whatever could be made of it: NaN,
a key given twice, a number written as text, `true` for 1. Nothing is coerced.
"""

import json
import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NoReturn

from orchestrator_adapters.strict_json import parse_strictly
from orchestrator_core.errors import InvalidRequest
from orchestrator_core.identifiers import Symbol, is_canonical_symbol
from orchestrator_core.money import MAX_DIGITS, decimal_of
from orchestrator_core.requests import parse_date

# What a 32-bit column holds.
MAX_WHOLE = 2**31 - 1
MAX_DEPTH = 32
MAX_ID_LENGTH = 128
MAX_QUOTED = 300

_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class NotAsAgreed(ValueError):
    """A peer's document breaks the contract; says where and how."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)


def parse_json(body: bytes) -> Any:
    """Return the document.

    Raises:
        NotAsAgreed: As `parse_strictly` refuses it.
    """
    try:
        return parse_strictly(body)
    except ValueError as problem:
        raise NotAsAgreed("the answer", str(problem)) from None


def an_object(value: Any, path: str) -> dict[str, Any]:
    """Return the value if it is an object."""
    if not isinstance(value, dict):
        _refuse(path, "an object", value)
    return value


def a_list(value: Any, path: str) -> list[Any]:
    """Return the value if it is a list."""
    if not isinstance(value, list):
        _refuse(path, "a list", value)
    return value


def member(fields: dict[str, Any], name: str, path: str) -> Any:
    """Return a member that must be there."""
    try:
        return fields[name]
    except KeyError:
        raise NotAsAgreed(_under(path, name), "missing") from None


def text_in(fields: dict[str, Any], name: str, path: str = "") -> str:
    """Return a member that is text."""
    value = member(fields, name, path)
    if not isinstance(value, str):
        _refuse(_under(path, name), "text", value)
    return value


def id_in(fields: dict[str, Any], name: str, path: str = "") -> str:
    """Return a member that is 1 to 128 printable ASCII characters."""
    value = text_in(fields, name, path)
    if not (0 < len(value) <= MAX_ID_LENGTH and value.isascii() and value.isprintable()):
        _refuse(_under(path, name), f"1 to {MAX_ID_LENGTH} printable ASCII characters", value)
    return value


def symbol_in(fields: dict[str, Any], name: str, path: str = "") -> Symbol:
    """Return a member that is a symbol in canonical form."""
    value = text_in(fields, name, path)
    if not is_canonical_symbol(value):
        _refuse(_under(path, name), "a symbol in upper case", value)
    return Symbol(value)


def flag_in(fields: dict[str, Any], name: str, path: str = "") -> bool:
    """Return a member that is true or false."""
    value = member(fields, name, path)
    if not isinstance(value, bool):
        _refuse(_under(path, name), "true or false", value)
    return value


def whole_in(fields: dict[str, Any], name: str, path: str = "") -> int:
    """Return a member that is an integer of at most 32 bits, written as one."""
    value = member(fields, name, path)
    if type(value) is not int or abs(value) > MAX_WHOLE:
        _refuse(_under(path, name), "a 32-bit integer", value)
    return int(value)


def number_in(fields: dict[str, Any], name: str, path: str = "") -> float:
    """Return a member that is a number."""
    value = member(fields, name, path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(_under(path, name), "a number", value)
    try:
        return float(value)
    except OverflowError:
        raise NotAsAgreed(_under(path, name), "a number beyond all bounds") from None


def date_in(fields: dict[str, Any], name: str, path: str = "") -> date:
    """Return a member that is a date as YYYY-MM-DD."""
    value = text_in(fields, name, path)
    try:
        return parse_date(value)
    except InvalidRequest:
        _refuse(_under(path, name), "a date as YYYY-MM-DD", value)


def decimal_in(fields: dict[str, Any], name: str, path: str = "") -> Decimal:
    """Return a member that is a finite number, written as one or as decimal text."""
    value = member(fields, name, path)
    amount = _decimal(value)
    if amount is None:
        _refuse(_under(path, name), "a decimal number", value)
    return amount


def shares_in(fields: dict[str, Any], name: str, path: str = "") -> int:
    """Return a member that is a whole number of shares, however it is written: 7, 7.0 or "7"."""
    value = member(fields, name, path)
    amount = _decimal(value)
    if amount is None or abs(amount) > MAX_WHOLE or amount != amount.to_integral_value():
        _refuse(_under(path, name), "a whole number of shares", value)
    return int(amount)


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, float):
        amount = decimal_of(value)
    elif isinstance(value, str) and not (len(value) <= MAX_DIGITS and _DECIMAL.fullmatch(value)):
        return None
    else:
        amount = Decimal(value)
    return amount if abs(amount.adjusted()) < MAX_DIGITS else None


def check_storable(value: Any, path: str) -> None:
    """Refuse what a database could not hold: NUL, half a surrogate pair, nesting without end.

    Raises:
        NotAsAgreed: The document holds one.
    """
    level: Sequence[Any] = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if "\0" in item or any("\ud800" <= char <= "\udfff" for char in item):
                    raise NotAsAgreed(path, "holds text that cannot be stored")
            elif isinstance(item, dict):
                below += item.keys()
                below += item.values()
            elif isinstance(item, list):
                below += item
        if not below:
            return
        level = below
    raise NotAsAgreed(path, f"is nested deeper than {MAX_DEPTH} levels")


def quote(text: str) -> str:
    r"""Return untrusted text as one short printable line.

    >>> quote("no\ndata")
    'no\\ndata'
    """
    cut = text[:MAX_QUOTED]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)[:MAX_QUOTED]
    return cut


def whole_detail(body: bytes) -> str:
    """Return what an error's body says in its `detail`, untrusted and uncut."""
    try:
        document = parse_json(body)
    except NotAsAgreed:
        return ""
    detail = document.get("detail") if isinstance(document, dict) else None
    if detail is None:
        return ""
    return detail if isinstance(detail, str) else json.dumps(detail, ensure_ascii=False)


def detail_of(body: bytes) -> str:
    """Return what an error's body says in its `detail`, as one short printable line."""
    return quote(whole_detail(body))


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _refuse(path: str, expected: str, value: Any) -> NoReturn:
    raise NotAsAgreed(path, f"expected {expected}, got {_shown(value)}")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_WHOLE:
        return "a larger integer"
    return quote(json.dumps(value)[:60])
