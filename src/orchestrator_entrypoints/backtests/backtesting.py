"""Backtests: for each date the production workflow, over history.

The signals of a date are decided on at its close, and their orders trade at the next price there
is: no decision sees a price that it trades at. The signals of the last date therefore make no run.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import ROUND_DOWN, Decimal
from typing import Any

from attrs import asdict, evolve, frozen

from orchestrator_core.model import SignalBatch
from orchestrator_core.money import ZERO, rounded
from orchestrator_core.sizing import SizingMode
from orchestrator_entrypoints.backtests.columnar_cells import NotColumnar
from orchestrator_entrypoints.backtests.engines import (
    Decided,
    Engine,
    FaithfulEngine,
    why_not_columnar,
)
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
        opens: The same of the opens; orders trade at them where they are given, unless `fills`
            says otherwise.
        policy: Under what is decided.
        fills: What becomes of orders.
        progress: Told after each date how many are done, and of how many.

    Raises:
        BacktestDataError: It says where signals or prices are wrong.
        TypeError: The policy or the fills are of another kind.
        ValueError: A fault is of a date that has no run.

    >>> closes = {"2024-01-02": {"KO": 50}, "2024-01-03": {"KO": 60}, "2024-01-04": {"KO": 66}}
    >>> result = backtest([("2024-01-02", "KO", 0.6)], closes)
    >>> [str(day.equity) for day in result.days]
    ['100000', '100000', '107200']
    """
    policy, fills = policy or BacktestPolicy(), fills or FillModel()
    for name, given, kind in (("policy", policy, BacktestPolicy), ("fills", fills, FillModel)):
        if not isinstance(given, kind):
            raise TypeError(f"{name}: expected a {kind.__name__}, got {type(given).__name__}")
    inputs = read_inputs(signals, prices, opens, fills.at)
    return backtest_inputs(inputs, policy=policy, fills=fills, progress=progress)


def backtest_inputs(
    inputs: Inputs, *, policy: BacktestPolicy, fills: FillModel, progress: Progress | None = None
) -> BacktestResult:
    """Do as `backtest`, over inputs that were read once for many.

    Raises:
        ValueError: A fault is of a date that has no run.
    """
    days = _rebalance_days(inputs, policy)
    traded = {day: inputs.batches[day] for day in days if day != inputs.dates[-1]}
    for fault in fills.faults:
        if fault.day not in traded:
            raise ValueError(f"faults: no run is decided on {fault.day}")
    run = _Backtest(inputs, policy, fills, traded, _onward(progress))
    if policy.engine == "faithful" or (policy.engine == "auto" and policy.keeps_runs):
        return run.faithful()
    try:
        return run.columnar()
    except NotColumnar as refused:
        return run.faithful(f"decided by the workflow, not by arrays: {refused.reason}")


def in_words(policy: BacktestPolicy, inputs: Inputs, fills: FillModel) -> Mapping[str, str]:
    """Return under what is decided, and how orders fill, by name."""
    return {**policy.in_words(), "fills": inputs.at.value, **fills.in_words()}


def _rebalance_days(inputs: Inputs, policy: BacktestPolicy) -> list[date]:
    return sorted(inputs.batches)[:: policy.rebalance_every]


def _onward(progress: Progress | None) -> Progress:
    """Return what tells of each date once, though an engine gives up and another begins anew."""
    most = 0

    def tell(done: int, of: int) -> None:
        nonlocal most
        if progress is not None and done > most:
            most = done
            progress(done, of)

    return tell


@frozen
class _Backtest:
    """One backtest, whatever decides.

    Attributes:
        traded: The signals that make a run, by date.
    """

    inputs: Inputs
    policy: BacktestPolicy
    model: FillModel
    traded: Mapping[date, SignalBatch]
    progress: Progress

    def faithful(self, *notes: str) -> BacktestResult:
        """Let the production workflow decide."""
        engine = FaithfulEngine.begin(self.policy, self.model, self.inputs)
        return self._live(engine, "faithful", *notes)

    def columnar(self) -> BacktestResult:
        """Let arrays decide.

        Raises:
            NotColumnar: They would not decide the same, or cannot.
        """
        reason = why_not_columnar(self.model, self.inputs, self.traded)
        if reason is not None:
            raise NotColumnar(reason)
        from orchestrator_entrypoints.backtests.columnar_engine import (  # noqa: PLC0415 - numpy
            ColumnarEngine,
        )

        engine = ColumnarEngine.begin(self.policy, self.model, self.inputs)
        return self._live(engine, "columnar")

    def _live(self, engine: Engine, name: str, *notes: str) -> BacktestResult:
        """Go through the dates, each valued at its close, then decided on."""
        days: list[Day] = []
        runs: list[KeptRun] = []
        orders: list[OrderRow] = []
        valuing = Valuing(self.policy.capital)
        fills: Sequence[Fill] = ()
        for place, day in enumerate(self.inputs.dates):
            closes = self.inputs.closes_at(place)
            row = valuing.value(day, engine.account, closes, fills)
            fills = ()
            batch, capital = self.traded.get(day), self._capital(row)
            if batch is not None and capital > 0:
                decided = self._decide(engine, batch, capital, place, closes)
                fills = decided.fills
                row = evolve(row, **asdict(decided.figures, recurse=False))
                runs += [] if decided.run is None else [decided.run]
                orders += decided.orders
            days.append(row)
            self.progress(len(days), len(self.inputs.dates))
        return BacktestResult(
            days=tuple(days),
            orders=tuple(orders),
            runs=tuple(runs),
            capital=self.policy.capital,
            policy=in_words(self.policy, self.inputs, self.model),
            engine=name,
            notes=(*notes, *engine.notes(), *self._notes(days)),
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
        return ZERO if _is_ruined(row) else rounded(row.equity, CENT, ROUND_DOWN)

    def _notes(self, days: Sequence[Day]) -> Iterator[str]:
        yield from _failures(days)
        yield from self.inputs.notes
        if self.policy.rules.mode is not SizingMode.DELTA:
            yield "in absolute mode each date's orders come on top of what is held"
        last = self.inputs.dates[-1]
        if last in _rebalance_days(self.inputs, self.policy):
            yield f"the signals of {last} have no later price to trade at: no run"
        if self.policy.compounds and any(map(_is_ruined, days)):
            yield "where the account is worth nothing at a close, there is no run"
        idle = {day.date for day in days if day.run_status is None}
        for fault in self.model.faults:
            if fault.day in idle:
                yield f"{fault.kind} on {fault.day} met no run"
        limits, lots = self.policy.limits, self.policy.rules.lot_sizes
        named = limits.restricted_symbols | (limits.allowed_symbols or frozenset()) | lots.keys()
        unknown = sorted(named - self.inputs.symbols)
        if unknown:
            yield f"the policy names what has no prices: {', '.join(unknown[:MOST_REASONS])}"
        made = [day for day in days if day.run_status is not None]
        if made and not any(day.orders or day.denials or day.has_failed_run for day in made):
            yield "no run made an order: each target is less than a share, a lot or the least order"


def _is_ruined(day: Day) -> bool:
    return day.equity < CENT


def _failures(days: Sequence[Day]) -> Iterator[str]:
    """Say why runs failed or were not begun, the most frequent reasons first."""
    reasons = Counter(
        (day.run_status, day.failure or "no order of it was taken")
        for day in days
        if day.has_failed_run
    )
    told = reasons.most_common(MOST_REASONS)
    for (status, reason), count in told:
        runs = "1 run" if count == 1 else f"{count:,} runs"
        yield f"{runs} {status}: {reason}"
    others = reasons.total() - sum(count for _, count in told)
    if others:
        yield f"{others:,} more runs failed, for other reasons"
