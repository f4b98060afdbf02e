"""The core as the position sizer of somebody else's loop: one decision, nothing sent.

Another library's backtest, a spreadsheet or a notebook asks here what the service would order of
these weights at these prices, beside what is held; whatever it does with the answer is its own.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from orchestrator_core import __version__
from orchestrator_core.holdings import Holdings
from orchestrator_core.identifiers import Decision, TradingMode, parse_symbol
from orchestrator_core.model import Quote
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import OrderPlan, PlanningPolicy, Snapshot
from orchestrator_core.signals import check_batch
from orchestrator_core.sizing import SizingPolicy
from orchestrator_entrypoints.backtests.inputs import asked_for, batch_of
from orchestrator_entrypoints.backtests.policy import ENVIRONMENT, BacktestPolicy
from orchestrator_entrypoints.backtests.stage import DECISION_TIME
from orchestrator_entrypoints.backtests.tables import Number, exactly

_EPOCH = date(1970, 1, 1)


def decide(
    weights: Mapping[str, Number],
    prices: Mapping[str, Number],
    *,
    held: Mapping[str, int] | None = None,
    policy: BacktestPolicy | None = None,
    capital: Decimal | None = None,
    day: date = _EPOCH,
) -> OrderPlan:
    """Return what the service would order of weights, and why not where it would not.

    Args:
        weights: Fractions of capital by symbol; positive long, negative short.
        prices: Account currency per share; of what is held too.
        held: Shares held by symbol, below zero when short.
        policy: Under what is decided.
        capital: What a weight of 1 stands for, account currency; None: the policy's.
        day: Of the weights; session rules judge it.

    Raises:
        MalformedReply: A weight, or the sum of a side, is above its limit.
        InvalidRequest: A symbol is none.
        ValueError: A price is not above zero.

    >>> plan = decide({"KO": 0.1, "MO": 0.0}, {"KO": 60, "MO": 50}, held={"KO": 100, "MO": 7})
    >>> [(intent.symbol, intent.signed_qty) for intent in plan.intents]
    [('MO', -7), ('KO', 66)]
    """
    policy = policy or BacktestPolicy()
    batch = batch_of(day, {parse_symbol(symbol): weight for symbol, weight in weights.items()})
    shares = {parse_symbol(symbol): qty for symbol, qty in (held or {}).items() if qty}
    symbols = asked_for(batch, shares)
    request = policy.request(symbols, day, policy.capital if capital is None else capital)
    check_batch(batch, request, policy.limits)
    now = datetime.combine(day, DECISION_TIME).astimezone(UTC)
    rules = policy.rules_for(symbols)
    snapshot = Snapshot(
        decision=Decision(
            ENVIRONMENT, TradingMode.PAPER, policy.strategy_id, day, request.rebalance_key
        ),
        request=request,
        policy=PlanningPolicy(
            SizingPolicy(request.capital, request.max_position_size, rules), policy.limits
        ),
        batch=batch,
        quotes=tuple(
            Quote(parse_symbol(symbol), exactly(price), now, "given")
            for symbol, price in prices.items()
        ),
        decided_at=now,
        code_version=__version__,
        holdings=Holdings(tuple(sorted(shares.items()))),
    )
    return plan_orders(snapshot, snapshot.policy)
