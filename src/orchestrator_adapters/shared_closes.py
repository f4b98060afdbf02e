"""The closing prices that stand under keys shared with other services.

A key holds one close, the latest that a feed wrote. Reading is as strict as that of other shared
keys: a close that cannot be read, or is too old to judge a price by, is as good as none.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from decimal import Decimal

from attrs import field, frozen

from orchestrator_adapters.shared_keys import Text, encode_object, parse_object, price_of, shown
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Reference
from orchestrator_core.money import parse_money

PREVIOUS_CLOSE = "previous_close"
# Outlasts every closure of the exchange that is known ahead.
MAX_AGE_DAYS = 10


@frozen
class Close:
    """The price that a symbol's day ended with.

    Attributes:
        price: Account currency per share, greater than zero.
    """

    symbol: Symbol
    price: Decimal = field(converter=parse_money)
    day: date


def close_key(symbol: Symbol) -> str:
    """Return the key that holds a symbol's close."""
    return f"close:{symbol}"


def encode_close(close: Close) -> str:
    """Return the text that stands under a symbol's close key."""
    return encode_object(
        {"symbol": close.symbol, "close": f"{close.price:f}", "date": close.day.isoformat()}
    )


def decode_close(symbol: Symbol, text: Text) -> Close:
    """Return the close that `text` holds.

    Raises:
        ValueError: It holds none of the symbol.
    """
    document = parse_object(text, exact_numbers=True)
    if document.get("symbol") != symbol:
        raise ValueError(f"close of another symbol: {shown(document.get('symbol'))}")
    return Close(symbol, price_of(document.get("close")), _day(document.get("date")))


def _day(text: object) -> date:
    if not isinstance(text, str):
        raise ValueError(f"date: expected text, got {shown(text)}")
    day = date.fromisoformat(text)
    # Weeks, and days without dashes, are ISO 8601 too: the contract has one form.
    if day.isoformat() != text:
        raise ValueError(f"date: expected YYYY-MM-DD, got {shown(text)}")
    return day


def references_in(
    texts: Iterable[tuple[Symbol, Text | None]], *, before: date
) -> dict[Symbol, Reference]:
    """Return the closes that can be used, as what prices are held against; others are left out.

    Args:
        texts: Symbols, each with what stands under its key; None where nothing does.
        before: A close is of an earlier day than this one, by ten days at most.
    """
    found = ((symbol, _reference(symbol, text, before)) for symbol, text in texts)
    return {symbol: reference for symbol, reference in found if reference is not None}


def _reference(symbol: Symbol, text: Text | None, before: date) -> Reference | None:
    if text is None:
        return None
    try:
        close = decode_close(symbol, text)
    except ValueError:
        return None
    if not 0 < (before - close.day).days <= MAX_AGE_DAYS:
        return None
    end = datetime.combine(close.day, time.max, UTC)
    return Reference(symbol, close.price, end, PREVIOUS_CLOSE)
