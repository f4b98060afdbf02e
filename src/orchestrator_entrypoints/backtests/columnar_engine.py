"""Runs decided by arrays: a date's targets sized at once, and orders that fill.

Sizes are those of `columnar`, cell by cell what planning gives; what is lacking of a target is the
core's own difference. What is shown of a run beside that is computed as the core computes it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from math import nan

import numpy as np
from attrs import define, evolve, field

from orchestrator_core.allocating import Allocation, allocation_between
from orchestrator_core.differences import Difference, difference
from orchestrator_core.errors import MalformedReply
from orchestrator_core.identifiers import Symbol
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.limits import DenialCode, Limits
from orchestrator_core.model import SignalBatch
from orchestrator_core.money import MAX_MONEY, WIDE, ZERO, multiply
from orchestrator_core.plans import PlanningPolicy, SkipReason
from orchestrator_core.requests import RunRequest
from orchestrator_core.signals import check_batch
from orchestrator_core.sizing import SizingMode, SizingPolicy, SizingRules
from orchestrator_entrypoints.backtests.account import Account
from orchestrator_entrypoints.backtests.columnar import ColumnarSizing, size_columns
from orchestrator_entrypoints.backtests.columnar_cells import (
    NotColumnar,
    hindrance,
    intent_of,
    require_columnar,
)
from orchestrator_entrypoints.backtests.engines import Decided
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.inputs import Inputs
from orchestrator_entrypoints.backtests.market import Market
from orchestrator_entrypoints.backtests.outcomes import RunFigures
from orchestrator_entrypoints.backtests.policy import BacktestPolicy

# Why orders are not sent; None counts those that are.
Whys = Counter[SkipReason | DenialCode | None]

# Symbols, and the shares of the orders of each, so signed.
_Orders = list[tuple[Symbol, tuple[int, ...]]]


@define
class ColumnarEngine:
    """An account whose runs are decided by arrays."""

    policy: BacktestPolicy
    model: FillModel
    rules: SizingRules
    account: Account
    # What targets are sized by, and bounded by; what judges orders that are differences.
    _sized_by: SizingRules = field(init=False)
    _limited_by: Limits = field(init=False)
    _judged_by: PlanningPolicy | None = field(init=False)

    @classmethod
    def begin(cls, policy: BacktestPolicy, model: FillModel, inputs: Inputs) -> "ColumnarEngine":
        """Return the account on the first date.

        Raises:
            NotColumnar: The policy is none that arrays can stand for.
        """
        arrays = cls(policy, model, policy.rules_for(inputs.symbols), Account(policy.capital))
        sizing = SizingPolicy(policy.capital, policy.capital, arrays._sized_by)
        require_columnar(PlanningPolicy(sizing, policy.limits))
        return arrays

    @_sized_by.default
    def _as_targets(self) -> SizingRules:
        least = ZERO if self.is_delta else self.rules.min_order_notional
        mode = SizingMode.ABSOLUTE
        return evolve(self.rules, mode=mode, closes_absent=False, min_order_notional=least)

    @_limited_by.default
    def _of_targets(self) -> Limits:
        # In delta mode a target is no order: what bounds one looks at the difference.
        if not self.is_delta:
            return self.policy.limits
        limits = self.policy.limits
        return Limits(
            max_signal_weight=limits.max_signal_weight, max_side_weight=limits.max_side_weight
        )

    @_judged_by.default
    def _of_differences(self) -> PlanningPolicy | None:
        judges = self._limited_by != self.policy.limits or self.rules.min_order_notional
        if not (self.is_delta and judges):
            return None
        sizing = SizingPolicy(self.policy.capital, self.policy.capital, self.rules)
        return PlanningPolicy(sizing, self.policy.limits)

    @property
    def is_delta(self) -> bool:
        """Whether an order is what is lacking of its target."""
        return self.rules.mode is SizingMode.DELTA

    def decide(self, batch: SignalBatch, request: RunRequest, market: Market) -> Decided:
        """Decide a date's run, and count its fills in the account.

        Raises:
            NotColumnar: A quantity is none that arrays can stand for.
        """
        try:
            check_batch(batch, request, self.policy.limits)
        except MalformedReply as error:
            return Decided(RunFigures(RunStatus.FAILED.value, error.cause))
        sizing = self._size(batch, request, market)
        codes = Counter(sizing.why(0, column) for column in range(len(batch.signals)))
        orders, denied = self._orders(batch, sizing, market.closes)
        held = self.account.shares if self.is_delta else {}
        got = {symbol: held.get(symbol, 0) + sum(legs) for symbol, legs in orders}
        allocation = self._allocation(batch, request, market.closes, got)
        fills = [
            self.model.fill(intent_of(symbol, shares), market.next_prices[symbol], is_partial=False)
            for symbol, legs in orders
            for shares in legs
        ]
        self.account.book(fills)
        whys = (codes + denied).items()
        denials = {why.value: count for why, count in whys if isinstance(why, DenialCode)}
        figures = RunFigures(
            run_status=RunStatus.COMPLETED.value,
            orders=len(fills),
            filled=len(fills),
            denials=dict(sorted(denials.items())),
            leftover_cash=allocation.leftover_cash,
            tracking_error=allocation.tracking_error,
        )
        return Decided(figures, tuple(fills))

    def notes(self) -> Iterator[str]:
        if self.policy.keeps_runs:
            yield "arrays keep no orders and no runs: nothing can be listed or explained"

    def _size(self, batch: SignalBatch, request: RunRequest, market: Market) -> ColumnarSizing:
        if request.capital > MAX_MONEY:
            raise NotColumnar(f"a capital beyond {MAX_MONEY:f}")
        closes = market.closes
        symbols = [signal.symbol for signal in batch.signals]
        sizing = SizingPolicy(request.capital, request.max_position_size, self._sized_by)
        return size_columns(
            np.array([[signal.target_weight for signal in batch.signals]], np.float64),
            np.array([[float(closes[each]) if each in closes else nan for each in symbols]]),
            PlanningPolicy(sizing, self._limited_by),
            symbols=symbols,
        )

    def _orders(
        self, batch: SignalBatch, sizing: ColumnarSizing, closes: Mapping[Symbol, Decimal]
    ) -> tuple[_Orders, Whys]:
        """Return the orders of each symbol that something is decided on, and why others are not."""
        symbols = [signal.symbol for signal in batch.signals]
        targets = dict(zip(symbols, sizing.sent[0].tolist(), strict=True))
        if not self.is_delta:
            return [(each, (shares,) if shares else ()) for each, shares in targets.items()], Whys()
        held = self.account.shares
        if self.rules.closes_absent:
            targets |= dict.fromkeys(sorted(held.keys() - targets.keys()), 0)
        lots = self.rules.lot_of
        lacking = [
            (each, difference(target, held=held.get(each, 0), on_order=0, lot=lots(each)))
            for each, target in targets.items()
        ]
        if self._judged_by is None:
            return [(each, found.legs) for each, found in lacking], Whys()
        return _judge(lacking, closes, self._judged_by)

    def _allocation(
        self,
        batch: SignalBatch,
        request: RunRequest,
        closes: Mapping[Symbol, Decimal],
        got: Mapping[Symbol, int],
    ) -> Allocation:
        """Return how near the shares got come to the weights, as `allocation_of` does of a plan."""
        sizing = SizingPolicy(request.capital, request.max_position_size, self.rules)
        weights = {signal.symbol: signal.weight for signal in batch.signals}
        return allocation_between(
            {each: WIDE.multiply(weights.get(each, ZERO), sizing.investable) for each in got},
            {each: multiply(closes.get(each, ZERO), shares) for each, shares in got.items()},
            sizing.investable,
        )


def _judge(
    lacking: Iterable[tuple[Symbol, Difference]],
    closes: Mapping[Symbol, Decimal],
    policy: PlanningPolicy,
) -> tuple[_Orders, Whys]:
    """Return the orders that are sent, and why the others are not: as planning decides it.

    Where the first leg of a flip is denied, so is the second.
    """
    sent: _Orders = []
    denied = Whys()
    for symbol, found in lacking:
        whys = [
            hindrance(shares, closes[symbol], symbol, policy, closes=found.closes(leg))
            for leg, shares in enumerate(found.legs)
        ]
        is_denied = bool(whys) and isinstance(whys[0], DenialCode)
        if is_denied and not isinstance(whys[-1], SkipReason):
            whys = [whys[0]] * len(whys)
        denied.update(whys)
        gone = tuple(shares for shares, why in zip(found.legs, whys, strict=True) if why is None)
        sent.append((symbol, gone))
    return sent, denied
