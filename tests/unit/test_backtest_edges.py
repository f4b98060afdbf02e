"""Backtests of odd histories: very short, very steep, and decided twice a day."""

from decimal import Decimal

from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.policy import BacktestPolicy


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
