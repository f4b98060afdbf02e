"""The JSON that stands under the keys shared with other services.

The same text is kept in Redis, in SQLite and in memory. Reading is strict: what is not of the
agreed form is refused, never guessed at, because a wrong reading here lets orders leave. Writing
keeps every field that is not ours, and is plain ASCII, so that any JSON reader takes it.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from orchestrator_adapters.strict_json import parse_strictly
from orchestrator_core.errors import MalformedReply
from orchestrator_core.identifiers import Symbol
from orchestrator_core.kill_switch import (
    HistoryEntry,
    KillSwitchState,
    SwitchEvent,
    SwitchState,
)
from orchestrator_core.model import NoQuote, Quote
from orchestrator_core.money import parse_money
from orchestrator_core.ports import Breaker, BreakerState
from orchestrator_core.record import encode_time

KILL_SWITCH_STATE = "kill_switch:state"
KILL_SWITCH_HISTORY = "kill_switch:history"
CIRCUIT_BREAKER_STATE = "circuit_breaker:state"
HISTORY_KEPT = 1000

# Other services write through Lua's JSON, which keeps whole numbers of 14 digits.
MAX_WHOLE_NUMBER = 10**14 - 1
MAX_DETAILS_CHARACTERS = 65_536
SHOWN_CHARACTERS = 60

Text = str | bytes
Json = dict[str, Any]
Word = TypeVar("Word", bound=StrEnum)

_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?")


def price_key(symbol: Symbol) -> str:
    """Return the key that holds a symbol's price."""
    return f"price:{symbol}"


def utc_text(time: datetime) -> str:
    """Return an aware time as ISO 8601 in UTC, ending in Z."""
    return encode_time(time.astimezone(UTC))


def parse_utc(text: object) -> datetime:
    """Return an ISO 8601 time that states its offset, in UTC.

    Raises:
        ValueError: It is no such time.
    """
    if not isinstance(text, str):
        raise ValueError("missing" if text is None else f"expected text, got {shown(text)}")
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            raise ValueError(f"without an offset: {shown(text)}")
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"out of range: {shown(text)}") from None


def parse_object(text: Text, *, exact_numbers: bool = False) -> Json:
    """Return the JSON object that `text` holds.

    Args:
        text: UTF-8.
        exact_numbers: Read fractions as `Decimal` instead of float.

    Raises:
        ValueError: As `parse_strictly`, or it is no object.
    """
    document = parse_strictly(text, exact_numbers=exact_numbers)
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")
    return document


def encode_object(document: Mapping[str, Any]) -> str:
    """Return the document as compact ASCII JSON, its fields in their order."""
    return json.dumps(document, allow_nan=False, ensure_ascii=True, separators=(",", ":"))


def decode_state(text: Text) -> KillSwitchState:
    """Return the kill-switch state that `text` holds.

    Raises:
        MalformedReply: It holds none.
    """
    try:
        return state_of(parse_object(text))
    except ValueError as problem:
        raise MalformedReply("kill_switch", "read", f"{KILL_SWITCH_STATE}: {problem}") from None


def state_of(document: Mapping[str, Any]) -> KillSwitchState:
    """Return the state that a document describes; fields that are not ours are passed over.

    Raises:
        ValueError: An unknown word, or a field of the wrong type.
    """
    epoch = document.get("latch_epoch")
    return KillSwitchState(
        state=_word(document, "state", SwitchState),
        engaged_at=_text(document, "engaged_at"),
        engaged_by=_text(document, "engaged_by"),
        engagement_reason=_text(document, "engagement_reason"),
        engagement_details=_object(document, "engagement_details"),
        disengaged_at=_text(document, "disengaged_at"),
        disengaged_by=_text(document, "disengaged_by"),
        disengagement_notes=_text(document, "disengagement_notes"),
        engagement_count_today=_count(document, "engagement_count_today"),
        latch_epoch=None if epoch is None else _count(document, "latch_epoch"),
    )


def encode_entry(entry: HistoryEntry) -> str:
    """Return one line of the history."""
    document: Json = {
        "event": str(entry.event),
        "timestamp": entry.timestamp,
        "operator": entry.operator,
    }
    if entry.event is SwitchEvent.ENGAGED:
        document["reason"] = entry.reason
    else:
        document["notes"] = entry.notes
    if entry.details is not None:
        document["details"] = entry.details
    return encode_object(document)


def decode_entry(text: Text) -> HistoryEntry:
    """Return one line of the history.

    Raises:
        MalformedReply: It is none.
    """
    try:
        document = parse_object(text)
        return HistoryEntry(
            event=_word(document, "event", SwitchEvent),
            timestamp=_required(document, "timestamp"),
            operator=_required(document, "operator"),
            reason=_text(document, "reason"),
            notes=_text(document, "notes"),
            details=_object(document, "details"),
        )
    except ValueError as problem:
        cause = f"{KILL_SWITCH_HISTORY}: {problem}"
        raise MalformedReply("kill_switch", "history", cause) from None


def storable_text(text: str) -> str:
    """Return text that every JSON reader takes: half a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def storable_details(details: Mapping[str, Any] | None) -> Json | None:
    """Return details that every JSON reader takes; what cannot be kept is said to be left out.

    Never fails: stopping must not depend on what an operator attached to it.
    """
    if details is None:
        return None
    try:
        text = json.dumps(dict(details), allow_nan=False, ensure_ascii=False)
        if len(text) > MAX_DETAILS_CHARACTERS:
            return {"omitted": f"the details are longer than {MAX_DETAILS_CHARACTERS} characters"}
        return parse_object(storable_text(text))
    except (TypeError, ValueError, RecursionError):
        return {"omitted": "the details are not JSON"}


def decode_price(symbol: Symbol, text: Text | None, *, source: str) -> Quote | NoQuote:
    """Return the quote that stands under a symbol's price key, or why there is none.

    Args:
        symbol: Whose key it is.
        text: What stands there; None where nothing does.
        source: Store that it was found in.
    """
    if text is None:
        return NoQuote(symbol, "no price")
    try:
        document = parse_object(text, exact_numbers=True)
    except ValueError as problem:
        return NoQuote(symbol, f"price {problem}")
    if document.get("symbol") != symbol:
        return NoQuote(symbol, f"price of another symbol: {shown(document.get('symbol'))}")
    try:
        price = price_of(document.get("mid"))
    except ValueError as problem:
        return NoQuote(symbol, f"price mid: {problem}")
    try:
        as_of = parse_utc(document.get("timestamp"))
    except ValueError as problem:
        return NoQuote(symbol, f"price timestamp: {problem}")
    return Quote(symbol=symbol, price=price, as_of=as_of, source=source)


def price_of(mid: object) -> Decimal:
    """Return the price that a document's field holds, exactly; `ValueError` where it is none."""
    if mid is None:
        raise ValueError("missing")
    if isinstance(mid, str):
        # Decimal takes more than the contract does: blanks, underscores, digits of other scripts.
        if not _DECIMAL.fullmatch(mid):
            raise ValueError(f"expected a decimal number, got {shown(mid)}")
        return parse_money(mid)
    if isinstance(mid, Decimal) or type(mid) is int:
        return parse_money(mid)
    raise ValueError(f"expected a decimal number, got {shown(mid)}")


def encode_price(quote: Quote) -> str:
    """Return the text that stands under a symbol's price key."""
    return encode_object(
        {"symbol": quote.symbol, "mid": f"{quote.price:f}", "timestamp": utc_text(quote.as_of)}
    )


class _BreakerWord(StrEnum):
    """The breaker's words on the wire."""

    OPEN = "OPEN"
    TRIPPED = "TRIPPED"
    QUIET_PERIOD = "QUIET_PERIOD"


def decode_breaker(text: Text) -> Breaker:
    """Return the circuit breaker that `text` holds; its quiet period reads as OPEN.

    Raises:
        MalformedReply: It holds none.
    """
    try:
        document = parse_object(text)
        word = _word(document, "state", _BreakerWord)
        reason = _text(document, "trip_reason")
    except ValueError as problem:
        raise MalformedReply("breaker", "read", f"{CIRCUIT_BREAKER_STATE}: {problem}") from None
    tripped = word is _BreakerWord.TRIPPED
    return Breaker(BreakerState.TRIPPED if tripped else BreakerState.OPEN, reason=reason)


def shown(value: object) -> str:
    """Return a value that was refused as it is quoted: ASCII, on one line, cut."""
    text = ascii(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def _word(document: Mapping[str, Any], name: str, words: type[Word]) -> Word:
    value = document.get(name)
    for word in words:
        if isinstance(value, str) and value == word.value:
            return word
    raise ValueError(f"{name}: expected one of {', '.join(words)}, got {shown(value)}")


def _text(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    if value is None or isinstance(value, str):
        return value
    raise ValueError(f"{name}: expected text or null, got {shown(value)}")


def _required(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if isinstance(value, str):
        return value
    raise ValueError(f"{name}: expected text, got {shown(value)}")


def _object(document: Mapping[str, Any], name: str) -> Json | None:
    value = document.get(name)
    if value is None or isinstance(value, dict):
        return value
    raise ValueError(f"{name}: expected an object or null, got {shown(value)}")


def _count(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name, 0)
    if type(value) is int and 0 <= value <= MAX_WHOLE_NUMBER:
        return value
    raise ValueError(
        f"{name}: expected a whole number of 0 to {MAX_WHOLE_NUMBER}, got {shown(value)}"
    )
