"""A momentum strategy over daily closes, small enough to check by hand.

What rose most over the twelve months that ended a month ago is bought, what fell most is sold. The
last month is left out, since short-term moves tend to revert (Jegadeesh and Titman, 1993). Weights
fall linearly with the rank; the longs sum to +1 and the shorts to -1.
"""

from collections.abc import Sequence
from datetime import date

from attrs import frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Signal
from orchestrator_entrypoints.data import DailyPrices

LOOKBACK_DAYS = 252
SKIPPED_DAYS = 21
MONTHS = 11


@frozen
class Selection:
    """What the strategy holds at a date.

    Attributes:
        as_of_date: The last trading day that was used.
        signals: By rank; outside the selection with a weight of zero.
        top_n: How many are held long.
        bottom_n: How many are held short.
    """

    as_of_date: date
    signals: tuple[Signal, ...]
    top_n: int
    bottom_n: int


def momentum(prices: DailyPrices, symbol: str, row: int) -> float:
    """Return the return from 252 to 21 trading days before that row, a fraction.

    Raises:
        LookupError: The symbol is not in the data, or the row has too little before it.
    """
    if row < LOOKBACK_DAYS:
        raise LookupError(
            f"{prices.dates[row]} has {row} trading days before it, {LOOKBACK_DAYS} are needed"
        )
    closes = prices.closes_of(symbol)
    return float(closes[row - SKIPPED_DAYS] / closes[row - LOOKBACK_DAYS] - 1)


def select(
    prices: DailyPrices,
    symbols: Sequence[str],
    *,
    as_of: date,
    top_n: int = 5,
    bottom_n: int = 5,
) -> Selection:
    """Rank symbols by momentum at a date, and weigh the first and the last of them.

    The predicted return is the momentum spread over its eleven months: a forecast for the next.
    Where fewer symbols are given than `top_n + bottom_n`, both sides shrink alike.

    Raises:
        LookupError: There is no data for the date or for a symbol.
    """
    row = prices.row_at(as_of)
    scores = {symbol: momentum(prices, symbol, row) for symbol in symbols}
    ranked = sorted(scores, key=lambda symbol: (-scores[symbol], symbol))
    if top_n + bottom_n > len(ranked):
        top_n, bottom_n = min(top_n, len(ranked) // 2), min(bottom_n, len(ranked) // 2)
    weights = [0.0] * len(ranked)
    for place, weight in enumerate(falling_weights(top_n)):
        weights[place] = weight
    for place, weight in enumerate(falling_weights(bottom_n)):
        weights[-1 - place] = -weight
    signals = tuple(
        Signal(
            symbol=Symbol(symbol),
            predicted_return=round(scores[symbol] / MONTHS, 6),
            rank=rank,
            target_weight=weight,
        )
        for rank, (symbol, weight) in enumerate(zip(ranked, weights, strict=True), start=1)
    )
    return Selection(prices.dates[row], signals, top_n, bottom_n)


def falling_weights(count: int) -> tuple[float, ...]:
    """Return weights that fall linearly and sum to 1.

    >>> falling_weights(4)
    (0.4, 0.3, 0.2, 0.1)
    """
    total = count * (count + 1) // 2
    return tuple((count - place) / total for place in range(count))
