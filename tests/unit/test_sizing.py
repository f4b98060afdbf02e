from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.identifiers import Symbol
from orchestrator_core.money import decimal_of
from orchestrator_core.sizing import SizingPolicy, SizingRules, size_position

weights = st.floats(min_value=-2, max_value=2, allow_subnormal=False)
prices = st.decimals(min_value="0.0001", max_value=1_000_000, places=4)
amounts = st.decimals(min_value="0.01", max_value=10**12, places=2)


def shares(weight: str, price: str, *, capital: str = "100000", cap: str = "20000") -> int:
    policy = SizingPolicy(capital=Decimal(capital), max_position_size=Decimal(cap))
    return size_position(Decimal(weight), Decimal(price), policy).shares


def test_a_weight_buys_its_share_of_capital_rounded_toward_zero() -> None:
    assert shares("0.1", "300") == 33
    assert shares("-0.1", "300") == 33


def test_the_cap_bounds_a_position() -> None:
    assert shares("0.5", "100") == 200


def test_an_exact_multiple_is_not_lost_to_binary_noise() -> None:
    # In floats 0.29 * 100000 / 100 is 289.99999999999994.
    assert shares("0.29", "100", cap="1000000") == 290


def test_less_than_one_share_is_none() -> None:
    assert shares("0.001", "100.01") == 0
    assert shares("0.001", "100") == 1


@given(weights, prices, amounts, amounts)
def test_shares_are_the_floor_of_exact_arithmetic(
    weight: float, price: Decimal, capital: Decimal, cap: Decimal
) -> None:
    sizing = size_position(decimal_of(weight), price, SizingPolicy(capital, cap))
    notional = min(abs(Fraction(decimal_of(weight))) * Fraction(capital), Fraction(cap))
    assert sizing.shares == notional // Fraction(price)
    assert sizing.shares * Fraction(price) <= Fraction(cap)


@given(weights, prices, amounts, amounts, amounts)
def test_a_lower_cap_never_enlarges_a_position(
    weight: float, price: Decimal, capital: Decimal, cap: Decimal, other: Decimal
) -> None:
    low, high = sorted((cap, other))
    exact = decimal_of(weight)
    tight = size_position(exact, price, SizingPolicy(capital, low))
    loose = size_position(exact, price, SizingPolicy(capital, high))
    assert tight.shares <= loose.shares


@given(weights, prices, amounts, amounts, st.integers(1, 1_000))
def test_shares_are_whole_lots_and_no_lot_more_would_fit(
    weight: float, price: Decimal, capital: Decimal, cap: Decimal, lot: int
) -> None:
    sizing = size_position(decimal_of(weight), price, SizingPolicy(capital, cap), lot=lot)
    assert sizing.shares % lot == 0
    assert sizing.shares <= sizing.raw_shares < sizing.shares + lot


@given(weights, prices, amounts, amounts, st.decimals(0, "0.99", places=2))
def test_a_buffer_is_kept_out_of_every_target(
    weight: float, price: Decimal, capital: Decimal, cap: Decimal, buffer: Decimal
) -> None:
    kept = SizingPolicy(capital, cap, SizingRules(cash_buffer=buffer))
    smaller = SizingPolicy(kept.investable, cap)
    exact = decimal_of(weight)
    assert size_position(exact, price, kept) == size_position(exact, price, smaller)


@pytest.mark.parametrize("buffer", ["-0.01", "1", "NaN"])
def test_a_buffer_is_a_fraction(buffer: str) -> None:
    with pytest.raises(ValueError, match="cash_buffer"):
        SizingRules(cash_buffer=Decimal(buffer))


@pytest.mark.parametrize("lot", [0, -1, 1.5])
def test_a_lot_is_whole_shares(lot: int) -> None:
    with pytest.raises(ValueError, match="lot_sizes: expected whole lots of A"):
        SizingRules(lot_sizes={Symbol("A"): lot})
