"""Backtests of odd histories: very steep, of very many digits, and of batches that no run takes."""

from datetime import date
from decimal import Decimal, Inexact, localcontext
from typing import Any

import pytest
from attrs import evolve

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Signal, SignalBatch
from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.figures import figures_of
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.tables import BacktestDataError


def test_arrays_leave_a_capital_beyond_all_money_to_the_workflow() -> None:
    closes = {
        day: {"KO": price}
        for day, price in zip(
            ("2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"),
            (1e-6, 1e-6, 1e6, 1e6),
            strict=True,
        )
    }
    signals = {"2024-01-02": {"KO": 1.0}, "2024-01-04": {"KO": 1.0}}
    by_arrays = backtest(signals, closes, policy=BacktestPolicy(keeps_runs=False))
    by_workflow = backtest(signals, closes)
    assert by_arrays.days[-1].equity == by_workflow.days[-1].equity > Decimal(10) ** 15
    assert any("a capital beyond" in note for note in by_arrays.notes)


def test_models_that_fill_otherwise_read_otherwise() -> None:
    words = [
        FillModel(partial_rate=1.0, partial_fraction=Decimal(share), seed=seed).in_words()
        for share, seed in ((".25", 0), (".75", 0), (".25", 1))
    ]
    assert words[0] != words[1]
    assert words[0] != words[2]


PLAIN = {"2024-01-02": {"KO": 50.5}, "2024-01-03": {"KO": 60.25}, "2024-02-15": {"KO": 99.5}}
SHORT = {"2024-01-02": {"KO": 50}, "2024-01-03": {"KO": Decimal(100) / 3}}


def test_equity_is_exact_where_a_short_position_has_more_digits_than_python_keeps() -> None:
    [_, last] = backtest([("2024-01-02", "KO", -0.123456)], SHORT).days
    assert (last.equity, last.net) == (Decimal(100_000), last.short.copy_negate())


@pytest.mark.parametrize("precision", [1, 3, 11, 15, 28, 60])
@pytest.mark.parametrize("engine", ["faithful", "columnar"])
def test_results_do_not_hang_on_the_callers_decimal_context(precision: int, engine: Any) -> None:
    rules = evolve(BacktestPolicy().rules, cash_buffer=Decimal("0.333"))
    policy = BacktestPolicy(engine=engine, keeps_runs=False, rules=rules)
    expected = backtest([("2024-01-02", "KO", 0.25)], PLAIN, policy=policy)
    with localcontext() as context:
        context.prec = precision
        context.traps[Inexact] = True
        found = backtest([("2024-01-02", "KO", 0.25)], PLAIN, policy=policy)
        summary = found.summary()
        assert figures_of(found) == figures_of(expected)
    assert (found.engine, summary) == (engine, expected.summary())
    assert found.days == expected.days


def test_very_many_shares_are_filled() -> None:
    prices = {"2024-01-02": {"KO": 1e-30}, "2024-01-03": {"KO": 1e-30}, "2024-01-04": {"KO": 1e14}}
    result = backtest([("2024-01-02", "KO", 1.0)], prices)
    assert result.days[1].positions == {"KO": 10**35}
    assert result.days[-1].equity == Decimal(10) ** 49
    assert result.summary().annual_volatility is None


def a_batch(*signals: Signal, declared: int | None = None) -> SignalBatch:
    count = len(signals) if declared is None else declared
    return SignalBatch(signals, date(2024, 1, 2), count)


KO = Signal(Symbol("KO"), 0.1, 1, 0.1)
NO_FLOAT: Any = Decimal("0.1")


@pytest.mark.parametrize(
    ("batch", "failure"),
    [
        (a_batch(KO, declared=3), "num_signals says 3, 1 came"),
        (a_batch(KO, KO), "KO came twice"),
        (a_batch(Signal(Symbol("KO"), 0.1, 1, 1)), None),
    ],
)
def test_batches_are_judged_alike_whatever_decides(batch: SignalBatch, failure: str | None) -> None:
    by_arrays, by_workflow = (
        backtest([batch], PLAIN, policy=BacktestPolicy(engine=engine, keeps_runs=False))
        for engine in ("columnar", "faithful")
    )
    assert (by_arrays.engine, by_workflow.engine) == ("columnar", "faithful")
    assert by_arrays.days == by_workflow.days
    assert by_arrays.days[0].failure == failure


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"as_of_date": date(2024, 1, 6)}, "date: look-ahead: 2024-01-06, a Saturday"),
        ({"as_of_date": "2024-01-02"}, "date: expected a date, got str"),
        ({"signals": (evolve(KO, target_weight=NO_FLOAT),)}, "KO: expected a weight"),
        ({"as_of_date": date(2024, 1, 6), "signals": (), "num_signals": 0}, "look-ahead"),
    ],
)
def test_a_batch_that_no_run_can_be_made_of_is_refused(changes: Any, words: str) -> None:
    with pytest.raises(BacktestDataError, match=f"signals, row 0, .*{words}"):
        backtest([evolve(a_batch(KO), **changes)], PLAIN)
