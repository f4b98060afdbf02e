"""The work of a sweep: one backtest a cell."""

import hashlib
from collections.abc import Iterator, Mapping

from attrs import evolve, frozen

from orchestrator_entrypoints.backtests.backtesting import backtest_inputs, in_words
from orchestrator_entrypoints.backtests.figures import figures_of
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.inputs import Inputs
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.policy_fields import policy_with
from orchestrator_entrypoints.sweeps.cells import Cell
from orchestrator_entrypoints.sweeps.code import code_digest


@frozen
class BacktestWork:
    """Inputs that were checked once for all cells, and the policy whose fields the cells vary."""

    inputs: Inputs
    policy: BacktestPolicy
    fills: FillModel

    def in_words(self) -> Mapping[str, str]:
        """Return what all cells have in common, unless they vary it, by name."""
        return in_words(self.policy, self.inputs, self.fills)

    @property
    def digest(self) -> str:
        """What stands for the data, the policy, the fills, and our code."""
        digest = hashlib.sha256(code_digest().encode())
        # In words, since the texts of sets differ from process to process.
        words = {**self.policy.in_words(), "strategy_id": self.policy.strategy_id}
        for part in (words, self.fills, self.inputs.at, *self._rows()):
            digest.update(f"{part!r}\n".encode())
        return digest.hexdigest()

    def _rows(self) -> Iterator[object]:
        for table in (self.inputs.closes, self.inputs.traded):
            yield from ((day, dict(values)) for _, day, values in table.by_date())
        yield from self.inputs.batches.values()

    def __call__(self, cell: Cell) -> Mapping[str, str]:
        """Return the figures of a backtest under the cell's policy.

        Raises:
            ValueError: The cell's fields are none that a policy may have.
        """
        # Orders and runs are not looked at.
        policy = evolve(policy_with(self.policy, cell), keeps_runs=False)
        return figures_of(backtest_inputs(self.inputs, policy=policy, fills=self.fills))
