"""What decides a date's run: the production workflow, or arrays that decide the same.

Arrays are taken where nothing but weights, prices and what is held decides, and where no order
meets a fault: then a run is its sizes, and each order fills. They keep no runs.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from importlib.util import find_spec
from typing import Protocol

from attrs import define, field, frozen

from orchestrator_core.driver import run_sync
from orchestrator_core.model import SignalBatch
from orchestrator_core.requests import RunRequest
from orchestrator_entrypoints.backtests.account import Account
from orchestrator_entrypoints.backtests.fills import Fault, Fill, FillModel
from orchestrator_entrypoints.backtests.inputs import Inputs
from orchestrator_entrypoints.backtests.kept_runs import KeptRun
from orchestrator_entrypoints.backtests.market import Market
from orchestrator_entrypoints.backtests.outcomes import (
    RunFigures,
    kept_run_of,
    rows_of,
    run_figures_of,
)
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.result import OrderRow
from orchestrator_entrypoints.backtests.stage import Stage


@frozen
class Decided:
    """What came of one date's run.

    Attributes:
        fills: Counted in the account by now.
        run: As it is kept; None where runs are not kept.
        orders: Of the run; none where runs are not kept.
    """

    figures: RunFigures
    fills: tuple[Fill, ...] = ()
    run: KeptRun | None = None
    orders: tuple[OrderRow, ...] = ()


class Engine(Protocol):
    """What decides a date's run, and moves the account."""

    @property
    def account(self) -> Account:
        """The account as it stands."""
        ...

    def decide(self, batch: SignalBatch, request: RunRequest, market: Market) -> Decided:
        """Make the run of a date's signals, and count its fills in the account."""
        ...

    def notes(self) -> Iterator[str]:
        """Say what the reader should know of what was decided so far."""
        ...


@define
class FaithfulEngine:
    """The production workflow over ports in memory."""

    model: FillModel
    keeps_runs: bool
    _stage: Stage = field(alias="stage")
    _missed: list[Fault] = field(factory=list, init=False)

    @classmethod
    def begin(cls, policy: BacktestPolicy, model: FillModel, inputs: Inputs) -> "FaithfulEngine":
        """Return the workflow on the first date."""
        stage = run_sync(
            Stage.set_up(
                policy.run_policy(inputs.symbols),
                model,
                cash=policy.capital,
                first=inputs.dates[0],
            )
        )
        return cls(model, policy.keeps_runs, stage)

    @property
    def account(self) -> Account:
        return self._stage.account

    def decide(self, batch: SignalBatch, request: RunRequest, market: Market) -> Decided:
        day = batch.as_of_date
        faults = self.model.faults_on(day)
        staged = run_sync(self._stage.live_through(batch, request, market, faults))
        self._missed += [fault for fault in faults if fault not in self._stage.gateway.befallen]
        figures = run_figures_of(staged)
        if not self.keeps_runs:
            return Decided(figures, staged.fills)
        run = kept_run_of(staged, self._stage.policy.strategy_id, day)
        return Decided(figures, staged.fills, run, tuple(rows_of(staged, day)))

    def notes(self) -> Iterator[str]:
        for fault in self._missed:
            whose = "" if fault.symbol is None else f" of {fault.symbol}"
            yield f"{fault.kind}{whose} on {fault.day} met no order"


def why_not_columnar(
    model: FillModel, inputs: Inputs, traded: Mapping[date, SignalBatch]
) -> str | None:
    """Say why arrays would not decide as the workflow does, or return None.

    What they cannot size is for `columnar_cells.require_columnar` to say.
    """
    if find_spec("numpy") is None:
        return "numpy is not installed: the extra `backtest` brings it"
    if model.faults or model.rejection_rate or model.partial_rate:
        return "orders meet faults"
    if not all(batch.signals for batch in traded.values()):
        return "a batch holds no signal"
    if any(signal.contributions for batch in traded.values() for signal in batch.signals):
        return "signals are netted from several strategies"
    if not inputs.has_floats:
        return "a price has more digits than a float holds"
    return None
