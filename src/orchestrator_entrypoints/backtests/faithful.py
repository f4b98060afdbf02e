"""Backtests: for each date the production workflow, over history.

The signals of a date are decided on at its close, and their orders trade at the next price there
is: no decision sees a price that it trades at. The signals of the last date therefore make no run.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from decimal import ROUND_DOWN, Decimal
from typing import Any

from attrs import asdict, define, evolve, field

from orchestrator_core.driver import run_sync
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import SignalBatch
from orchestrator_core.money import ZERO
from orchestrator_entrypoints.backtests.fills import Fill, FillModel
from orchestrator_entrypoints.backtests.inputs import Inputs, Prices, read_inputs
from orchestrator_entrypoints.backtests.kept_runs import KeptRun
from orchestrator_entrypoints.backtests.outcomes import figures_of, kept_run_of, rows_of
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.result import BacktestResult, Day, OrderRow
from orchestrator_entrypoints.backtests.stage import Stage, Staged
from orchestrator_entrypoints.backtests.valuing import Valuing

CENT = Decimal("0.01")

# Told how many dates are done, and of how many.
Progress = Callable[[int, int], None]


def backtest(
    signals: Any,
    prices: Any,
    *,
    opens: Any = None,
    policy: BacktestPolicy | None = None,
    fills: FillModel | None = None,
    progress: Progress | None = None,
) -> BacktestResult:
    """Trade signals over history as the service would, and return what came of it.

    Signals, closes and opens may be rows, mappings, arrays with labels, or frames: see `frames`.

    Args:
        signals: Weights by date and symbol, fractions of capital, positive long, negative short; or
            whole `SignalBatch`es, one a date. A date's signals may know its close.
        prices: Closes by date and symbol, account currency per share.
        opens: The same of the opens; orders trade at them where they are given.
        policy: Under what is decided.
        fills: What becomes of orders.
        progress: Told after each date how many are done, and of how many.

    Raises:
        BacktestDataError: It says where signals or prices are wrong.
        ValueError: A fault is of a date that has no run.

    >>> closes = {"2024-01-02": {"KO": 50}, "2024-01-03": {"KO": 60}, "2024-01-04": {"KO": 66}}
    >>> result = backtest([("2024-01-02", "KO", 0.6)], closes)
    >>> [str(day.equity) for day in result.days]
    ['100000', '100000', '107200']
    """
    policy, fills = policy or BacktestPolicy(), fills or FillModel()
    inputs = read_inputs(signals, prices, opens, fills.at)
    simulation = _Simulation(inputs, policy, fills)
    days = []
    for day in simulation.live():
        days.append(day)
        if progress is not None:
            progress(len(days), len(inputs.dates))
    return BacktestResult(
        days=tuple(days),
        orders=tuple(simulation.orders),
        runs=tuple(simulation.runs),
        capital=policy.capital,
        policy={**policy.in_words(), "fills": inputs.at.value, **fills.in_words()},
        notes=tuple(simulation.notes),
    )


@define
class _Simulation:
    """One backtest under way.

    Attributes:
        orders: Of the runs so far; empty where they are not kept.
        runs: The same.
        notes: What the reader should know.
    """

    inputs: Inputs
    policy: BacktestPolicy
    model: FillModel
    orders: list[OrderRow] = field(factory=list, init=False)
    runs: list[KeptRun] = field(factory=list, init=False)
    notes: list[str] = field(factory=list, init=False)

    def live(self) -> Iterator[Day]:
        """Go through the dates, each valued at its close."""
        dates, policy = self.inputs.dates, self.policy
        traded = self._traded()
        stage = run_sync(
            Stage.set_up(
                policy.run_policy(self.inputs.symbols),
                self.model,
                cash=policy.capital,
                first=dates[0],
            )
        )
        valuing = Valuing(policy.capital)
        fills: Sequence[Fill] = ()
        for place, day in enumerate(dates):
            closes = self.inputs.closes_at(place)
            row = valuing.value(day, stage.account, closes, fills)
            fills = ()
            batch = traded.get(day)
            capital = self._capital(row)
            if batch is not None and capital > 0:
                staged = self._decide(stage, batch, capital, place, closes)
                fills = staged.fills
                row = evolve(row, **asdict(figures_of(staged), recurse=False))
            yield row

    def _decide(
        self, stage: Stage, batch: SignalBatch, capital: Decimal, place: int, closes: Prices
    ) -> Staged:
        day = batch.as_of_date
        symbols: tuple[Symbol, ...] = tuple(signal.symbol for signal in batch.signals)
        staged = run_sync(
            stage.live_through(
                batch,
                self.policy.request(symbols, day, capital),
                self.inputs.market(place, closes),
                self.model.faults_on(day),
            )
        )
        if self.policy.keep_runs:
            self.runs.append(kept_run_of(staged, self.policy.strategy_id, day))
            self.orders.extend(rows_of(staged, day))
        return staged

    def _capital(self, row: Day) -> Decimal:
        """Return what a weight of 1 stands for, in cents; 0 where nothing is left."""
        if not self.policy.compounds:
            return self.policy.capital
        if row.equity < CENT:
            note = "where the account is worth nothing at a close, there is no run"
            if note not in self.notes:
                self.notes.append(note)
            return ZERO
        return row.equity.quantize(CENT, rounding=ROUND_DOWN)

    def _traded(self) -> dict[date, SignalBatch]:
        """Return the signals that make a run, by date."""
        batches, last = self.inputs.batches, self.inputs.dates[-1]
        days = sorted(batches)[:: self.policy.rebalance_every]
        if last in days:
            self.notes.append(f"the signals of {last} have no later price to trade at: no run")
        traded = {day: batches[day] for day in days if day != last}
        for fault in self.model.faults:
            if fault.day not in traded:
                raise ValueError(f"faults: no run is decided on {fault.day}")
        return traded
