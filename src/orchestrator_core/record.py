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
from orchestrator_core.model import Contribution, NoQuote, Quote, Reference, Signal, SignalBatch
from orchestrator_core.plans import PlanningPolicy, Snapshot
from orchestrator_core.record_account import (
    decode_day,
    decode_holdings,
    encode_day,
    encode_holdings,
)
from orchestrator_core.record_policies import (
    decode_limits,
    decode_rules,
    encode_limits,
    encode_rules,
)
from orchestrator_core.requests import RunRequest
from orchestrator_core.sizing import SizingPolicy

FORMAT = "snapshot/3"
# A record of the first form was sized without rules, one of the second without an account.
FORMATS = frozenset({"snapshot/1", "snapshot/2", FORMAT})

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
                "rules": encode_rules(snapshot.policy.sizing.rules),
            },
            "limits": encode_limits(snapshot.policy.limits),
        },
        "batch": encode_batch(snapshot.batch),
        "quotes": [_encode_quote(quote) for quote in snapshot.quotes],
        "decided_at": encode_time(snapshot.decided_at),
        "code_version": snapshot.code_version,
        "holdings": None if snapshot.holdings is None else encode_holdings(snapshot.holdings),
        "day": None if snapshot.day is None else encode_day(snapshot.day),
        "references": [_encode_reference(reference) for reference in snapshot.references],
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
                    rules=decode_rules(policy["sizing"].get("rules")),
                ),
                limits=decode_limits(policy["limits"]),
            ),
            batch=decode_batch(encoded["batch"]),
            quotes=tuple(_decode_quote(quote) for quote in encoded["quotes"]),
            decided_at=decode_time(encoded["decided_at"]),
            code_version=encoded["code_version"],
            holdings=decode_holdings(encoded.get("holdings")),
            day=decode_day(encoded.get("day")),
            references=tuple(_decode_reference(each) for each in encoded.get("references", ())),
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
        "limits": None if request.limits is None else encode_limits(request.limits),
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
        limits=None if encoded.get("limits") is None else decode_limits(encoded["limits"]),
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
    symbol = encoded["symbol"]
    if not isinstance(symbol, str):
        raise TypeError(f"expected a symbol, got {symbol!r}")
    return Signal(
        symbol=Symbol(symbol),
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


def _encode_reference(reference: Reference) -> Json:
    return {
        "symbol": reference.symbol,
        "price": str(reference.price),
        "as_of": encode_time(reference.as_of),
        "source": reference.source,
    }


def _decode_reference(encoded: Mapping[str, Any]) -> Reference:
    return Reference(
        symbol=Symbol(encoded["symbol"]),
        price=Decimal(encoded["price"]),
        as_of=decode_time(encoded["as_of"]),
        source=encoded["source"],
    )
