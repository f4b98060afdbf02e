"""Names of things: symbols, strategies, runs, and the order identity that prevents doubles.

Theory of operation. `client_order_id` is a function of the *decision* alone: where, in which mode,
for which strategy, date, rebalance and symbol. Quantity, price, side, clock, attempt, replica and
run are not in it, so however often and from wherever a decision is repeated, the gateway sees one
id, and a unique index holds one live row.
"""

import hashlib
import json
import re
from base64 import b32encode
from datetime import date
from enum import StrEnum
from typing import NewType
from uuid import UUID

from attrs import field, frozen

from orchestrator_core.errors import InvalidRequest

Symbol = NewType("Symbol", str)
StrategyId = NewType("StrategyId", str)
RunId = NewType("RunId", UUID)
ClientOrderId = NewType("ClientOrderId", str)

MAX_SYMBOL_LENGTH = 32
MAX_KEY_LENGTH = 128

_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9./_-]*")
_COMPACT = json.JSONEncoder(separators=(",", ":"))
_NAME = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class TradingMode(StrEnum):
    """What the gateway does with our orders, by this service's safety flags."""

    DRY = "dry"
    PAPER = "paper"
    LIVE = "live"


def parse_symbol(text: str) -> Symbol:
    """Return the canonical symbol: trimmed and upper-cased.

    Raises:
        InvalidRequest: Not 1 to 32 of `A-Z 0-9 . / _ -`, beginning with a letter or digit.

    >>> parse_symbol(" brk.b ")
    'BRK.B'
    """
    trimmed = text.strip()
    # Upper-casing could turn a foreign letter into an ASCII one.
    canonical = trimmed.upper() if trimmed.isascii() else trimmed
    if len(canonical) > MAX_SYMBOL_LENGTH or not _SYMBOL.fullmatch(canonical):
        raise InvalidRequest(
            "symbols",
            f"{text[:60]!r} is no symbol: expected 1 to {MAX_SYMBOL_LENGTH} letters, digits or "
            "any of . / _ - beginning with a letter or digit",
        )
    return Symbol(canonical)


def is_canonical_symbol(text: str) -> bool:
    """Whether a peer's symbol is already in the form that `parse_symbol` gives."""
    return len(text) <= MAX_SYMBOL_LENGTH and _SYMBOL.fullmatch(text) is not None


def parse_name(text: str, *, field_name: str, max_length: int = MAX_KEY_LENGTH) -> str:
    """Return `text` if it is printable ASCII of 1 to `max_length` characters, not space-edged.

    Raises:
        InvalidRequest: It is not.
    """
    if len(text) > max_length or not _NAME.fullmatch(text):
        raise InvalidRequest(
            field_name, f"expected 1 to {max_length} printable ASCII characters, no space at an end"
        )
    return text


@frozen
class Decision:
    """What is decided once: one strategy's target for one date and rebalance, in one mode.

    Attributes:
        environment: Deployment that decides, such as `prod`.
        mode: What the gateway does with the orders.
        strategy_id: Whose signals.
        as_of_date: The signals' own date, not the clock's.
        rebalance_key: Names a further rebalance of the same date; empty for the first.
    """

    environment: str
    mode: TradingMode = field(converter=TradingMode)
    strategy_id: StrategyId
    as_of_date: date
    rebalance_key: str = ""

    def client_order_id(self, symbol: Symbol, *, leg: int = 0) -> ClientOrderId:
        """Return the order id of one symbol under this decision; see `client_order_id`."""
        return client_order_id(
            environment=self.environment,
            mode=self.mode,
            strategy_id=self.strategy_id,
            as_of_date=self.as_of_date,
            rebalance_key=self.rebalance_key,
            symbol=symbol,
            leg=leg,
        )


def client_order_id(
    *,
    environment: str,
    mode: TradingMode,
    strategy_id: StrategyId,
    as_of_date: date,
    rebalance_key: str,
    symbol: Symbol,
    leg: int = 0,
) -> ClientOrderId:
    """Return the 24 characters of `[a-z0-9]` that stand for one decision on one symbol.

    `o1` and the first 22 characters (110 bits) of the lowercase base32 SHA-256 of a JSON array. The
    array is versioned: a change of its form needs a new `coid/N` and a new prefix.

    Args:
        environment: Deployment name.
        mode: Gateway mode.
        strategy_id: Strategy name, as configured.
        as_of_date: Date of the signals.
        rebalance_key: Empty for the first rebalance of the date.
        symbol: Canonical symbol.
        leg: 0, or 1 for the second order of a flip through zero.
    """
    identity = [
        "coid/1",
        environment,
        str(mode),
        strategy_id,
        as_of_date.isoformat(),
        rebalance_key,
        symbol,
        leg,
    ]
    digest = hashlib.sha256(_COMPACT.encode(identity).encode()).digest()
    # 15 bytes are three whole groups of base32, 24 characters: enough, at half the cost of 32.
    return ClientOrderId("o1" + b32encode(digest[:15]).decode().lower()[:22])
