from datetime import date
from decimal import Decimal
from math import fsum, isclose

import pytest

from orchestrator_entrypoints.data import daily_prices, parse_daily_prices
from orchestrator_entrypoints.demo.signals import falling_weights, momentum, select

PRICES = daily_prices()
LAST = date(2022, 12, 28)


def test_the_bundled_data_is_what_its_readme_says() -> None:
    assert len(PRICES.dates) == 754
    assert len(PRICES.symbols) == 20
    assert (PRICES.dates[0], PRICES.dates[-1]) == (date(2020, 1, 2), LAST)
    assert PRICES.closes_of("AAPL")[0] == Decimal("73.348")
    assert all(len(row) == 20 for row in PRICES.closes)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "line 1: expected Date"),
        ("Day,AAPL\n2020-01-02,1", "line 1: expected Date"),
        ("Date,aapl\n2020-01-02,1", "'aapl' is no symbol"),
        ("Date,AAPL,AAPL\n2020-01-02,1,1", "given twice"),
        ("Date,AAPL", "at least one row"),
        ("Date,AAPL\n2020-01-02", "line 2: expected 2 columns, got 1"),
        ("Date,AAPL\n2020-01-02,1\n2020-01-02,1", "line 3: 2020-01-02 does not follow"),
        ("Date,AAPL\n2020-01-02,x", "line 2: 'x' is no price"),
        ("Date,AAPL\n2020-01-02,NaN", "line 2: expected a price above zero"),
        ("Date,AAPL\n2020-01-02,0", "line 2: expected a price above zero"),
        ("Date,AAPL\n02.01.2020,1", "line 2: Invalid isoformat"),
    ],
)
def test_prices_that_cannot_be_trusted_are_refused_with_their_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_daily_prices(text.splitlines())


def test_momentum_is_the_return_of_the_year_that_ended_a_month_ago() -> None:
    # The file's own lines: XOM closed at 58.376 on 2021-12-28 and at 108.034 on 2022-11-28.
    row = PRICES.row_at(LAST)
    assert PRICES.dates[row - 252] == date(2021, 12, 28)
    assert PRICES.dates[row - 21] == date(2022, 11, 28)
    assert isclose(momentum(PRICES, "XOM", row), 108.034 / 58.376 - 1)
    (signal,) = select(PRICES, ["XOM"], as_of=LAST).signals
    assert signal.predicted_return == 0.077333


def test_the_best_are_bought_the_worst_sold_and_each_side_sums_to_one() -> None:
    selection = select(PRICES, PRICES.symbols, as_of=LAST)
    weights = [signal.target_weight for signal in selection.signals]
    assert [signal.rank for signal in selection.signals] == list(range(1, 21))
    assert isclose(fsum(weight for weight in weights if weight > 0), 1)
    assert isclose(fsum(weight for weight in weights if weight < 0), -1)
    assert weights[:5] == sorted(weights[:5], reverse=True)
    assert weights[5:15] == [0.0] * 10
    returns = [signal.predicted_return for signal in selection.signals]
    assert returns == sorted(returns, reverse=True)


def test_a_weekend_answers_for_the_trading_day_before() -> None:
    saturday = date(2022, 12, 24)
    assert select(PRICES, ["AAPL", "XOM"], as_of=saturday).as_of_date == date(2022, 12, 23)


def test_few_symbols_shrink_both_sides() -> None:
    selection = select(PRICES, ["AAPL", "XOM", "KO"], as_of=LAST)
    assert [signal.target_weight for signal in selection.signals] == [1.0, 0.0, -1.0]
    assert (selection.top_n, selection.bottom_n) == (1, 1)


@pytest.mark.parametrize("day", [date(2019, 12, 31), date(2020, 6, 1), date(2023, 1, 3)])
def test_a_date_without_a_year_of_prices_before_it_has_no_signals(day: date) -> None:
    with pytest.raises(LookupError):
        select(PRICES, ["AAPL"], as_of=day)


def test_a_symbol_outside_the_data_has_no_signals() -> None:
    with pytest.raises(LookupError, match="TSLA"):
        select(PRICES, ["AAPL", "TSLA"], as_of=LAST)


@pytest.mark.parametrize("count", range(12))
def test_falling_weights_sum_to_one(count: int) -> None:
    assert isclose(fsum(falling_weights(count)), 1 if count else 0)
