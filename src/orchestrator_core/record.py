"""A run's stored record: the snapshot as plain JSON values, and back.

The form is canonical: sorted keys, no spaces, decimals as strings, times as ISO 8601 UTC. The same
snapshot gives the same bytes on every machine, so a digest of them says whether a stored decision
was touched. `FORMAT` names the form that is written; a reader refuses those that it does not know.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from orchestrator_core.identifiers import Decision, StrategyId, Symbol, TradingMode
from orchestrator_core.limits import Limits, SessionRule
from orchestrator_core.model import Contribution, NoQuote, Quote, Signal, SignalBatch
from orchestrator_core.planning import PlanningPolicy, Snapshot
from orchestrator_core.requests import RunRequest
from orchestrator_core.sizing import SizingPolicy, SizingRules

FORMAT = "snapshot/2"
# A record of the first form was sized without rules.
FORMATS = frozenset({"snapshot/1", FORMAT})

Json = dict[str, Any]


def canonical_json(value: object) -> str:
    """Return the one text that stands for a JSON value, in ASCII.

    Raises:
        ValueError: The value holds NaN or an infinity.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"), sort_keys=True)


def content_hash(canonical: str) -> str:
    """Return the SHA-256 of a canonical JSON text, in hex."""
    return hashlib.sha256(canonical.encode()).hexdigest()


def encode_snapshot(snapshot: Snapshot) -> Json:
    """Return the snapshot as JSON values."""
    return {
        "format": FORMAT,
        "decision": {
            "environment": snapshot.decision.environment,
            "mode": str(snapshot.decision.mode),
            "strategy_id": snapshot.decision.strategy_id,
            "as_of_date": snapshot.decision.as_of_date.isoformat(),
            "rebalance_key": snapshot.decision.rebalance_key,
        },
        "request": encode_request(snapshot.request),
        "policy": {
            "sizing": {
                "capital": str(snapshot.policy.sizing.capital),
                "max_position_size": str(snapshot.policy.sizing.max_position_size),
                "rules": _encode_rules(snapshot.policy.sizing.rules),
            },
            "limits": _encode_limits(snapshot.policy.limits),
        },
        "batch": encode_batch(snapshot.batch),
        "quotes": [_encode_quote(quote) for quote in snapshot.quotes],
        "decided_at": encode_time(snapshot.decided_at),
        "code_version": snapshot.code_version,
    }


def decode_snapshot(encoded: Mapping[str, Any]) -> Snapshot:
    """Return the snapshot that `encode_snapshot` wrote.

    Raises:
        ValueError: The record is of another form, or damaged.
    """
    if encoded.get("format") not in FORMATS:
        raise ValueError(f"expected a record of form {FORMAT}, got {encoded.get('format')!r}")
    try:
        decision, policy = encoded["decision"], encoded["policy"]
        return Snapshot(
            decision=Decision(
                environment=decision["environment"],
                mode=TradingMode(decision["mode"]),
                strategy_id=StrategyId(decision["strategy_id"]),
                as_of_date=date.fromisoformat(decision["as_of_date"]),
                rebalance_key=decision["rebalance_key"],
            ),
            request=decode_request(encoded["request"]),
            policy=PlanningPolicy(
                sizing=SizingPolicy(
                    capital=Decimal(policy["sizing"]["capital"]),
                    max_position_size=Decimal(policy["sizing"]["max_position_size"]),
                    rules=_decode_rules(policy["sizing"].get("rules")),
                ),
                limits=_decode_limits(policy["limits"]),
            ),
            batch=decode_batch(encoded["batch"]),
            quotes=tuple(_decode_quote(quote) for quote in encoded["quotes"]),
            decided_at=decode_time(encoded["decided_at"]),
            code_version=encoded["code_version"],
        )
    except (KeyError, TypeError, ArithmeticError) as error:
        raise ValueError(f"damaged record: {error!r}") from error


def encode_request(request: RunRequest) -> Json:
    """Return a request as JSON values."""
    return {
        "symbols": list(request.symbols),
        "as_of_date": None if request.as_of_date is None else request.as_of_date.isoformat(),
        "capital": str(request.capital),
        "max_position_size": str(request.max_position_size),
        "dry_run": request.dry_run,
        "rebalance_key": request.rebalance_key,
    }


def decode_request(encoded: Mapping[str, Any]) -> RunRequest:
    """Return the request that `encode_request` wrote."""
    as_of_date = encoded["as_of_date"]
    return RunRequest(
        symbols=tuple(Symbol(symbol) for symbol in encoded["symbols"]),
        as_of_date=None if as_of_date is None else date.fromisoformat(as_of_date),
        capital=Decimal(encoded["capital"]),
        max_position_size=Decimal(encoded["max_position_size"]),
        dry_run=encoded["dry_run"],
        rebalance_key=encoded["rebalance_key"],
    )


def encode_batch(batch: SignalBatch) -> Json:
    """Return a batch as JSON values: `signals` and `metadata` as the strategy sent them."""
    return {
        "signals": [_encode_signal(signal) for signal in batch.signals],
        "as_of_date": batch.as_of_date.isoformat(),
        "num_signals": batch.num_signals,
        "metadata": dict(batch.metadata),
    }


def decode_batch(encoded: Mapping[str, Any]) -> SignalBatch:
    """Return the batch that `encode_batch` wrote."""
    return SignalBatch(
        signals=tuple(_decode_signal(signal) for signal in encoded["signals"]),
        as_of_date=date.fromisoformat(encoded["as_of_date"]),
        num_signals=encoded["num_signals"],
        metadata=encoded["metadata"],
    )


def _encode_signal(signal: Signal) -> Json:
    encoded: Json = {
        "symbol": signal.symbol,
        "predicted_return": signal.predicted_return,
        "rank": signal.rank,
        "target_weight": signal.target_weight,
    }
    if signal.contributions:
        encoded["contributions"] = encode_contributions(signal.contributions)
    return encoded


def _decode_signal(encoded: Mapping[str, Any]) -> Signal:
    return Signal(
        symbol=Symbol(encoded["symbol"]),
        predicted_return=float(encoded["predicted_return"]),
        rank=encoded["rank"],
        target_weight=float(encoded["target_weight"]),
        contributions=decode_contributions(encoded.get("contributions", ())),
    )


def encode_contributions(contributions: Iterable[Contribution]) -> list[Json]:
    """Return what strategies put into a netted signal, as JSON values."""
    return [
        {
            "strategy_id": each.strategy_id,
            "share": str(each.share),
            "predicted_return": each.predicted_return,
            "rank": each.rank,
            "target_weight": each.target_weight,
        }
        for each in contributions
    ]


def decode_contributions(encoded: Iterable[Mapping[str, Any]]) -> tuple[Contribution, ...]:
    """Return what `encode_contributions` wrote."""
    return tuple(
        Contribution(
            strategy_id=StrategyId(each["strategy_id"]),
            share=Decimal(each["share"]),
            predicted_return=float(each["predicted_return"]),
            rank=each["rank"],
            target_weight=float(each["target_weight"]),
        )
        for each in encoded
    )


def encode_time(time: datetime) -> str:
    """Return a UTC time with microseconds, ending in Z."""
    return f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"


def decode_time(text: str) -> datetime:
    """Return the time that `encode_time` wrote."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _encode_quote(quote: Quote | NoQuote) -> Json:
    if isinstance(quote, NoQuote):
        return {"symbol": quote.symbol, "reason": quote.reason}
    return {
        "symbol": quote.symbol,
        "price": str(quote.price),
        "as_of": encode_time(quote.as_of),
        "source": quote.source,
    }


def _decode_quote(encoded: Mapping[str, Any]) -> Quote | NoQuote:
    symbol = Symbol(encoded["symbol"])
    if "reason" in encoded:
        return NoQuote(symbol, encoded["reason"])
    return Quote(
        symbol=symbol,
        price=Decimal(encoded["price"]),
        as_of=decode_time(encoded["as_of"]),
        source=encoded["source"],
    )


def _encode_rules(rules: SizingRules) -> Json:
    return {
        "lot_sizes": dict(rules.lot_sizes),
        "min_order_notional": str(rules.min_order_notional),
        "cash_buffer": str(rules.cash_buffer),
        "spends_leftover": rules.spends_leftover,
    }


def _decode_rules(encoded: Mapping[str, Any] | None) -> SizingRules:
    if encoded is None:
        return SizingRules()
    return SizingRules(
        lot_sizes={Symbol(symbol): lot for symbol, lot in encoded["lot_sizes"].items()},
        min_order_notional=Decimal(encoded["min_order_notional"]),
        cash_buffer=Decimal(encoded["cash_buffer"]),
        spends_leftover=encoded["spends_leftover"],
    )


def _encode_limits(limits: Limits) -> Json:
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
        "market_session": limits.market_session.value,
        "max_signal_weight": str(limits.max_signal_weight),
        "max_side_weight": str(limits.max_side_weight),
        "max_price_age_seconds": limits.max_price_age_seconds,
        "max_price_lead_seconds": limits.max_price_lead_seconds,
    }


def _decode_limits(encoded: Mapping[str, Any]) -> Limits:
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
