"""The work of a sweep: one backtest a cell."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cached_property

from attrs import evolve, frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_entrypoints.backtests.faithful import backtest_inputs
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.inputs import Inputs, read_inputs
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.reports.figures import figures_of
from orchestrator_entrypoints.sweeps.cells import Cell
from orchestrator_entrypoints.sweeps.policy_fields import policy_with

Row = tuple[date, Symbol, Decimal]


@frozen
class Backtesting:
    """History, and the policy whose fields the cells vary.

    Attributes:
        signals: Date, symbol, fraction of capital.
        closes: Date, symbol, account currency per share.
        opens: The same of opens; None where there are none.
    """

    signals: tuple[Row, ...]
    closes: tuple[Row, ...]
    opens: tuple[Row, ...] | None
    policy: BacktestPolicy
    fills: FillModel

    @cached_property
    def _inputs(self) -> Inputs:
        # Each process reads its rows once, for all of its cells.
        return read_inputs(self.signals, self.closes, self.opens, self.fills.at)

    def check(self) -> None:
        """Refuse data that no backtest can be made of.

        Raises:
            BacktestDataError: It names the first row that is wrong.
        """
        _ = self._inputs

    def __call__(self, cell: Cell) -> Mapping[str, str]:
        """Return the figures of a backtest under the cell's policy.

        Raises:
            ValueError: The cell's fields, or the data, are none that a backtest can be made of.
        """
        # Orders and runs are not looked at.
        policy = evolve(policy_with(self.policy, cell), keep_runs=False)
        return figures_of(backtest_inputs(self._inputs, policy=policy, fills=self.fills))
