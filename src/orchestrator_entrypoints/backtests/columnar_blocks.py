"""A block of days, decided in float64 where that provably decides as decimals do.

Floats stand for the decimals that they print as: 0.1 is a tenth. With u = 2^-53 and every operation
rounded to nearest:

    weight w, price p (shortest decimals)        either is the float nearest to its decimal
    investable capital I, cap C (decimals)       either is rounded once
    t = |w| x I                                  rounded once
    q = min(t, C) / p                            rounded once

t is off by 3 roundings and C by one, so their minimum, which keeps order, by at most 3, and q by at
most 5: the exact quotient Q lies within q x (1 +- 6u), the sixth for products of errors. q times
1 - 8u and q times 1 + 8u are rounded once more each, so one is at most Q and the other at least.
Where both have one whole part, that is Q's. Where not, the decimal path itself decides the cell.
From 2^50 on the two are further than 1 apart: whole parts that are kept are below.

    out of range   A product that overflows is above every cap, as is the exact one: the minimum is
                   the cap. One that underflows is below 2^-1021, and a price at least 1e-40: both
                   quotients are far below 1, and their whole parts 0.
    lots           For whole a < 2^50 and b, a / b is at least 1 / b short of the next whole number,
                   and rounding moves it by at most a / b x u, less than 1 / b. So its whole part is
                   right, and b times that exact. A lot above 2^53, itself rounded, is above any a.
    notionals      n = p x shares is off by 2 roundings, and a limit by one: n is compared with the
                   limit times 1 - 8u and times 1 + 8u, and where the answers differ, the decimal
                   path decides. Where a limit is too small to be a normal float, every n is above.
    quantities     Shares are exact; a limit that is rounded is above all that are kept.
"""

from decimal import Decimal
from functools import cached_property
from math import inf, isfinite
from typing import NoReturn

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray

from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import DenialCode
from orchestrator_core.money import decimal_of, has_few_digits
from orchestrator_core.plans import PlanningPolicy, SkipReason
from orchestrator_entrypoints.backtests.columnar_cells import (
    CODES,
    MAX_SHARES,
    BatchFault,
    decide_cell,
)
from orchestrator_entrypoints.backtests.columnar_days import (
    ROUNDING,
    Bools,
    Floats,
    find_refused_days,
)

Shares = NDArray[np.int64]
Codes = NDArray[np.uint8]

BOUND = 8 * ROUNDING

# Of a float from here on, at most 40 of its 17 digits are behind the point.
_SMALLEST_SURE_PRICE = 1e-24


@frozen(slots=False, eq=False)
class Columns:
    """What is the same on every day.

    Attributes:
        symbols: Of the columns.
        capitals: Of each day, account currency; None where it is the policy's.
    """

    policy: PlanningPolicy
    symbols: tuple[Symbol, ...]
    capitals: tuple[Decimal, ...] | None

    def policy_of(self, day: int) -> PlanningPolicy:
        """Return the policy with the day's capital."""
        if self.capitals is None:
            return self.policy
        return evolve(self.policy, sizing=evolve(self.policy.sizing, capital=self.capitals[day]))

    def investable(self, days: slice) -> Floats:
        """Return the investable capital as a column, one row a day or one for all."""
        sizing = self.policy.sizing
        if self.capitals is None:
            return np.array([[float(sizing.investable)]])
        each = [evolve(sizing, capital=capital).investable for capital in self.capitals[days]]
        return np.array(each, np.float64)[:, np.newaxis]

    @cached_property
    def lots(self) -> Floats | None:
        """Shares a lot, a column each; None where all are 1."""
        lots = [self.policy.sizing.rules.lot_of(symbol) for symbol in self.symbols]
        return np.array(lots, np.float64) if any(lot > 1 for lot in lots) else None

    @cached_property
    def barred(self) -> Codes:
        """The code of a column whose symbol may not be traded, 0 of one that may."""
        limits = self.policy.limits
        codes = np.zeros(len(self.symbols), np.uint8)
        for column, symbol in enumerate(self.symbols):
            if symbol in limits.restricted_symbols:
                codes[column] = CODES.index(DenialCode.RESTRICTED_SYMBOL)
            elif limits.allowed_symbols is not None and symbol not in limits.allowed_symbols:
                codes[column] = CODES.index(DenialCode.SYMBOL_NOT_ALLOWED)
        return codes


@frozen(slots=False, eq=False)
class Block:
    """Some days' weights and prices, and where their decisions go.

    Attributes:
        days: Which of all days these are.
        shares: To be filled; days x symbols.
        codes: To be filled; all 0 so far.
    """

    columns: Columns
    days: slice
    weights: Floats
    prices: Floats
    shares: Shares
    codes: Codes

    def decide(self) -> int:
        """Fill in shares and codes, and return how many cells took the decimal path.

        Raises:
            NotColumnar: More shares than 64 bits hold.
            ValueError: A weight is not finite, or a price is none that a quote may have.
        """
        magnitudes = np.abs(self.weights)
        self._require_weights(magnitudes)
        priced = self._require_prices()
        limits, symbols = self.columns.policy.limits, self.columns.symbols
        refused = find_refused_days(self.weights, magnitudes, symbols, limits)
        is_zero = magnitudes == 0
        whole, doubtful = self._whole_shares(magnitudes, priced)
        doubtful |= self._judge(whole)
        self._mark(SkipReason.LESS_THAN_ONE_SHARE, whole == 0)
        if priced is not None:
            self._mark(SkipReason.PRICE_UNAVAILABLE, ~priced)
        self._mark(SkipReason.ZERO_WEIGHT, is_zero)
        np.copyto(self.shares, np.copysign(whole, self.weights, out=whole), casting="unsafe")
        if refused.any():
            self.shares[refused], self.codes[refused] = 0, CODES.index(BatchFault.REFUSED)
            doubtful[refused] = False
        return self._redo(doubtful)

    def _whole_shares(self, quotient: Floats, priced: Bools | None) -> tuple[Floats, Bools]:
        """Return unsigned whole lots of shares, and where they are in doubt.

        Args:
            quotient: Magnitudes of the weights, to be overwritten.
            priced: Where there is a price; None where there is one everywhere.
        """
        np.multiply(quotient, self.columns.investable(self.days), out=quotient)
        cap = float(self.columns.policy.sizing.max_position_size)
        np.minimum(quotient, cap, out=quotient)
        np.divide(quotient, self.prices, out=quotient)
        if priced is not None:
            quotient[~priced] = 0
        least = quotient * (1 - BOUND)
        np.floor(least, out=least)
        np.multiply(quotient, 1 + BOUND, out=quotient)
        np.floor(quotient, out=quotient)
        doubtful = least != quotient
        if self.columns.lots is not None:
            np.divide(least, self.columns.lots, out=least)
            np.floor(least, out=least)
            np.multiply(least, self.columns.lots, out=least)
        return least, doubtful

    def _judge(self, whole: Floats) -> Bools:
        """Mark what is denied or too small, and return where that is in doubt.

        The first of several reasons counts: it is marked last.
        """
        policy = self.columns.policy
        least, limits = policy.sizing.rules.min_order_notional, policy.limits
        doubtful = np.zeros(whole.shape, np.bool_)
        if limits.max_order_notional is not None:
            below, above = _compare(self.prices * whole, limits.max_order_notional)
            self._mark(DenialCode.MAX_ORDER_NOTIONAL, above)
            doubtful |= below == above
        if limits.max_order_qty is not None:
            self._mark(DenialCode.MAX_ORDER_QTY, whole > min(limits.max_order_qty, MAX_SHARES))
        if self.columns.barred.any():
            np.copyto(self.codes, self.columns.barred, where=self.columns.barred > 0)
        if least > 0:
            below, above = _compare(self.prices * whole, least)
            self._mark(SkipReason.LESS_THAN_MINIMUM, below)
            doubtful |= below == above
        return doubtful & (whole > 0)

    def _mark(self, why: SkipReason | DenialCode | BatchFault, where: Bools) -> None:
        if where.any():
            np.putmask(self.codes, where, CODES.index(why))

    def _redo(self, doubtful: Bools) -> int:
        """Decide cells by the decimal path, and return how many."""
        rows, columns = np.nonzero(doubtful)
        policy, policy_row = self.columns.policy, -1
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            if row != policy_row:
                policy, policy_row = self.columns.policy_of(self.days.start + row), row
            weight, price = float(self.weights[row, column]), float(self.prices[row, column])
            shares, code = decide_cell(weight, price, self.columns.symbols[column], policy)
            self.shares[row, column], self.codes[row, column] = shares, code
        return len(rows)

    def _require_weights(self, magnitudes: Floats) -> None:
        if not isfinite(magnitudes.max()):
            self._refuse("weights", self.weights, ~np.isfinite(magnitudes))

    def _require_prices(self) -> Bools | None:
        """Return where there is a price; None if everywhere."""
        prices = self.prices
        if prices.min() >= _SMALLEST_SURE_PRICE and prices.max() < inf:
            return None
        priced = ~np.isnan(prices)
        unsure = priced & ~((prices >= _SMALLEST_SURE_PRICE) & (prices < inf))
        for row, column in zip(*np.nonzero(unsure), strict=True):
            unsure[row, column] = not _is_quotable(float(prices[row, column]))
        if unsure.any():
            self._refuse("prices", prices, unsure)
        return priced

    def _refuse(self, name: str, values: Floats, wrong: Bools) -> NoReturn:
        row, column = (int(places[0]) for places in np.nonzero(wrong))
        where = f"on day {self.days.start + row} of {self.columns.symbols[column]}"
        wanted = "a finite number" if name == "weights" else "what a quote may be, or nan"
        raise ValueError(f"{name}: expected {wanted}, got {float(values[row, column])!r} {where}")


def _is_quotable(price: float) -> bool:
    return isfinite(price) and price > 0 and has_few_digits(decimal_of(price))


def _compare(notionals: Floats, limit: Decimal) -> tuple[Bools, Bools]:
    """Return where notionals are certainly below a limit, and where above; neither is in doubt."""
    bound = float(limit)
    return notionals < bound * (1 - BOUND), notionals > bound * (1 + BOUND)
