"""From record to backtest: the recorded decisions of a period, under other policies.

Two questions are answered. What each run would have decided, had its policy been otherwise: each
stored snapshot is planned once more, with all else as it was, the account included. And what would
have come of the period: its signals and prices are backtested under each policy, from cash alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from attrs import evolve, frozen

from orchestrator_core.allocating import Allocation, allocation_of
from orchestrator_core.errors import InvalidRequest
from orchestrator_core.identifiers import RunId, Symbol
from orchestrator_core.model import Quote, SignalBatch
from orchestrator_core.money import multiply
from orchestrator_core.orders import order_of
from orchestrator_core.plans import SizingDecision, Snapshot
from orchestrator_core.record import canonical_json
from orchestrator_core.record_policies import encode_limits, encode_rules
from orchestrator_core.replay import (
    Derivation,
    Divergence,
    PlanRow,
    StoredRecord,
    UnreadableRecord,
    compare,
    derive,
)
from orchestrator_core.what_if import Changes, what_if
from orchestrator_entrypoints.backtests.backtesting import backtest_inputs
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.inputs import Inputs, read_inputs
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.result import BacktestResult
from orchestrator_entrypoints.backtests.tables import SIGNALS, BacktestDataError

AS_RECORDED = "as recorded"

# A price so many times another is not of the same share.
FAR = Decimal("1.5")


@frozen
class Redecided:
    """One recorded run under another policy.

    Attributes:
        differences: One a symbol that would have been decided otherwise.
        before: How near the recorded plan came to its weights.
        after: How near the other plan comes; None where there would have been none.
        refusal: Why the run would have refused its signals, or its orders, as a whole; None: it
            would not.
    """

    run_id: RunId
    as_of_date: date
    differences: tuple[Divergence, ...]
    before: Allocation
    after: Allocation | None
    refusal: str | None = None


@frozen
class PolicyOutcome:
    """The recorded period under one policy.

    Attributes:
        runs: Every recorded run, in the order of their start.
        result: What came of the period's signals, from cash alone; None where there are no prices
            of them, which a note tells of.
    """

    name: str
    runs: tuple[Redecided, ...]
    result: BacktestResult | None

    @property
    def changed(self) -> int:
        """How many orders would have been otherwise."""
        return sum(len(run.differences) for run in self.runs)


@frozen
class FromRuns:
    """The recorded period under several policies.

    Attributes:
        outcomes: First as recorded, then the others as they were given.
        notes: What the reader should know of all of them, such as runs that were left out.
    """

    outcomes: tuple[PolicyOutcome, ...]
    notes: tuple[str, ...] = ()

    @property
    def results(self) -> Mapping[str, BacktestResult]:
        """The results there are, by the name of their policy."""
        return {each.name: each.result for each in self.outcomes if each.result is not None}


def backtest_from_runs(
    records: Iterable[StoredRecord],
    policies: Mapping[str, Changes],
    *,
    prices: Any = None,
    opens: Any = None,
    fills: FillModel | None = None,
) -> FromRuns:
    """Decide recorded runs under other policies, and backtest their signals under each.

    Args:
        records: Of one strategy.
        policies: What is to be otherwise, by name. Prices and weights of symbols are not changed.
        prices: Closes by date and symbol, account currency per share; None takes those that the
            runs were sized with, each standing until the next run that saw one.
        opens: The same of the opens, beside `prices`; orders trade at them where they are given,
            unless `fills` says otherwise.
        fills: What becomes of orders.

    Raises:
        ValueError: No record can be read, or they are of several strategies.
        BacktestDataError: It says where prices or opens are wrong.
        InvalidRequest: A change is out of bounds.
    """
    derived, notes = _derive_all(records)
    if AS_RECORDED in policies:
        raise InvalidRequest("policies", f"{AS_RECORDED!r} is the name of the policy recorded")
    for changes in policies.values():
        if changes.prices or changes.weights:
            raise InvalidRequest("policies", "prices and weights are what was recorded")
    merged, several = _by_date(each.snapshot for _, each in derived)
    if several:
        dates = ", ".join(str(day) for day in several)
        notes.append(f"several runs are results of one: signals and prices merged on {dates}")
    if len({_in_force(each.snapshot) for _, each in derived}) > 1:
        notes.append("the policy changed meanwhile: results are under that of the first run")
    fills = fills or FillModel()
    inputs, said = _inputs(merged, prices, opens, fills)
    notes += said
    outcomes = []
    for name, changes in {AS_RECORDED: Changes(), **policies}.items():
        runs = tuple(_decide_again(name, run_id, each, changes) for run_id, each in derived)
        result = None
        if inputs is not None:
            policy = _policy_of(merged[min(merged)], changes, inputs.symbols)
            result = backtest_inputs(inputs, policy=policy, fills=fills)
        outcomes.append(PolicyOutcome(name, runs, result))
    return FromRuns(tuple(outcomes), tuple(notes))


def _inputs(
    merged: Mapping[date, Snapshot], prices: Any, opens: Any, fills: FillModel
) -> tuple[Inputs | None, list[str]]:
    """Return what can be backtested, or none, and what the reader should know of it.

    Raises:
        BacktestDataError: It says where prices or opens are wrong.
    """
    batches, given = _recorded(merged) if prices is None else (_batches(merged), prices)
    try:
        inputs = read_inputs(batches, given, opens, fills.at)
    except BacktestDataError as error:
        if prices is not None and error.table != SIGNALS:
            raise
        return None, [f"no results: {error.problem}"]
    return inputs, [] if prices is None else list(_strange_prices(merged, inputs))


def _strange_prices(merged: Mapping[date, Snapshot], inputs: Inputs) -> Iterator[str]:
    """Say of the first price that is far from the one a run was sized with, as after a split."""
    for place, day in enumerate(inputs.dates):
        if day not in merged:
            continue
        closes = inputs.closes_at(place)
        quotes = (each for each in merged[day].quotes if isinstance(each, Quote))
        sized_with = {each.symbol: each.price for each in quotes}
        for symbol in sorted(sized_with.keys() & closes.keys()):
            price, close = sized_with[symbol], closes[symbol]
            if multiply(close, FAR) < price or close > multiply(price, FAR):
                yield (
                    f"{symbol} closes at {close:f} on {day}, and a run was sized with {price:f}: "
                    "are the prices adjusted otherwise?"
                )
                return


def _derive_all(
    records: Iterable[StoredRecord],
) -> tuple[list[tuple[RunId, Derivation]], list[str]]:
    """Return the runs in the order of their start, and which are left out.

    Raises:
        ValueError: They are not of one strategy.
    """
    derived, notes = [], []
    for record in sorted(records, key=lambda each: (each.started_at, each.run_id)):
        try:
            derivation = derive(record)
        except UnreadableRecord as error:
            notes.append(f"run {record.run_id} is left out: {error}")
            continue
        derived.append((record.run_id, derivation))
    strategies = {each.snapshot.decision.strategy_id for _, each in derived}
    if len(strategies) != 1:
        found = ", ".join(sorted(strategies)) or "none that can be read"
        raise ValueError(f"records: expected runs of one strategy, got {found}")
    return derived, notes


def _by_date(snapshots: Iterable[Snapshot]) -> tuple[dict[date, Snapshot], list[date]]:
    """Return one snapshot a date, and the dates that had several, merged."""
    merged: dict[date, Snapshot] = {}
    several: set[date] = set()
    for snapshot in snapshots:
        day = snapshot.batch.as_of_date
        if day in merged:
            several.add(day)
            merged[day] = _merge(merged[day], snapshot)
        else:
            merged[day] = snapshot
    return merged, sorted(several)


def _merge(earlier: Snapshot, later: Snapshot) -> Snapshot:
    """Return the earlier run with the signals and prices of both; of one symbol, the later's."""
    named = {each.symbol: each for each in (*earlier.batch.signals, *later.batch.signals)}
    signals = tuple(named.values())
    batch = evolve(later.batch, signals=signals, num_signals=len(signals))
    return evolve(earlier, batch=batch, quotes=(*earlier.quotes, *later.quotes))


def _decide_again(name: str, run_id: RunId, derivation: Derivation, changes: Changes) -> Redecided:
    snapshot = derivation.snapshot
    try:
        found = what_if(snapshot, changes)
    except InvalidRequest as refused:
        raise InvalidRequest("policies", f"{name}: {refused.problem}") from None
    denial = found.after.refusal
    if found.refusal is None:
        differences = compare(_rows_of(found.before.decisions), _rows_of(found.after.decisions))
    else:  # it makes no plan: every order is gone
        sent = (each for each in found.before.decisions if each.is_to_be_sent)
        differences = compare(_rows_of(sent), ())
    return Redecided(
        run_id=run_id,
        as_of_date=snapshot.batch.as_of_date,
        differences=differences,
        before=allocation_of(found.before, snapshot),
        after=None if found.refusal else allocation_of(found.after, found.changed),
        refusal=found.refusal or (None if denial is None else str(denial)),
    )


def _rows_of(decisions: Iterable[SizingDecision]) -> tuple[PlanRow, ...]:
    return tuple(PlanRow.of(order_of(decision)) for decision in decisions)


def _batches(merged: Mapping[date, Snapshot]) -> list[SignalBatch]:
    return [merged[day].batch for day in sorted(merged)]


def _recorded(
    merged: Mapping[date, Snapshot],
) -> tuple[list[SignalBatch], dict[date, Mapping[Symbol, Decimal]]]:
    """Return the signals that had a price, and the prices; one stands until the next is seen."""
    known: dict[Symbol, Decimal] = {}
    batches = []
    prices: dict[date, Mapping[Symbol, Decimal]] = {}
    for day in sorted(merged):
        snapshot = merged[day]
        known |= {q.symbol: q.price for q in snapshot.quotes if isinstance(q, Quote)}
        prices[day] = dict(known)
        signals = tuple(each for each in snapshot.batch.signals if each.symbol in known)
        batches.append(evolve(snapshot.batch, signals=signals, num_signals=len(signals)))
    return batches, prices


def _in_force(snapshot: Snapshot) -> str:
    sizing = snapshot.policy.sizing
    rules, limits = encode_rules(sizing.rules), encode_limits(snapshot.policy.limits)
    amounts = (f"{sizing.capital:f}", f"{sizing.max_position_size:f}")
    return canonical_json([*amounts, rules, limits])


def _policy_of(snapshot: Snapshot, changes: Changes, symbols: frozenset[Symbol]) -> BacktestPolicy:
    """Return what a run's policy is with the changes, lots of what has no prices left out."""
    sizing, cap = snapshot.policy.sizing, changes.max_position_size
    rules = changes.rules_over(sizing.rules, symbols)
    lots = {symbol: lot for symbol, lot in rules.lot_sizes.items() if symbol in symbols}
    return BacktestPolicy(
        capital=sizing.capital if changes.capital is None else changes.capital,
        max_position_size=sizing.max_position_size if cap is None else cap,
        rules=evolve(rules, lot_sizes=lots),
        limits=evolve(snapshot.policy.limits, **changes.limits),
        compounds=False,
        strategy_id=snapshot.decision.strategy_id,
    )
