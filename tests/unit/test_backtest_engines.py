"""Arrays decide as the workflow does, or say why they do not."""

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_core.identifiers import StrategyId, Symbol
from orchestrator_core.limits import Limits, SessionRule
from orchestrator_core.model import Contribution, Signal, SignalBatch
from orchestrator_core.sizing import SizingMode, SizingRules
from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.fills import Fault, FaultKind, FillModel
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.result import BacktestResult

MONDAY = date(2024, 1, 8)
DAYS = [MONDAY + timedelta(days=number) for number in range(6)]
SYMBOLS = ("KO", "MO", "XOM", "PEP")
DELTA = SizingRules(mode=SizingMode.DELTA, closes_absent=True)
THIN = BacktestPolicy(keeps_runs=False)

Series = Mapping[date, Mapping[str, Any]]

prices = st.one_of(st.floats(0.01, 5_000).map(lambda price: round(price, 2)), st.integers(1, 9))
weights = st.one_of(st.sampled_from([0.0, -0.0, 0.1, -0.25, 1e-9, 0.29, 0.6]), st.floats(-0.4, 0.4))


@st.composite
def signals_of(draw: st.DrawFn) -> Series:
    return {
        day: draw(st.dictionaries(st.sampled_from(SYMBOLS), weights, min_size=1))
        for day in DAYS[:-1]
        if draw(st.booleans()) or day is DAYS[0]
    }


@st.composite
def closes_of(draw: st.DrawFn) -> Series:
    return {day: {symbol: draw(prices) for symbol in SYMBOLS} for day in DAYS}


delta_rules = st.builds(
    SizingRules,
    mode=st.just(SizingMode.DELTA),
    cash_buffer=st.sampled_from([Decimal(0), Decimal("0.03")]),
    min_order_notional=st.sampled_from([Decimal(0), Decimal(2_000)]),
    closes_absent=st.booleans(),
    lot_sizes=st.sampled_from([{}, {Symbol("KO"): 7}]),
)
absolute_rules = st.builds(
    SizingRules,
    cash_buffer=st.sampled_from([Decimal(0), Decimal("0.03")]),
    min_order_notional=st.sampled_from([Decimal(0), Decimal(2_000)]),
)
order_limits = st.builds(
    Limits,
    restricted_symbols=st.sampled_from([frozenset(), frozenset({Symbol("MO")})]),
    allowed_symbols=st.sampled_from([None, frozenset({Symbol("KO"), Symbol("MO")})]),
    max_order_qty=st.sampled_from([None, 100]),
    max_order_notional=st.sampled_from([None, Decimal(9_000)]),
    max_signal_weight=st.sampled_from([Decimal(1), Decimal("0.35")]),
    max_side_weight=st.sampled_from([Decimal(1), Decimal("0.6")]),
)


def policies(
    rules: st.SearchStrategy[SizingRules], limits: st.SearchStrategy[Limits]
) -> st.SearchStrategy[BacktestPolicy]:
    return st.builds(
        BacktestPolicy,
        rules=rules,
        limits=limits,
        compounds=st.booleans(),
        max_position_size=st.sampled_from([None, 10_000, Decimal("3333.33")]),
        lot=st.sampled_from([1, 10]),
        rebalance_every=st.integers(1, 2),
    )


models = st.builds(
    FillModel,
    slippage_bps=st.sampled_from([0, 7.25]),
    commission_bps=st.sampled_from([0, 1]),
    commission_per_order=st.sampled_from([0, 1]),
)


def both(
    signals: Series, closes: Series, policy: BacktestPolicy, model: FillModel
) -> tuple[BacktestResult, BacktestResult]:
    arrays = backtest(signals, closes, policy=evolve(policy, keeps_runs=False), fills=model)
    workflow = backtest(signals, closes, policy=evolve(policy, engine="faithful"), fills=model)
    assert (arrays.engine, workflow.engine) == ("columnar", "faithful")
    return arrays, workflow


@settings(max_examples=80, deadline=None)
@given(signals_of(), closes_of(), policies(delta_rules, order_limits), models)
def test_differences_by_arrays_are_those_of_the_workflow(
    signals: Series, closes: Series, policy: BacktestPolicy, model: FillModel
) -> None:
    arrays, workflow = both(signals, closes, policy, model)
    assert arrays.days == workflow.days
    assert arrays.summary() == workflow.summary()
    assert repr(arrays.table()) == repr(workflow.table())


@settings(max_examples=80, deadline=None)
@given(signals_of(), closes_of(), policies(absolute_rules, order_limits), models)
def test_whole_targets_by_arrays_are_those_of_the_workflow(
    signals: Series, closes: Series, policy: BacktestPolicy, model: FillModel
) -> None:
    arrays, workflow = both(signals, closes, policy, model)
    assert arrays.days == workflow.days
    assert arrays.table() == workflow.table()


@pytest.mark.parametrize(
    ("changes", "weights", "denials"),
    [
        # A position that two orders made cannot be turned by one: neither leg goes.
        (
            {"limits": Limits(max_order_qty=100)},
            [0.09, 0.18, -0.05],
            [{}, {}, {"MAX_ORDER_QTY": 2}],
        ),
        # The first leg goes, the second would be too large.
        ({"limits": Limits(max_order_qty=100)}, [0.09, -0.15, 0.0], [{}, {"MAX_ORDER_QTY": 1}, {}]),
        # What closes a position goes whatever it is worth; what is too small to open does not.
        ({"rules": evolve(DELTA, min_order_notional=Decimal(7_000))}, [0.08, 0.0, 0.05], [{}] * 3),
        (
            {"rules": evolve(DELTA, min_order_notional=Decimal(7_000))},
            [0.08, 0.02, -0.05],
            [{}] * 3,
        ),
    ],
)
def test_orders_that_are_differences_are_judged_as_the_workflow_judges_them(
    changes: dict[str, Any], weights: list[float], denials: list[dict[str, int]]
) -> None:
    signals = {day: {"KO": weight} for day, weight in zip(DAYS, weights, strict=False)}
    # Prices fall, so that what was bought is worth less than an order must be.
    closes = {
        day: {"KO": price} for day, price in zip(DAYS, [100, 100, 80, 80, 80, 80], strict=True)
    }
    policy = evolve(THIN, compounds=False, **changes)
    arrays, workflow = both(signals, closes, policy, FillModel())
    assert arrays.days == workflow.days
    assert [dict(day.denials) for day in arrays.days[:3]] == denials


SIGNALS: Series = {day: {"KO": 0.1, "MO": -0.2} for day in DAYS[:-1]}
CLOSES: Series = {day: {"KO": 60.5, "MO": 40} for day in DAYS}

FALLS_BACK: dict[str, tuple[dict[str, Any], str]] = {
    "leftover": ({"rules": evolve(DELTA, spends_leftover=True)}, "the leftover pass"),
    "session": ({"limits": Limits(market_session=SessionRule.REFUSE)}, "a limit on a run's orders"),
    "day": ({"limits": Limits(max_day_gross=Decimal(10**9))}, "a limit on a day's orders"),
    "band": ({"limits": Limits(price_band=Decimal(9))}, "reference prices"),
    "reduce": ({"limits": Limits(reduce_only=True)}, "reduce-only"),
}


@pytest.mark.parametrize("name", FALLS_BACK)
@pytest.mark.parametrize("engine", ["auto", "columnar"])
def test_the_workflow_decides_what_arrays_cannot_and_says_why(name: str, engine: Any) -> None:
    fields, words = FALLS_BACK[name]
    policy = evolve(THIN, engine=engine, **fields)
    result = backtest(SIGNALS, CLOSES, policy=policy)
    assert result.engine == "faithful"
    [note] = result.notes
    assert note.startswith("decided by the workflow, not by arrays: ")
    assert words in note
    assert result.days == backtest(SIGNALS, CLOSES, policy=evolve(policy, engine="faithful")).days


@pytest.mark.parametrize(
    "model",
    [
        FillModel(rejection_rate=0.5),
        FillModel(partial_rate=0.5),
        FillModel(faults=[Fault(DAYS[0], FaultKind.REJECT)]),
    ],
)
def test_the_workflow_decides_where_orders_meet_faults(model: FillModel) -> None:
    result = backtest(SIGNALS, CLOSES, policy=THIN, fills=model)
    assert result.engine == "faithful"
    assert "orders meet faults" in result.notes[0]


def test_prices_beyond_a_float_and_netted_signals_are_for_the_workflow() -> None:
    closes = {day: {"KO": Decimal("60.50000000000000000001"), "MO": 40} for day in DAYS}
    result = backtest(SIGNALS, closes, policy=THIN)
    assert "more digits than a float holds" in result.notes[0]
    parts = tuple(
        Contribution(StrategyId(name), Decimal("0.5"), 0.1, 1, 0.1) for name in ("alpha", "beta")
    )
    netted = Signal(Symbol("KO"), 0.1, 1, 0.1, parts)
    result = backtest([SignalBatch((netted,), DAYS[0], 1)], CLOSES, policy=THIN)
    assert "netted from several strategies" in result.notes[0]


def test_a_batch_without_a_signal_is_for_the_workflow_which_refuses_it() -> None:
    result = backtest([SignalBatch((), DAYS[0], 0)], CLOSES, policy=THIN)
    assert "a batch holds no signal" in result.notes[0]
    assert result.days[0].run_status == "failed"


def test_a_quantity_beyond_an_integer_is_for_the_workflow_from_the_first_date_on() -> None:
    closes = {day: {"KO": 60.5 if day < DAYS[2] else 1e-30} for day in DAYS}
    signals = {day: {"KO": 0.5} for day in DAYS[:-1]}
    policy = evolve(THIN, compounds=False)
    result = backtest(signals, closes, policy=policy)
    assert result.engine == "faithful"
    assert "more than 9223372036854775807 shares" in result.notes[0]
    assert result.days == backtest(signals, closes, policy=evolve(policy, engine="faithful")).days


def test_rows_are_the_same_letters_whatever_decided() -> None:
    closes = {day: {"KO": 60.0, "MO": Decimal("40.10")} for day in DAYS}
    arrays, workflow = both({DAYS[0]: {"KO": 0.5, "MO": -0.25}}, closes, THIN, FillModel())
    assert repr(arrays.table()) == repr(workflow.table())
    decimals = [
        value for row in arrays.table() for value in row.values() if isinstance(value, Decimal)
    ]
    assert not [value for value in decimals if "." in str(value) and str(value).endswith("0")]


def test_runs_that_are_kept_are_decided_by_the_workflow_unless_arrays_are_asked_for() -> None:
    assert backtest(SIGNALS, CLOSES).engine == "faithful"
    result = backtest(SIGNALS, CLOSES, policy=BacktestPolicy(engine="columnar"))
    assert (result.engine, result.runs) == ("columnar", ())
    [note] = result.notes
    assert note.startswith("arrays keep no orders and no runs")


@pytest.mark.parametrize("last", [60.5, 1e-30])
def test_progress_goes_on_to_the_end_whatever_decides(last: float) -> None:
    # Arrays give up at the last price: the workflow begins anew, and progress does not.
    closes = {day: {"KO": 60.5 if day < DAYS[-2] else last} for day in DAYS}
    signals = {day: {"KO": 0.5} for day in DAYS[:-1]}
    told: list[int] = []
    result = backtest(
        signals,
        closes,
        policy=evolve(THIN, compounds=False),
        progress=lambda done, _of: told.append(done),
    )
    assert result.engine == ("columnar" if last > 1 else "faithful")
    assert told == list(range(1, len(DAYS) + 1))
