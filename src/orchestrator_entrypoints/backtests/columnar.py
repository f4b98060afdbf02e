"""Target weights to whole shares, for days x symbols at once, equal to planning in every cell.

A cell is decided in float64 where that provably decides it as decimals do, and by the decimal path
itself everywhere else; the proof stands in `columnar_blocks`. Floats stand for the decimals that
they print as: 0.1 is a tenth.

Days are gone through in blocks, so that what is worked on stays in the processor's cache; beside
the arrays given and returned, a few megabytes are needed.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

import numpy as np
from attrs import frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import DenialCode
from orchestrator_core.money import parse_money
from orchestrator_core.plans import PlanningPolicy, SkipReason
from orchestrator_entrypoints.backtests.columnar_blocks import Block, Codes, Columns, Shares
from orchestrator_entrypoints.backtests.columnar_cells import (
    CODES,
    BatchFault,
    NotColumnar,
    require_columnar,
)
from orchestrator_entrypoints.backtests.columnar_days import Floats

__all__ = ["CODES", "BatchFault", "ColumnarSizing", "NotColumnar", "size_columns"]

# Cells a block: what is worked on at one time fits into a second-level cache.
CELLS_A_BLOCK = 1 << 16


@frozen(eq=False)
class ColumnarSizing:
    """What became of each cell, days x symbols.

    Attributes:
        shares: What each weight comes to, below zero when short: also where the order is denied or
            too small. 0 where nothing was sized.
        codes: Why no order is sent: places in `CODES`, 0 where one is.
        redone: How many cells floats could not decide.
    """

    shares: Shares
    codes: Codes
    redone: int

    @property
    def sent(self) -> Shares:
        """The shares of orders that are sent, 0 elsewhere; a new array."""
        return np.where(self.codes == 0, self.shares, 0)

    def why(self, day: int, column: int) -> SkipReason | DenialCode | BatchFault | None:
        """Return why a cell's order is not sent; None if it is."""
        return CODES[int(self.codes[day, column])]


def size_columns(
    weights: Floats,
    prices: Floats,
    policy: PlanningPolicy,
    *,
    symbols: Sequence[Symbol],
    capitals: Sequence[Decimal] | None = None,
) -> ColumnarSizing:
    """Return what `plan_orders` decides of each day's weights, cell by cell the same.

    Prices are taken as fresh; days are decided as not dry, on an account without open questions. A
    day whose weights `check_batch` would refuse is marked so as a whole.

    Args:
        weights: Days x symbols, fractions of capital; positive long, negative short.
        prices: Days x symbols, account currency per share; nan where there is none.
        policy: Sizing and limits in force on every day.
        symbols: Of the columns.
        capitals: One a day, account currency, instead of the policy's.

    Raises:
        NotColumnar: The policy, or a quantity, is none that arrays can stand for.
        ValueError: A weight is not finite, a price is none that a quote may have, capital or cap is
            no amount of money, or shapes do not fit.

    >>> from orchestrator_core.limits import Limits
    >>> from orchestrator_core.sizing import SizingPolicy
    >>> policy = PlanningPolicy(SizingPolicy(Decimal(100_000), Decimal(20_000)), Limits())
    >>> weights, prices = np.array([[0.29, -0.1]]), np.array([[100.0, np.nan]])
    >>> sizing = size_columns(weights, prices, policy, symbols=[Symbol("KO"), Symbol("MMM")])
    >>> sizing.shares.tolist(), str(sizing.why(0, 1))
    ([[200, 0]], 'price_unavailable')
    """
    require_columnar(policy)
    columns = _columns_of(policy, symbols, capitals)
    _require_shapes(weights, prices, columns)
    shares, codes = np.empty(weights.shape, np.int64), np.zeros(weights.shape, np.uint8)
    redone = 0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for days in _blocks(*weights.shape):
            block = Block(columns, days, weights[days], prices[days], shares[days], codes[days])
            redone += block.decide()
    return ColumnarSizing(shares, codes, redone)


def _columns_of(
    policy: PlanningPolicy, symbols: Sequence[Symbol], capitals: Sequence[Decimal] | None
) -> Columns:
    if not symbols or len(set(symbols)) < len(symbols):
        raise ValueError("symbols: expected at least one, and none twice")
    amounts = (policy.sizing.capital, *(capitals or ()), policy.sizing.max_position_size)
    for amount in amounts:
        parse_money(amount)
    return Columns(policy, tuple(symbols), None if capitals is None else tuple(capitals))


def _require_shapes(weights: Floats, prices: Floats, columns: Columns) -> None:
    days, width = len(weights), len(columns.symbols)
    for name, values in (("weights", weights), ("prices", prices)):
        if values.dtype != np.float64:
            raise ValueError(f"{name}: expected float64, got {values.dtype}")
        if values.shape != (days, width):
            raise ValueError(f"{name}: expected shape {(days, width)}, got {values.shape}")
    if columns.capitals is not None and len(columns.capitals) != days:
        raise ValueError(f"capitals: expected {days} amounts, got {len(columns.capitals)}")


def _blocks(days: int, width: int) -> Iterator[slice]:
    step = max(1, CELLS_A_BLOCK // width)
    return (slice(first, min(first + step, days)) for first in range(0, days, step))
