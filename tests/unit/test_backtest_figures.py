"""The figures that sum a backtest up."""

from datetime import timedelta
from decimal import Decimal
from math import sqrt
from statistics import stdev

import pytest

from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.figures import figures_of
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.reports.figures import summary_lines
from tests.unit.test_backtest import day, money, series


def test_figures_a_year_are_of_the_calendar_since_the_first_run() -> None:
    # A doubling in 26 weeks is a quadrupling a year, whether a row is a day or a week.
    weeks = [day(0) + timedelta(weeks=at) for at in range(-52, 27)]
    prices = {each: {"KO": 100.0 if each <= day(7) else 200.0} for each in weeks}
    summary = backtest({day(0): {"KO": 1.0}}, prices).summary()
    assert summary.annual_return == pytest.approx(2 ** (365.2425 / 182) - 1)
    returns = [0.0, 1.0, *[0.0] * 24]
    assert summary.annual_volatility == pytest.approx(stdev(returns) * sqrt(26 / (182 / 365.2425)))


def test_a_volatility_of_an_account_that_was_worth_nothing_is_none() -> None:
    prices = series(KO=[100.0, 100.0, *[300.0] * 40])
    ruined = backtest({day(0): {"KO": -1.0}}, prices).summary()
    assert (ruined.annual_return, ruined.annual_volatility) == (None, None)


def test_one_day_alone_is_a_backtest_in_which_nothing_happens() -> None:
    result = backtest({day(0): {"KO": 0.1}}, series(KO=[100]))
    summary = result.summary()
    assert (summary.days, summary.total_return) == (1, 0)
    assert (summary.annual_return, summary.annual_volatility) == (None, None)


def test_figures_a_year_want_a_month_of_history_and_a_float_that_holds_them() -> None:
    signals = {day(0): {"KO": 1.0}}
    policy = BacktestPolicy(capital=Decimal(1_000), compounds=False)
    short = backtest(signals, series(KO=[1.0, 1.0, *[2.0] * 28]), policy=policy).summary()
    assert (short.annual_return, short.annual_volatility) == (None, None)
    assert ("return a year", "-") in summary_lines(short)
    # So much in two days is a number a year that no float holds.
    both_ends = {day(0): {"KO": 1e-25}, day(1): {"KO": 1e-25}, day(40): {"KO": 1e12}}
    beyond = backtest(signals, both_ends, policy=policy)
    assert beyond.summary().annual_return is None
    assert beyond.summary().annual_volatility is not None
    assert figures_of(beyond)["annual_return"] == ""
    level = backtest(signals, series(KO=[100] * 31), policy=policy).summary()
    assert (level.annual_return, level.annual_volatility) == (0, 0)


def test_exposure_counts_both_sides() -> None:
    result = backtest({day(0): {"KO": 0.6, "MO": -0.2}}, series(KO=[100] * 2, MO=[50] * 2))
    last = result.days[-1]
    assert money([last.long, last.short, last.gross, last.net]) == [
        *("60000", "20000", "80000", "40000"),
    ]


def test_a_result_is_shown_in_a_line() -> None:
    shown = repr(backtest({day(0): {"KO": 0.1}}, series(KO=[100] * 3)))
    assert shown.startswith("BacktestResult(days=<3>, orders=<1>, runs=<1>, capital=")
