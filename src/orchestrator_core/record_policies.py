"""Sizing rules and limits of a stored record, as plain JSON values, and back."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import Limits, SessionRule
from orchestrator_core.sizing import SizingMode, SizingRules

Json = dict[str, Any]


def encode_rules(rules: SizingRules) -> Json:
    """Return sizing rules as JSON values."""
    return {
        "lot_sizes": dict(rules.lot_sizes),
        "min_order_notional": str(rules.min_order_notional),
        "cash_buffer": str(rules.cash_buffer),
        "spends_leftover": rules.spends_leftover,
        "mode": rules.mode.value,
        "closes_absent": rules.closes_absent,
    }


def decode_rules(encoded: Mapping[str, Any] | None) -> SizingRules:
    """Return what `encode_rules` wrote; None stands for a record of before there were rules."""
    if encoded is None:
        return SizingRules()
    return SizingRules(
        lot_sizes={Symbol(symbol): lot for symbol, lot in encoded["lot_sizes"].items()},
        min_order_notional=Decimal(encoded["min_order_notional"]),
        cash_buffer=Decimal(encoded["cash_buffer"]),
        spends_leftover=encoded["spends_leftover"],
        mode=SizingMode(encoded.get("mode", SizingMode.ABSOLUTE)),
        closes_absent=encoded.get("closes_absent", False),
    )


def encode_limits(limits: Limits) -> Json:
    """Return limits as JSON values."""
    allowed = limits.allowed_symbols
    return {
        "restricted_symbols": sorted(limits.restricted_symbols),
        "allowed_symbols": None if allowed is None else sorted(allowed),
        "max_order_qty": limits.max_order_qty,
        "max_order_notional": _encode_bound(limits.max_order_notional),
        "max_orders_a_run": limits.max_orders_a_run,
        "max_basket_long": _encode_bound(limits.max_basket_long),
        "max_basket_short": _encode_bound(limits.max_basket_short),
        "max_basket_gross": _encode_bound(limits.max_basket_gross),
        "max_basket_net": _encode_bound(limits.max_basket_net),
        "max_day_long": _encode_bound(limits.max_day_long),
        "max_day_short": _encode_bound(limits.max_day_short),
        "max_day_gross": _encode_bound(limits.max_day_gross),
        "max_day_net": _encode_bound(limits.max_day_net),
        "price_band": _encode_bound(limits.price_band),
        "requires_reference": limits.requires_reference,
        "reduce_only": limits.reduce_only,
        "market_session": limits.market_session.value,
        "max_signal_weight": str(limits.max_signal_weight),
        "max_side_weight": str(limits.max_side_weight),
        "max_price_age_seconds": limits.max_price_age_seconds,
        "max_price_lead_seconds": limits.max_price_lead_seconds,
    }


def decode_limits(encoded: Mapping[str, Any]) -> Limits:
    """Return what `encode_limits` wrote."""
    # A record that was made before a control came to be was planned without it.
    allowed = encoded.get("allowed_symbols")
    return Limits(
        restricted_symbols=_symbols(encoded.get("restricted_symbols", ())),
        allowed_symbols=None if allowed is None else _symbols(allowed),
        max_order_qty=encoded["max_order_qty"],
        max_order_notional=_decode_bound(encoded["max_order_notional"]),
        max_orders_a_run=encoded.get("max_orders_a_run"),
        max_basket_long=_decode_bound(encoded.get("max_basket_long")),
        max_basket_short=_decode_bound(encoded.get("max_basket_short")),
        max_basket_gross=_decode_bound(encoded.get("max_basket_gross")),
        max_basket_net=_decode_bound(encoded.get("max_basket_net")),
        max_day_long=_decode_bound(encoded.get("max_day_long")),
        max_day_short=_decode_bound(encoded.get("max_day_short")),
        max_day_gross=_decode_bound(encoded.get("max_day_gross")),
        max_day_net=_decode_bound(encoded.get("max_day_net")),
        price_band=_decode_bound(encoded.get("price_band")),
        requires_reference=encoded.get("requires_reference", False),
        reduce_only=encoded.get("reduce_only", False),
        market_session=SessionRule(encoded.get("market_session", SessionRule.OFF)),
        max_signal_weight=Decimal(encoded["max_signal_weight"]),
        max_side_weight=Decimal(encoded["max_side_weight"]),
        max_price_age_seconds=float(encoded["max_price_age_seconds"]),
        max_price_lead_seconds=float(encoded["max_price_lead_seconds"]),
    )


def _symbols(texts: Iterable[str]) -> frozenset[Symbol]:
    return frozenset(map(Symbol, texts))


def _encode_bound(bound: Decimal | None) -> str | None:
    return None if bound is None else str(bound)


def _decode_bound(encoded: str | None) -> Decimal | None:
    return None if encoded is None else Decimal(encoded)
