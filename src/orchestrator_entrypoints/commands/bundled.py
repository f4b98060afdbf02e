"""What is backtested where no files are named: bundled real closes, under a momentum strategy.

At each close the strategy of the demo ranks the symbols by their return from twelve months to one
month before, buys the first five and sells the last five. It reads closes up to its own date alone,
the last of them a month old, and what it says at a close is traded after it.
"""

from datetime import date
from decimal import Decimal

from orchestrator_core.identifiers import Symbol
from orchestrator_core.money import decimal_of
from orchestrator_entrypoints.data import daily_prices
from orchestrator_entrypoints.demo.signals import LOOKBACK_DAYS, select

# Date, symbol, value.
Row = tuple[date, Symbol, Decimal]

DESCRIPTION = "momentum over 20 bundled US large caps, 2021 and 2022"


def bundled_rows() -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Return signals and closes: date, symbol, and weight or account currency per share."""
    prices = daily_prices()
    signals: list[Row] = []
    # Before it the strategy has nothing to say, and the account would only wait.
    first = LOOKBACK_DAYS
    for day in prices.dates[first:]:
        chosen = select(prices, prices.symbols, as_of=day)
        signals += [
            (day, signal.symbol, decimal_of(signal.target_weight)) for signal in chosen.signals
        ]
    closes = tuple(
        (day, symbol, close)
        for day, row in zip(prices.dates[first:], prices.closes[first:], strict=True)
        for symbol, close in zip(prices.symbols, row, strict=True)
    )
    return tuple(signals), closes
