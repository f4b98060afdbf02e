"""Which days' weights a run would refuse as a whole, before it plans anything.

Both are compared in float64, and a day that comes too near to a limit is judged by `check_batch`.

A day's largest weight: a float is what its own decimal rounds to, and rounding keeps order, so the
float is above the rounded limit only if the decimal is above the limit. Equal floats are too near.

The sum of a side is half of the sum of magnitudes plus or minus the sum. Of n weights, each within
2^-53 of its decimal, summed in any order, either sum is off by at most n x 2^-53 of the sum of
magnitudes, to first order, and a side by two more roundings; twice that is allowed for, and four
roundings of the limit. What underflows is far below the limit's own rounding: the tolerance keeps
the limit above a millionth, and ordinary days away from it.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from orchestrator_core.errors import MalformedReply
from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import Limits
from orchestrator_core.model import Signal, SignalBatch
from orchestrator_core.money import WIDE
from orchestrator_core.requests import RunRequest
from orchestrator_core.signals import WEIGHT_SUM_TOLERANCE, check_batch

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ROUNDING = 2.0**-53
_ANY_DAY = date.min


def find_refused_days(
    weights: Floats, magnitudes: Floats, symbols: Sequence[Symbol], limits: Limits
) -> Bools:
    """Return for each day whether a run would refuse its weights.

    Args:
        weights: Days x symbols; finite.
        magnitudes: Their absolute values.
        symbols: Of the columns.
        limits: Bound one weight, and the sum of each side.
    """
    largest: Floats = magnitudes.max(axis=1)
    gross, net = magnitudes.sum(axis=1), weights.sum(axis=1)
    slack = gross * (2 * (len(symbols) + 2) * ROUNDING)
    heaviest = np.maximum(gross + net, gross - net) / 2
    most = float(limits.max_signal_weight)
    most_side = float(WIDE.add(limits.max_side_weight, WEIGHT_SUM_TOLERANCE))
    low, high = most_side * (1 - 4 * ROUNDING), most_side * (1 + 4 * ROUNDING)
    passes = (heaviest + slack < low) & (largest < most)
    refused: Bools = (heaviest - slack > high) | (largest > most)
    # What overflowed is neither: a comparison with nan is false.
    for day in np.flatnonzero(~(passes | refused)):
        refused[day] = _is_refused(weights[day], symbols, limits)
    return refused


def _is_refused(weights: Floats, symbols: Sequence[Symbol], limits: Limits) -> bool:
    signals = tuple(
        Signal(symbol, 0.0, rank, weight)
        for rank, (symbol, weight) in enumerate(
            zip(symbols, weights.tolist(), strict=True), start=1
        )
    )
    # Only the weights are in question: what was asked for is what came.
    request = RunRequest(tuple(symbols), _ANY_DAY, Decimal(1), Decimal(1))
    try:
        check_batch(SignalBatch(signals, _ANY_DAY, len(signals)), request, limits)
    except MalformedReply:
        return True
    return False
