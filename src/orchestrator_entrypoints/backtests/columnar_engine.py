"""Runs decided by arrays: a date's targets sized at once, and orders that fill.

Sizes are those of `columnar`, cell by cell what planning gives; what is lacking of a target is the
core's own difference. What is shown of a run beside that is computed as the core computes it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import nan

import numpy as np
from attrs import define, evolve, field

from orchestrator_core.allocating import Allocation, allocation_between
from orchestrator_core.differences import difference
from orchestrator_core.errors import MalformedReply
from orchestrator_core.identifiers import Symbol
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.limits import DenialCode
from orchestrator_core.model import SignalBatch
from orchestrator_core.money import MAX_MONEY, WIDE, ZERO, multiply
from orchestrator_core.plans import PlanningPolicy
from orchestrator_core.requests import RunRequest
from orchestrator_core.signals import check_batch
from orchestrator_core.sizing import SizingMode, SizingPolicy, SizingRules
from orchestrator_entrypoints.backtests.account import Account
from orchestrator_entrypoints.backtests.columnar import ColumnarSizing, size_columns
from orchestrator_entrypoints.backtests.columnar_cells import (
    BatchFault,
    NotColumnar,
    intent_of,
    require_columnar,
)
from orchestrator_entrypoints.backtests.engines import Decided
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.inputs import Inputs
from orchestrator_entrypoints.backtests.market import Market
from orchestrator_entrypoints.backtests.outcomes import RunFigures
from orchestrator_entrypoints.backtests.policy import BacktestPolicy

# Shares of the orders of one symbol, so signed, and what they make of its position beside targets.
_Orders = list[tuple[Symbol, tuple[int, ...]]]


@define
class ColumnarEngine:
    """An account whose runs are decided by arrays."""

    policy: BacktestPolicy
    model: FillModel
    rules: SizingRules
    account: Account
    _sized_by: SizingRules = field(init=False)

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
        return evolve(self.rules, mode=SizingMode.ABSOLUTE, closes_absent=False)

    @property
    def is_delta(self) -> bool:
        """Whether an order is what is lacking of its target."""
        return self.rules.mode is SizingMode.DELTA

    def decide(self, batch: SignalBatch, request: RunRequest, market: Market) -> Decided:
        """Decide a date's run, and count its fills in the account.

        Raises:
            NotColumnar: A quantity is none that arrays can stand for.
        """
        sizing = self._size(batch, request, market)
        codes = Counter(sizing.why(0, column) for column in range(len(batch.signals)))
        if codes[BatchFault.REFUSED]:
            return Decided(RunFigures(RunStatus.FAILED.value, self._refusal(batch, request)))
        orders = self._orders(batch, sizing)
        held = self.account.shares if self.is_delta else {}
        got = {symbol: held.get(symbol, 0) + sum(legs) for symbol, legs in orders}
        allocation = self._allocation(batch, request, market.closes, got)
        fills = [
            self.model.fill(intent_of(symbol, shares), market.next_prices[symbol], is_partial=False)
            for symbol, legs in orders
            for shares in legs
        ]
        self.account.book(fills)
        denials = {why.value: count for why, count in codes.items() if isinstance(why, DenialCode)}
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
            np.array([[signal.target_weight for signal in batch.signals]]),
            np.array([[float(closes[each]) if each in closes else nan for each in symbols]]),
            PlanningPolicy(sizing, self.policy.limits),
            symbols=symbols,
        )

    def _refusal(self, batch: SignalBatch, request: RunRequest) -> str:
        """Return what the core says of a batch that it refuses."""
        try:
            check_batch(batch, request, self.policy.limits)
        except MalformedReply as error:
            return error.cause
        raise AssertionError(f"{batch.as_of_date}: refused by arrays, and not by the core")

    def _orders(self, batch: SignalBatch, sizing: ColumnarSizing) -> _Orders:
        """Return the orders of each symbol that something is decided on."""
        symbols = [signal.symbol for signal in batch.signals]
        targets = dict(zip(symbols, sizing.sent[0].tolist(), strict=True))
        if not self.is_delta:
            return [(each, (shares,) if shares else ()) for each, shares in targets.items()]
        held = self.account.shares
        if self.rules.closes_absent:
            targets |= dict.fromkeys(sorted(held.keys() - targets.keys()), 0)
        lots = self.rules.lot_of
        return [
            (each, difference(target, held=held.get(each, 0), on_order=0, lot=lots(each)).legs)
            for each, target in targets.items()
        ]

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
