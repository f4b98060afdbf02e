"""What a caller may ask for, and the request that a run is held to.

A caller may choose its capital, within `max_capital`, and may tighten a limit. Loosening one is
refused, never clipped in silence.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from attrs import field, frozen

from orchestrator_core.errors import InvalidRequest
from orchestrator_core.identifiers import Symbol, parse_name, parse_symbol
from orchestrator_core.limits import Limits
from orchestrator_core.money import MAX_MONEY, parse_money
from orchestrator_core.tightening import tighten


@frozen
class RequestPolicy:
    """Defaults for what a request leaves out, and bounds for what it gives.

    Attributes:
        capital: Account currency.
        max_position_size: Cap on one position's notional, account currency.
        max_position_size_ceiling: The highest cap that a request may ask for.
        max_capital: The highest capital that a request may ask for; None leaves it open.
        limits: In force unless a request tightens them.
        needs_rebalance_key: Whether each request names its rebalance: every one trades what is
            lacking by then.
    """

    capital: Decimal
    max_position_size: Decimal
    max_position_size_ceiling: Decimal
    max_capital: Decimal | None = None
    limits: Limits = field(factory=Limits)
    needs_rebalance_key: bool = False


@frozen
class RunRequest:
    """A request with every default applied and every bound checked.

    Attributes:
        symbols: Canonical, distinct, in the caller's order.
        as_of_date: Date asked for; None leaves it to the signals.
        capital: Account currency.
        max_position_size: Cap on one position's notional, account currency.
        dry_run: Plan, store and explain, but send nothing.
        rebalance_key: Names a further rebalance of the same date; empty for the first.
        limits: In force for this request, where it tightened any; None leaves the configured ones.
    """

    symbols: tuple[Symbol, ...]
    as_of_date: date | None
    capital: Decimal
    max_position_size: Decimal
    dry_run: bool = False
    rebalance_key: str = ""
    limits: Limits | None = None


def parse_symbols(texts: Sequence[str]) -> tuple[Symbol, ...]:
    """Return canonical symbols in the order given.

    Raises:
        InvalidRequest: None given, one malformed, or one given twice.
    """
    if not texts:
        raise InvalidRequest("symbols", "expected at least one symbol")
    symbols = tuple(parse_symbol(text) for text in texts)
    seen: set[Symbol] = set()
    for symbol in symbols:
        if symbol in seen:
            raise InvalidRequest("symbols", f"{symbol} is given twice")
        seen.add(symbol)
    return symbols


def parse_date(text: str, *, field_name: str = "as_of_date") -> date:
    """Return the date written as `YYYY-MM-DD`.

    Raises:
        InvalidRequest: It is written otherwise, or is no day of the calendar.
    """
    try:
        parsed = date.fromisoformat(text)
    except ValueError:
        parsed = None
    if parsed is None or parsed.isoformat() != text:
        raise InvalidRequest(field_name, f"expected a date as YYYY-MM-DD, got {text[:60]!r}")
    return parsed


def resolve_request(
    policy: RequestPolicy,
    *,
    symbols: Sequence[str],
    as_of_date: str | None = None,
    capital: Decimal | str | float | None = None,
    max_position_size: Decimal | str | float | None = None,
    dry_run: bool | None = None,
    rebalance_key: str | None = None,
    limits: Mapping[str, Any] | None = None,
) -> RunRequest:
    """Return the request that a run will be held to.

    `dry_run=False` asks for nothing: it cannot override a service that is in dry run.

    Raises:
        InvalidRequest: An input has no meaning, or would loosen a limit.
    """
    if policy.needs_rebalance_key and not rebalance_key:
        raise InvalidRequest(
            "rebalance_key",
            "expected a name for this rebalance: orders are differences from what is held, and "
            "the same name trades once",
        )
    return RunRequest(
        symbols=parse_symbols(symbols),
        as_of_date=None if as_of_date is None else parse_date(as_of_date),
        capital=_bounded("capital", capital, default=policy.capital, ceiling=policy.max_capital),
        max_position_size=_bounded(
            "max_position_size",
            max_position_size,
            default=policy.max_position_size,
            ceiling=policy.max_position_size_ceiling,
        ),
        dry_run=dry_run is True,
        rebalance_key=(
            "" if not rebalance_key else parse_name(rebalance_key, field_name="rebalance_key")
        ),
        limits=tighten(policy.limits, limits) if limits else None,
    )


def _bounded(
    name: str,
    value: Decimal | str | float | None,
    *,
    default: Decimal,
    ceiling: Decimal | None,
) -> Decimal:
    if value is None:
        return default
    try:
        return parse_money(value, maximum=MAX_MONEY if ceiling is None else ceiling)
    except ValueError as problem:
        raise InvalidRequest(name, str(problem)) from None
