"""What rounding leaves, beside another library's allocations of the same portfolios.

The other library is PyPortfolioOpt (group `compare`): its greedy method and its integer programme.
Both buy long portfolios with the whole capital; so do ours here, with a cap that never bites.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from math import sqrt
from random import Random
from statistics import median

from attrs import evolve

from bench.tables import print_table
from orchestrator_core.identifiers import Decision, StrategyId, Symbol, TradingMode
from orchestrator_core.limits import Limits
from orchestrator_core.model import Quote, Signal, SignalBatch
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import PlanningPolicy, Snapshot
from orchestrator_core.requests import RunRequest
from orchestrator_core.sizing import SizingPolicy, SizingRules

CAPITAL = 100_000
PORTFOLIOS = 200
NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
TODAY = date(2026, 3, 2)

Weights = Mapping[str, float]
Prices = Mapping[str, float]
Allocate = Callable[[Weights, Prices], Mapping[str, int]]


def a_portfolio(random: Random) -> tuple[Weights, Prices]:
    """Return five to forty weights that sum to one, and prices from 3 to some thousands."""
    names = [f"S{n:02d}" for n in range(random.randint(5, 40))]
    drawn = [random.expovariate(1.0) for _ in names]
    weights = {name: round(each / sum(drawn), 6) for name, each in zip(names, drawn, strict=True)}
    prices = {name: round(3 + random.lognormvariate(4, 1), 2) for name in names}
    return weights, prices


def ours(*, spends_leftover: bool) -> Allocate:
    """Return our sizing as an allocation, with the leftover pass or without."""
    rules = SizingRules(spends_leftover=spends_leftover)
    capital = Decimal(CAPITAL)
    policy = PlanningPolicy(
        SizingPolicy(capital, capital, rules), Limits(max_side_weight=Decimal(2))
    )

    def allocate(weights: Weights, prices: Prices) -> Mapping[str, int]:
        snapshot = _snapshot(weights, prices, policy)
        plan = plan_orders(snapshot, policy)
        return {intent.symbol: intent.qty for intent in plan.intents}

    return allocate


def _snapshot(weights: Weights, prices: Prices, policy: PlanningPolicy) -> Snapshot:
    symbols = tuple(map(Symbol, weights))
    signals = tuple(
        Signal(Symbol(name), 0.01, rank, weight)
        for rank, (name, weight) in enumerate(weights.items(), start=1)
    )
    quotes = tuple(
        Quote(Symbol(name), Decimal(str(price)), NOW, "bench") for name, price in prices.items()
    )
    return Snapshot(
        decision=Decision("bench", TradingMode.DRY, StrategyId("bench"), TODAY),
        request=RunRequest(symbols, TODAY, policy.sizing.capital, policy.sizing.capital),
        policy=evolve(policy),
        batch=SignalBatch(signals, TODAY, len(signals)),
        quotes=quotes,
        decided_at=NOW,
        code_version="bench",
    )


def theirs(method: str) -> Allocate:
    """Return one of the other library's methods as an allocation."""
    import pandas as pd  # noqa: PLC0415 - of the group `compare` alone
    from pypfopt.discrete_allocation import DiscreteAllocation  # noqa: PLC0415

    def allocate(weights: Weights, prices: Prices) -> Mapping[str, int]:
        latest = pd.Series(prices)
        allocation = DiscreteAllocation(dict(weights), latest, total_portfolio_value=CAPITAL)
        found, _ = getattr(allocation, method)()
        return {name: int(shares) for name, shares in found.items()}

    return allocate


def leftover(*, quick: bool = False) -> None:
    """Print leftover cash and tracking error of each method over the same portfolios."""
    methods: dict[str, Allocate] = {
        "ours, rounded down": ours(spends_leftover=False),
        "ours, leftover pass": ours(spends_leftover=True),
    }
    try:
        methods |= {
            "PyPortfolioOpt greedy": theirs("greedy_portfolio"),
            "PyPortfolioOpt integer": theirs("lp_portfolio"),
        }
    except ModuleNotFoundError as missing:
        print(f"without the other library: {missing.name} is not installed (group `compare`)")
    random = Random(1)  # noqa: S311 - the same portfolios each time
    portfolios = [a_portfolio(random) for _ in range(20 if quick else PORTFOLIOS)]
    rows = []
    for name, allocate in methods.items():
        cash, errors, seconds = [], [], []
        for weights, prices in portfolios:
            began = time.perf_counter()
            shares = allocate(weights, prices)
            seconds.append(time.perf_counter() - began)
            spent = sum(prices[symbol] * count for symbol, count in shares.items())
            cash.append(CAPITAL * sum(weights.values()) - spent)
            errors.append(_tracking_error(weights, prices, shares))
        rows.append(
            [
                name,
                f"{median(cash):.2f}",
                f"{max(cash):.2f}",
                f"{median(errors) * 1e4:.2f}",
                f"{median(seconds) * 1e3:.2f}",
            ]
        )
    print_table(
        f"Leftover of {CAPITAL:,} over {len(portfolios)} portfolios, long only",
        ["method", "median left", "most left", "error, bp", "ms"],
        rows,
    )


def _tracking_error(weights: Weights, prices: Prices, shares: Mapping[str, int]) -> float:
    """Return the root mean square of the weights wanted less those got."""
    squares = [
        (weight - shares.get(name, 0) * prices[name] / CAPITAL) ** 2
        for name, weight in weights.items()
    ]
    return sqrt(sum(squares) / len(squares))
