"""Backtests: for each date the production workflow, over history.

The signals of a date are decided on at its close, and their orders trade at the next price there
is: no decision sees a price that it trades at. The signals of the last date therefore make no run.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from decimal import ROUND_DOWN, Decimal
from typing import Any

from attrs import asdict, evolve, frozen

from orchestrator_core.model import SignalBatch
from orchestrator_core.money import ZERO
from orchestrator_entrypoints.backtests.columnar_cells import NotColumnar
from orchestrator_entrypoints.backtests.engines import Decided, Engine, Workflow, why_not_arrays
from orchestrator_entrypoints.backtests.fills import Fill, FillModel
from orchestrator_entrypoints.backtests.inputs import Inputs, Prices, asked_for, read_inputs
from orchestrator_entrypoints.backtests.kept_runs import KeptRun
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.result import BacktestResult, Day, OrderRow
from orchestrator_entrypoints.backtests.valuing import Valuing

CENT = Decimal("0.01")

# Beyond these, reasons why runs failed stand in the days' rows alone.
MOST_REASONS = 3

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
    return backtest_inputs(inputs, policy=policy, fills=fills, progress=progress)


def backtest_inputs(
    inputs: Inputs, *, policy: BacktestPolicy, fills: FillModel, progress: Progress | None = None
) -> BacktestResult:
    """Do as `backtest`, over inputs that were read once for many.

    Raises:
        ValueError: A fault is of a date that has no run.
    """
    run = _Backtest(inputs, policy, fills, progress)
    if policy.engine == "faithful" or (policy.engine == "auto" and policy.keep_runs):
        return run.by_workflow()
    try:
        return run.by_arrays()
    except NotColumnar as refused:
        return run.by_workflow(f"decided by the workflow, not by arrays: {refused.reason}")


@frozen
class _Backtest:
    """One backtest, whatever decides."""

    inputs: Inputs
    policy: BacktestPolicy
    model: FillModel
    progress: Progress | None

    def by_workflow(self, *notes: str) -> BacktestResult:
        """Let the production workflow decide."""
        workflow = Workflow.begin(self.policy, self.model, self.inputs)
        return self._live(workflow, "faithful", notes)

    def by_arrays(self) -> BacktestResult:
        """Let arrays decide.

        Raises:
            NotColumnar: They would not decide the same, or cannot.
        """
        reason = why_not_arrays(self.policy, self.model, self.inputs, self._traded())
        if reason is not None:
            raise NotColumnar(reason)
        from orchestrator_entrypoints.backtests.arrays import Arrays  # noqa: PLC0415 - needs numpy

        arrays = Arrays.begin(self.policy, self.model, self.inputs)
        kept = ["arrays keep no runs: nothing can be explained"] if self.policy.keep_runs else []
        return self._live(arrays, "columnar", kept)

    def _live(self, engine: Engine, name: str, notes: Iterable[str]) -> BacktestResult:
        """Go through the dates, each valued at its close, then decided on."""
        days: list[Day] = []
        runs: list[KeptRun] = []
        orders: list[OrderRow] = []
        traded = self._traded()
        valuing = Valuing(self.policy.capital)
        fills: Sequence[Fill] = ()
        for place, day in enumerate(self.inputs.dates):
            closes = self.inputs.closes_at(place)
            row = valuing.value(day, engine.account, closes, fills)
            fills = ()
            batch, capital = traded.get(day), self._capital(row)
            if batch is not None and capital > 0:
                decided = self._decide(engine, batch, capital, place, closes)
                fills = decided.fills
                row = evolve(row, **asdict(decided.figures, recurse=False))
                runs += [] if decided.run is None else [decided.run]
                orders += decided.orders
            days.append(row)
            if self.progress is not None:
                self.progress(len(days), len(self.inputs.dates))
        return BacktestResult(
            days=tuple(days),
            orders=tuple(orders),
            runs=tuple(runs),
            capital=self.policy.capital,
            policy={
                **self.policy.in_words(),
                "fills": self.inputs.at.value,
                **self.model.in_words(),
            },
            engine=name,
            notes=(*notes, *self._notes(days)),
        )

    def _decide(
        self, engine: Engine, batch: SignalBatch, capital: Decimal, place: int, closes: Prices
    ) -> Decided:
        symbols = asked_for(batch, engine.account.shares)
        request = self.policy.request(symbols, batch.as_of_date, capital)
        return engine.decide(batch, request, self.inputs.market(place, closes))

    def _capital(self, row: Day) -> Decimal:
        """Return what a weight of 1 stands for, in cents; 0 where nothing is left."""
        if not self.policy.compounds:
            return self.policy.capital
        return ZERO if row.equity < CENT else row.equity.quantize(CENT, rounding=ROUND_DOWN)

    def _traded(self) -> dict[date, SignalBatch]:
        """Return the signals that make a run, by date.

        Raises:
            ValueError: A fault is of a date that has no run.
        """
        last = self.inputs.dates[-1]
        days = sorted(self.inputs.batches)[:: self.policy.rebalance_every]
        traded = {day: self.inputs.batches[day] for day in days if day != last}
        for fault in self.model.faults:
            if fault.day not in traded:
                raise ValueError(f"faults: no run is decided on {fault.day}")
        return traded

    def _notes(self, days: Sequence[Day]) -> Iterator[str]:
        yield from _failures(days)
        last = self.inputs.dates[-1]
        if last in sorted(self.inputs.batches)[:: self.policy.rebalance_every]:
            yield f"the signals of {last} have no later price to trade at: no run"
        if self.policy.compounds and any(day.equity < CENT for day in days):
            yield "where the account is worth nothing at a close, there is no run"


def _failures(days: Sequence[Day]) -> Iterator[str]:
    """Say why runs failed or were not begun, the most frequent reasons first."""
    reasons = Counter(
        day.failure or "no order of it was taken" for day in days if day.has_failed_run
    )
    told = reasons.most_common(MOST_REASONS)
    for reason, count in told:
        yield f"{count:,} {'run' if count == 1 else 'runs'} failed: {reason}"
    others = reasons.total() - sum(count for _, count in told)
    if others:
        yield f"{others:,} more runs failed: the rows of their days say why"
