"""Several strategies traded as one: their answers netted, and each order given back to them.

Each strategy has a share of the capital. A symbol's net weight is the sum of share x weight over
the strategies that name it, exact to the last digit: what one buys and another sells is never
ordered. Every netted signal keeps what each strategy put in, and `attribute` divides an order's
shares by it.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal, Inexact
from fractions import Fraction
from math import floor, isfinite
from typing import NoReturn

from attrs import Attribute, field, frozen

from orchestrator_core.errors import MalformedReply
from orchestrator_core.identifiers import StrategyId, Symbol
from orchestrator_core.model import Contribution, Signal, SignalBatch
from orchestrator_core.money import add_all, decimal_of, multiply

# From here on the net is what is left of a cancellation: each strategy's shares of an order would
# be as many times the order's own, without bound.
MAX_GROSS_OF_NET = 1_000_000


def _require_share(_instance: object, attribute: "Attribute[Decimal]", value: Decimal) -> None:
    if not (value.is_finite() and 0 < value <= 1):
        raise ValueError(f"{attribute.name}: expected a fraction above 0, at most 1, got {value}")


@frozen
class Part:
    """One strategy's answer, with the share of the capital that it decides on.

    Attributes:
        share: Fraction of the capital, above 0 and at most 1.
        batch: As the strategy sent it; no symbol twice.
    """

    strategy_id: StrategyId
    share: Decimal = field(validator=_require_share)
    batch: SignalBatch


def net_batches(parts: Iterable[Part]) -> SignalBatch:
    """Return the batch that all strategies together stand for.

    One signal a symbol, the largest net weight first, ties by symbol, ranked from 1 in that order.
    The order of `parts` does not matter.

    Args:
        parts: One a strategy, at least one, each checked by `check_batch` already.

    Raises:
        MalformedReply: The strategies answered for different dates, or a sum is no number that can
            be kept exactly.
        ValueError: No part, or two of one strategy.
    """
    ordered = sorted(parts, key=lambda part: part.strategy_id)
    names = [part.strategy_id for part in ordered]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"parts: expected one a strategy, got {names}")
    as_of_date = _common_date(ordered)
    found: dict[Symbol, list[Contribution]] = {}
    for part in ordered:
        for signal in part.batch.signals:
            found.setdefault(signal.symbol, []).append(_contribution(part, signal))
    netted = [_net(symbol, tuple(contributions)) for symbol, contributions in found.items()]
    netted.sort(key=lambda net: (net.weight.copy_abs().copy_negate(), net.symbol))
    return SignalBatch(
        signals=tuple(_signal(net, rank) for rank, net in enumerate(netted, start=1)),
        as_of_date=as_of_date,
        num_signals=len(netted),
        metadata={
            "strategies": {
                part.strategy_id: {**part.batch.metadata, "share": f"{part.share:f}"}
                for part in ordered
            }
        },
    )


def _common_date(parts: Sequence[Part]) -> date:
    dates = {part.batch.as_of_date for part in parts}
    if len(dates) > 1:
        said = ", ".join(f"{part.strategy_id} for {part.batch.as_of_date}" for part in parts)
        _refuse(f"the strategies answered for different dates: {said}")
    return dates.pop()


def _contribution(part: Part, signal: Signal) -> Contribution:
    return Contribution(
        strategy_id=part.strategy_id,
        share=part.share,
        predicted_return=signal.predicted_return,
        rank=signal.rank,
        target_weight=signal.target_weight,
    )


@frozen
class _Net:
    """A symbol's sums, exact."""

    symbol: Symbol
    contributions: tuple[Contribution, ...]
    weight: Decimal
    predicted_return: Decimal


def _net(symbol: Symbol, contributions: tuple[Contribution, ...]) -> _Net:
    try:
        return _Net(
            symbol,
            contributions,
            weight=add_all(each.weight for each in contributions),
            predicted_return=add_all(
                multiply(each.share, decimal_of(each.predicted_return)) for each in contributions
            ),
        )
    except Inexact:
        _refuse(f"the sum for {symbol} has more digits than can be kept exactly")


def _signal(net: _Net, rank: int) -> Signal:
    return Signal(
        symbol=net.symbol,
        predicted_return=_nearest(net.predicted_return, net.symbol),
        rank=rank,
        target_weight=_nearest(net.weight, net.symbol),
        contributions=net.contributions,
    )


def _nearest(exact: Decimal, symbol: Symbol) -> float:
    number = float(exact)
    if not isfinite(number):
        _refuse(f"the sum for {symbol} is beyond all numbers")
    return number


def attribute(qty: int, contributions: Iterable[Contribution]) -> dict[StrategyId, int]:
    """Return each strategy's whole shares of an order; they sum exactly to `qty`.

    Proportional to what each put into the net weight, so a strategy that stands against the net has
    shares of the other sign. What rounding down leaves goes out in single shares, the largest
    remainder first, ties by name. Where the net weight is 0 nobody has any; nor where the weights
    nearly cancel, together `MAX_GROSS_OF_NET` times the net or more: a share would be what rounding
    left of the net, not what anybody meant.

    Args:
        qty: The order's shares; below zero when sold.
        contributions: One a strategy, in any order.

    >>> from orchestrator_core.identifiers import StrategyId
    >>> half = Decimal("0.5")
    >>> momentum = Contribution(StrategyId("momentum"), half, 0.02, 1, 0.4)
    >>> value = Contribution(StrategyId("value"), half, -0.01, 3, -0.1)
    >>> attribute(100, [momentum, value])
    {'momentum': 133, 'value': -33}
    """
    weights = {each.strategy_id: Fraction(each.weight) for each in contributions}
    net = sum(weights.values(), Fraction())
    gross = sum(map(abs, weights.values()), Fraction())
    if gross >= MAX_GROSS_OF_NET * abs(net):
        return dict.fromkeys(weights, 0)
    exact = {name: abs(qty) * weight / net for name, weight in weights.items()}
    shares = {name: floor(portion) for name, portion in exact.items()}
    left = abs(qty) - sum(shares.values())
    for name in sorted(exact, key=lambda name: (shares[name] - exact[name], name))[:left]:
        shares[name] += 1
    return shares if qty >= 0 else {name: -portion for name, portion in shares.items()}


def _refuse(cause: str) -> NoReturn:
    raise MalformedReply("signals", "fetch", cause)
