"""Sizing by columns beside the decimal path, plain floats and other libraries.

All of a table size the same weights and prices: |weight| x capital, at most the cap, over price,
rounded toward zero. Only ours and the decimal path give what decimals give. vectorbt has no cap,
and values and fills a portfolio besides: it is what one would otherwise take.
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from ctypes import CDLL
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from bench.tables import print_table
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.limits import Limits, OrderFacts, first_denial
from orchestrator_core.model import OrderIntent, Side
from orchestrator_core.money import decimal_of
from orchestrator_core.plans import PlanningPolicy
from orchestrator_core.sizing import SizingPolicy, SizingRules, size_position
from orchestrator_entrypoints.backtests.columnar import size_columns

DAYS = 2_520
CAPITAL, CAP = 10_000_000, 20_000
SAMPLE = 200_000

PLAIN = PlanningPolicy(SizingPolicy(Decimal(CAPITAL), Decimal(CAP)), Limits())
LIMITED = PlanningPolicy(
    evolve(PLAIN.sizing, rules=SizingRules(min_order_notional=Decimal(100))),
    Limits(
        restricted_symbols=frozenset([Symbol("S7")]),
        max_order_qty=10_000,
        max_order_notional=Decimal(100_000),
    ),
)

Floats = NDArray[np.float64]
Shares = NDArray[np.int64]


@frozen(eq=False)
class Market:
    """Weights whose magnitudes sum to one a day, three in ten short; prices of two decimals."""

    weights: Floats
    prices: Floats

    @property
    def symbols(self) -> list[Symbol]:
        """Names of the columns."""
        return [Symbol(f"S{number}") for number in range(self.weights.shape[1])]


def a_market(symbols: int, days: int = DAYS) -> Market:
    """Return the same market each time, of prices that move by a hundredth a day."""
    random = np.random.default_rng(symbols)
    sign = np.where(random.random((days, symbols)) < 0.3, -1.0, 1.0)
    weights = random.dirichlet(np.ones(symbols), days) * sign
    walks = random.normal(4, 1, symbols) + random.normal(0, 0.01, (days, symbols)).cumsum(axis=0)
    return Market(weights, np.round(np.exp(walks) + 1, 2))


def by_columns(market: Market) -> Shares:
    """Size by our columns."""
    return size_columns(market.weights, market.prices, PLAIN, symbols=market.symbols).shares


def by_limited_columns(market: Market) -> Shares:
    """Size by our columns, with five limits judged."""
    return size_columns(market.weights, market.prices, LIMITED, symbols=market.symbols).shares


def by_decimals(market: Market) -> Shares:
    """Size cell by cell by the decimal path, judged by every control."""
    pairs = zip(market.weights.ravel().tolist(), market.prices.ravel().tolist(), strict=True)
    sized = []
    for weight, price in pairs:
        exact = decimal_of(price)
        sizing = size_position(decimal_of(weight), exact, PLAIN.sizing)
        if sizing.shares:
            side = Side.BUY if sizing.signed_shares > 0 else Side.SELL
            intent = OrderIntent(ClientOrderId("bench"), Symbol("S"), side, sizing.shares)
            first_denial(OrderFacts(intent, exact), PLAIN.limits)
        sized.append(sizing.signed_shares)
    return np.array(sized, np.int64).reshape(market.weights.shape)


def by_floats(market: Market) -> Shares:
    """Size in plain numpy, a block of days at a time, as fast as it goes."""
    days, symbols = market.weights.shape
    sized = np.empty((days, symbols), np.int64)
    step = max(1, (1 << 16) // symbols)
    for first in range(0, days, step):
        block = slice(first, first + step)
        work = np.abs(market.weights[block])
        np.multiply(work, CAPITAL, out=work)
        np.minimum(work, CAP, out=work)
        np.divide(work, market.prices[block], out=work)
        np.floor(work, out=work)
        np.copysign(work, market.weights[block], out=work)
        np.copyto(sized[block], work, casting="unsafe")
    return sized


def by_pandas(market: Market) -> Shares:
    """Size in pandas, on frames of days x symbols."""
    import pandas as pd  # noqa: PLC0415 - of the group `compare` alone

    weights, prices = pd.DataFrame(market.weights), pd.DataFrame(market.prices)
    whole = (weights.abs() * CAPITAL).clip(upper=CAP) // prices
    sized: Shares = (whole * np.sign(weights)).astype("int64").to_numpy()
    return sized


def by_polars(market: Market) -> Shares:
    """Size in polars, on two columns of all cells, on all cores."""
    import polars as pl  # noqa: PLC0415 - of the group `compare` alone

    frame = pl.DataFrame({"weight": market.weights.ravel(), "price": market.prices.ravel()})
    capped = pl.min_horizontal(pl.col("weight").abs() * CAPITAL, pl.lit(float(CAP)))
    whole = (capped / pl.col("price")).floor() * pl.col("weight").sign()
    sized: Shares = frame.select(whole.cast(pl.Int64)).to_series().to_numpy()
    return sized.reshape(market.weights.shape)


def by_vectorbt(market: Market) -> Any:
    """Fill a portfolio of target percentages in whole shares; no cap."""
    import pandas as pd  # noqa: PLC0415 - of the group `compare` alone
    import vectorbt as vbt  # noqa: PLC0415

    return vbt.Portfolio.from_orders(
        pd.DataFrame(market.prices),
        size=pd.DataFrame(market.weights),
        size_type="targetpercent",
        size_granularity=1,
        init_cash=CAPITAL,
        freq="1D",
        group_by=True,
        cash_sharing=True,
    ).order_records


METHODS: Mapping[str, Callable[[Market], Any]] = {
    "ours, by columns": by_columns,
    "ours, five limits on": by_limited_columns,
    "decimals, cell by cell": by_decimals,
    "numpy, plain floats": by_floats,
    "pandas, plain floats": by_pandas,
    "polars, plain floats": by_polars,
    "vectorbt from_orders": by_vectorbt,
}
SLOW = {"decimals, cell by cell", "vectorbt from_orders"}


def columnar(*, quick: bool = False) -> None:
    """Print cells a second, cells that are off, and memory, at 500 and 3,000 symbols."""
    for symbols in (500, 3_000):
        _compare(a_market(symbols, 252 if quick else DAYS), rounds=3 if quick else 11)


def _compare(market: Market, *, rounds: int) -> None:
    days, symbols = market.weights.shape
    methods = _installed(METHODS)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    found: dict[str, Any] = {}
    for turn in range(rounds):
        for name, size in methods.items():
            if name in SLOW and turn >= 2:
                continue
            part = _part_of(market) if name == "decimals, cell by cell" else market
            began = time.perf_counter()
            found[name] = size(part)
            spent = time.perf_counter() - began
            seconds[name].append(spent * market.weights.size / part.weights.size)
    ours = median(seconds["ours, by columns"])
    rows = [
        [
            name,
            f"{market.weights.size / median(spent) / 1e6:.2f}",
            f"{median(spent) / ours:.2f}",
            _off(found[name], found["ours, by columns"], name),
            f"{_peak(name, symbols, days):.0f}",
        ]
        for name, spent in seconds.items()
    ]
    sized = size_columns(market.weights, market.prices, PLAIN, symbols=market.symbols)
    print_table(
        f"Sizing {days:,} days x {symbols:,} symbols; {sized.redone:,} cells redone in decimals, "
        f"{sized.redone / sized.shares.size:.4%}",
        ["method", "M cells/s", "time, of ours", "cells off", "MB at the peak"],
        rows,
    )


def _part_of(market: Market) -> Market:
    """Return the first days, of about so many cells as decimals take seconds for."""
    days = max(1, SAMPLE // market.weights.shape[1])
    return Market(market.weights[:days], market.prices[:days])


def _installed(methods: Mapping[str, Callable[[Market], Any]]) -> dict[str, Callable[..., Any]]:
    """Return the methods that run here; each is tried once, and so warm."""
    usable, tiny = {}, a_market(3, 5)
    for name, size in methods.items():
        try:
            size(tiny)
        except ModuleNotFoundError as missing:
            print(f"without {name}: {missing.name} is not installed (group `compare`)")
        else:
            usable[name] = size
    return usable


def _off(found: Any, exact: Shares, name: str) -> str:
    if name == "vectorbt from_orders":
        return "-"
    return f"{np.count_nonzero(found != exact[: len(found)]):,}"


def _peak(name: str, symbols: int, days: int) -> float:
    """Return how much a fresh process grows while it sizes once, megabytes, results included."""
    command = [sys.executable, "-m", "bench.columnar", name, f"{symbols}", f"{days}"]
    grown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(grown)


def _grow(name: str, symbols: int, days: int) -> None:
    market, size = a_market(symbols, days), METHODS[name]
    size(a_market(3, 5))
    if name == "decimals, cell by cell":
        market = _part_of(market)
    # What making the market left free would hide what sizing takes.
    CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    kept = size(market)
    print((_resident("VmHWM") - before) / 1024, end="")
    del kept


def _resident(line: str) -> int:
    """Return a line of the process's memory, kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(each.split()[1]) for each in lines if each.startswith(line))


def _main(arguments: Sequence[str]) -> None:
    name, symbols, days = arguments
    _grow(name, int(symbols), int(days))


if __name__ == "__main__":
    _main(sys.argv[1:])
