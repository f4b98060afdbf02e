"""Reading the gateway's record of an order, and holding it against the order sent: pure."""

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum
from typing import Any

from orchestrator_adapters.http.json_fields import (
    NotAsAgreed,
    decimal_in,
    id_in,
    quote,
    symbol_in,
    text_in,
)
from orchestrator_core.model import OrderIntent, OrderReport, OrderType, Side
from orchestrator_core.money import ZERO

Read = Callable[[dict[str, Any], str], object]


def report_of(fields: dict[str, Any]) -> OrderReport:
    """Return what the gateway says of an order.

    Raises:
        NotAsAgreed: Names the field.
    """
    return OrderReport(
        status=quote(text_in(fields, "status")),
        gateway_order_id=id_in(fields, "client_order_id"),
        broker_order_id=(
            None
            if fields.get("broker_order_id") in (None, "")
            else id_in(fields, "broker_order_id")
        ),
        filled_qty=_amount(fields, "filled_qty") or ZERO,
        filled_avg_price=_amount(fields, "filled_avg_price"),
        message=_message(fields),
    )


def contradiction(
    intent: OrderIntent, fields: dict[str, Any], *, may_lack: frozenset[str] = frozenset()
) -> str | None:
    """Say in what a record differs from the order sent; None where it agrees.

    A word or a number outside of the contract agrees with nothing, and contradicts nothing.

    Args:
        intent: The order.
        fields: The record.
        may_lack: Fields that are compared only where the record has them.

    Raises:
        NotAsAgreed: A field is missing or not of the agreed form.
    """
    echoes: tuple[tuple[str, Read, object], ...] = (
        ("symbol", symbol_in, intent.symbol),
        ("side", _word_of(Side), intent.side),
        ("qty", decimal_in, intent.qty),
        ("order_type", _word_of(OrderType), intent.order_type),
    )
    for name, read, ours in echoes:
        if name in may_lack and fields.get(name) is None:
            continue
        theirs = read(fields, name)
        if theirs != ours:
            return f"{name} is {theirs}, sent was {ours}"
    return None


def _word_of(words: type[StrEnum]) -> Read:
    def read(fields: dict[str, Any], name: str) -> str:
        word = text_in(fields, name)
        try:
            return words(word)
        except ValueError:
            expected = f"expected one of {', '.join(words)}, got {quote(word)}"
            raise NotAsAgreed(name, expected) from None

    return read


def _amount(fields: dict[str, Any], name: str) -> Decimal | None:
    if fields.get(name) is None:
        return None
    amount = decimal_in(fields, name)
    if amount < 0:
        raise NotAsAgreed(name, "expected no negative amount")
    return amount


def _message(fields: dict[str, Any]) -> str | None:
    for name in ("error_message", "message"):
        text = fields.get(name)
        if isinstance(text, str) and text:
            return quote(text)
    return None
