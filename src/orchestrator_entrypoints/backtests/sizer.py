"""The core as the position sizer of somebody else's loop: one decision, nothing sent.

Another library's backtest, a spreadsheet or a notebook asks here what the service would order of
these weights at these prices, beside what is held; whatever it does with the answer is its own.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from attrs import evolve

from orchestrator_core import __version__
from orchestrator_core.holdings import Holdings
from orchestrator_core.identifiers import Decision, Symbol, TradingMode, parse_symbol
from orchestrator_core.model import Quote, SignalBatch
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import OrderPlan, PlanningPolicy, Snapshot
from orchestrator_core.requests import RunRequest
from orchestrator_core.signals import check_batch
from orchestrator_core.sizing import SizingPolicy
from orchestrator_entrypoints.backtests.given_values import (
    Number,
    day_of,
    exactly,
    number_of,
    price_problem,
    shares_of,
)
from orchestrator_entrypoints.backtests.inputs import asked_for, batch_of
from orchestrator_entrypoints.backtests.market import DECISION_TIME
from orchestrator_entrypoints.backtests.policy import ENVIRONMENT, BacktestPolicy

Read = TypeVar("Read")


def decide(
    weights: Mapping[str, Number],
    prices: Mapping[str, Number],
    *,
    day: Any,
    held: Mapping[str, int] | None = None,
    policy: BacktestPolicy | None = None,
    capital: Decimal | str | float | None = None,
) -> OrderPlan:
    """Return what the service would order of weights, and why not where it would not.

    Args:
        weights: Fractions of capital by symbol; positive long, negative short.
        prices: Account currency per share; of what is held too.
        day: Of the weights, as it may be given with signals; session rules judge it.
        held: Shares held by symbol, below zero when short.
        policy: Under what is decided.
        capital: What a weight of 1 stands for, account currency; None: the policy's.

    Raises:
        MalformedReply: A weight, or the sum of a side, is above its limit.
        InvalidRequest: A symbol is none.
        ValueError: A price is not above zero, or something else is none that it may be.

    >>> prices, held = {"KO": 60, "MO": 50}, {"KO": 100, "MO": 7}
    >>> plan = decide({"KO": 0.1, "MO": 0.0}, prices, day="2024-01-02", held=held)
    >>> [(intent.symbol, intent.signed_qty) for intent in plan.intents]
    [('MO', -7), ('KO', 66)]
    """
    policy = policy or BacktestPolicy()
    if capital is not None:
        policy = evolve(policy, capital=capital)
    as_of_date = day_of(day)
    batch = batch_of(as_of_date, _by_symbol(weights, number_of))
    positions = _by_symbol({} if held is None else held, shares_of)
    shares = {symbol: qty for symbol, qty in positions.items() if qty}
    request = policy.request(asked_for(batch, shares), as_of_date, policy.capital)
    check_batch(batch, request, policy.limits)
    snapshot = _snapshot_of(batch, request, _by_symbol(prices, _price_of), shares, policy)
    return plan_orders(snapshot, snapshot.policy)


def _price_of(value: Any) -> Number:
    price = number_of(value)
    problem = price_problem(price)
    if problem is not None:
        raise ValueError(problem)
    return price


def _by_symbol(values: Mapping[str, Any], read: Callable[[Any], Read]) -> dict[Symbol, Read]:
    numbers: dict[Symbol, Read] = {}
    for name, value in values.items():
        symbol = parse_symbol(name)
        if symbol in numbers:
            raise ValueError(f"{symbol}: is given twice")
        try:
            numbers[symbol] = read(value)
        except ValueError as problem:
            raise ValueError(f"{symbol}: {problem}") from None
    return numbers


def _snapshot_of(
    batch: SignalBatch,
    request: RunRequest,
    prices: Mapping[Symbol, Number],
    shares: Mapping[Symbol, int],
    policy: BacktestPolicy,
) -> Snapshot:
    day = batch.as_of_date
    now = datetime.combine(day, DECISION_TIME)
    rules = policy.rules_for(request.symbols)
    sizing = SizingPolicy(request.capital, request.max_position_size, rules)
    return Snapshot(
        decision=Decision(
            ENVIRONMENT, TradingMode.PAPER, policy.strategy_id, day, request.rebalance_key
        ),
        request=request,
        policy=PlanningPolicy(sizing, policy.limits),
        batch=batch,
        quotes=tuple(
            Quote(symbol, exactly(price), now, "given") for symbol, price in prices.items()
        ),
        decided_at=now,
        code_version=__version__,
        holdings=Holdings(tuple(sorted(shares.items()))),
    )
