"""Values for tests: each builder takes only what varies."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from orchestrator_core.identifiers import Decision, StrategyId, Symbol, TradingMode
from orchestrator_core.limits import Limits
from orchestrator_core.model import NoQuote, Quote, Signal, SignalBatch
from orchestrator_core.plans import PlanningPolicy, Snapshot
from orchestrator_core.requests import RunRequest
from orchestrator_core.sizing import SizingPolicy

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
TODAY = date(2026, 3, 2)


def a_signal(symbol: str = "AAPL", weight: float = 0.1, *, rank: int = 1) -> Signal:
    return Signal(Symbol(symbol), predicted_return=0.01, rank=rank, target_weight=weight)


def a_batch(
    signals: Sequence[Signal], *, as_of_date: date = TODAY, num_signals: int | None = None
) -> SignalBatch:
    return SignalBatch(
        signals=tuple(signals),
        as_of_date=as_of_date,
        num_signals=len(signals) if num_signals is None else num_signals,
        metadata={"model_version": "m1", "as_of_date": as_of_date.isoformat()},
    )


def a_quote(symbol: str = "AAPL", price: str = "100", *, as_of: datetime = NOW) -> Quote:
    return Quote(Symbol(symbol), Decimal(price), as_of, source="test")


def a_request(
    symbols: Sequence[str] = ("AAPL",),
    *,
    capital: str = "100000",
    cap: str = "20000",
    as_of_date: date | None = None,
    dry_run: bool = False,
    rebalance_key: str = "",
) -> RunRequest:
    return RunRequest(
        symbols=tuple(Symbol(symbol) for symbol in symbols),
        as_of_date=as_of_date,
        capital=Decimal(capital),
        max_position_size=Decimal(cap),
        dry_run=dry_run,
        rebalance_key=rebalance_key,
    )


def a_policy(
    *, capital: str = "100000", cap: str = "20000", limits: Limits | None = None
) -> PlanningPolicy:
    return PlanningPolicy(
        sizing=SizingPolicy(capital=Decimal(capital), max_position_size=Decimal(cap)),
        limits=limits or Limits(),
    )


def a_decision(*, as_of_date: date = TODAY, rebalance_key: str = "") -> Decision:
    return Decision(
        environment="test",
        mode=TradingMode.DRY,
        strategy_id=StrategyId("alpha"),
        as_of_date=as_of_date,
        rebalance_key=rebalance_key,
    )


def a_snapshot(
    signals: Sequence[Signal],
    quotes: Sequence[Quote | NoQuote],
    *,
    policy: PlanningPolicy | None = None,
    dry_run: bool = False,
    decided_at: datetime = NOW,
) -> Snapshot:
    policy = policy or a_policy()
    return Snapshot(
        decision=a_decision(),
        request=RunRequest(
            symbols=tuple(signal.symbol for signal in signals),
            as_of_date=TODAY,
            capital=policy.sizing.capital,
            max_position_size=policy.sizing.max_position_size,
            dry_run=dry_run,
        ),
        policy=policy,
        batch=a_batch(signals),
        quotes=tuple(quotes),
        decided_at=decided_at,
        code_version="test",
    )
