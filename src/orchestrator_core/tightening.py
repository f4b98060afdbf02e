"""Limits that a request asks for: tighter than the configured ones, or refused.

Each name is one of a field of `Limits`. An amount may be lowered, or set where it is open; a list
of restricted symbols is added to, one of allowed symbols is taken from; a switch may be turned on.
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from attrs import evolve

from orchestrator_core.errors import InvalidRequest
from orchestrator_core.identifiers import Symbol, parse_symbol
from orchestrator_core.limits import Limits, SessionRule
from orchestrator_core.money import parse_money

AMOUNTS = (
    *("max_order_notional", "max_basket_long", "max_basket_short", "max_basket_gross"),
    *("max_basket_net", "max_day_long", "max_day_short", "max_day_gross", "max_day_net"),
    *("price_band", "max_signal_weight", "max_side_weight"),
)
COUNTS = ("max_order_qty", "max_orders_a_run")
_OF_THE_REQUEST = ("capital", "max_position_size")
SWITCHES = ("requires_reference", "reduce_only")
MAX_SYMBOLS = 10_000


def tighten(configured: Limits, wished: Mapping[str, Any]) -> Limits:
    """Return the limits with each wish in force.

    Raises:
        InvalidRequest: A name is none of a limit, a value has no meaning, or a wish would loosen.
    """
    values: dict[str, Any] = {}
    for name, wish in wished.items():
        parse = _PARSERS.get(name)
        if parse is None:
            known = ", ".join(sorted(_PARSERS))
            own = "a field of the request by itself, and " if name in _OF_THE_REQUEST else ""
            raise InvalidRequest(
                f"limits.{name[:60]}", f"is {own}no limit; expected one of {known}"
            )
        try:
            values[name] = parse(getattr(configured, name), wish)
        except InvalidRequest as problem:
            raise InvalidRequest(f"limits.{name}", problem.problem) from None
        except ValueError as problem:
            raise InvalidRequest(f"limits.{name}", str(problem)) from None
    return evolve(configured, **values)


def _amount(bound: Decimal | None, wish: Any) -> Decimal:
    if not isinstance(wish, str | int | float | Decimal):
        raise ValueError(f"expected a number or a decimal string, got {wish!r:.60}")
    amount = parse_money(wish)
    if bound is not None and amount > bound:
        raise ValueError(f"expected at most {bound:f}, the limit in force, got {amount:f}")
    return amount


def _count(bound: int | None, wish: Any) -> int:
    if type(wish) is not int or wish < 1:
        raise ValueError(f"expected a whole number above zero, got {wish!r:.60}")
    if bound is not None and wish > bound:
        raise ValueError(f"expected at most {bound}, the limit in force, got {wish}")
    return wish


def _seconds(bound: float, wish: Any) -> float:
    return float(_amount(Decimal(repr(bound)), wish))


def _switch(configured: object, wish: Any) -> bool:
    if type(wish) is not bool:
        raise ValueError(f"expected true or false, got {wish!r:.60}")
    if configured is True and not wish:
        raise ValueError("is in force, and cannot be turned off by a request")
    return wish


def _symbols(wish: Any) -> frozenset[Symbol]:
    if isinstance(wish, str) or not isinstance(wish, Iterable):
        raise ValueError(f"expected a list of symbols, got {wish!r:.60}")
    texts = list(wish)
    if len(texts) > MAX_SYMBOLS or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"expected a list of at most {MAX_SYMBOLS} symbols")
    return frozenset(parse_symbol(text) for text in texts)


def _restricted(configured: frozenset[Symbol], wish: Any) -> frozenset[Symbol]:
    return configured | _symbols(wish)


def _allowed(configured: frozenset[Symbol] | None, wish: Any) -> frozenset[Symbol]:
    wished = _symbols(wish)
    more = () if configured is None else sorted(wished - configured)
    if more:
        raise ValueError(f"expected symbols that are allowed, got {', '.join(more)[:200]}")
    return wished


def _session(configured: SessionRule, wish: Any) -> SessionRule:
    try:
        rule = SessionRule(wish)
    except ValueError:
        known = ", ".join(SessionRule)
        raise ValueError(f"expected one of {known}, got {wish!r:.60}") from None
    strictness = list(SessionRule)
    if strictness.index(rule) < strictness.index(configured):
        raise ValueError(f"expected {configured} or stricter, got {rule}")
    return rule


_PARSERS: Mapping[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(AMOUNTS, _amount),
    **dict.fromkeys(COUNTS, _count),
    **dict.fromkeys(SWITCHES, _switch),
    "max_price_age_seconds": _seconds,
    "restricted_symbols": _restricted,
    "allowed_symbols": _allowed,
    "market_session": _session,
}

TIGHTENABLE = tuple(sorted(_PARSERS))
