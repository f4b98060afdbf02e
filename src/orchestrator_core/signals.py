"""Whether a strategy's answer may be traded on at all.

A batch is taken whole or refused whole. One wrong row means that the strategy is not what we think
it is, and the other rows are then no better.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NoReturn

from orchestrator_core.errors import MalformedReply
from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import Limits
from orchestrator_core.model import SignalBatch
from orchestrator_core.money import WIDE, add_all
from orchestrator_core.requests import RunRequest

# Weights are floats that a strategy normalised: their sum may miss its mark by rounding alone.
WEIGHT_SUM_TOLERANCE = Decimal("0.000001")


def check_batch(batch: SignalBatch, request: RunRequest, limits: Limits) -> None:
    """Refuse a batch that does not answer the request, or weighs more than it may.

    Raises:
        MalformedReply: A symbol not asked for or given twice, another date than the one asked, a
            count unlike the declared one, a weight or the sum of a side above its limit.
    """
    if request.as_of_date is not None and batch.as_of_date != request.as_of_date:
        _refuse(f"asked for {request.as_of_date}, answered for {batch.as_of_date}")
    if batch.num_signals != len(batch.signals):
        _refuse(f"num_signals says {batch.num_signals}, {len(batch.signals)} came")
    asked = set(request.symbols)
    seen = set()
    for signal in batch.signals:
        if signal.symbol not in asked:
            _refuse(f"{signal.symbol} was not asked for")
        if signal.symbol in seen:
            _refuse(f"{signal.symbol} came twice")
        seen.add(signal.symbol)
    _check_weights({signal.symbol: signal.weight for signal in batch.signals}, limits)


def _check_weights(weights: Mapping[Symbol, Decimal], limits: Limits) -> None:
    # Netted weights have more digits than Decimal's own operators keep.
    for symbol, weight in weights.items():
        if weight.copy_abs() > limits.max_signal_weight:
            _refuse(f"{symbol} weighs {weight}, the limit is {limits.max_signal_weight}")
    bound = WIDE.add(limits.max_side_weight, WEIGHT_SUM_TOLERANCE)
    longs = add_all(weight for weight in weights.values() if weight > 0)
    if longs > bound:
        _refuse(f"long weights sum to {longs}, the limit is {limits.max_side_weight}")
    shorts = add_all(weight.copy_abs() for weight in weights.values() if weight < 0)
    if shorts > bound:
        _refuse(f"short weights sum to {shorts}, the limit is {limits.max_side_weight}")


def _refuse(cause: str) -> NoReturn:
    raise MalformedReply("signals", "fetch", cause)
