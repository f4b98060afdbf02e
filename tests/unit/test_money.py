from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.money import (
    MAX_MONEY,
    decimal_of,
    multiply,
    parse_money,
    whole_quotient,
)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_becomes_the_decimal_that_prints_like_it(number: float) -> None:
    assert float(decimal_of(number)) == number
    assert str(decimal_of(0.1)) == "0.1"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_no_decimal(number: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        decimal_of(number)


@pytest.mark.parametrize(
    ("given_value", "amount"),
    [("20000.50", "20000.50"), (1, "1"), (0.1, "0.1"), ("1e3", "1E+3"), (" 5 ", "5")],
)
def test_amounts_are_read_exactly(given_value: str | float, amount: str) -> None:
    assert str(parse_money(given_value)) == amount


@pytest.mark.parametrize(
    "value",
    [
        *["0", 0, "-1", -0.5, Decimal("-0"), "", "ten", "0x10", "1,000", True, None, []],
        *["NaN", "sNaN", float("nan"), "Infinity", float("inf")],
        *["1e30", 1e30, "1" * 50, "1e-50"],
    ],
)
def test_what_is_no_amount_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_money(value)


def test_the_largest_amount_is_accepted_and_one_cent_more_is_not() -> None:
    assert parse_money(MAX_MONEY) == MAX_MONEY
    with pytest.raises(ValueError, match="at most"):
        parse_money(MAX_MONEY + Decimal("0.01"))


@given(
    st.decimals(min_value="1e-12", max_value=MAX_MONEY, places=12),
    st.floats(min_value=1e-300, max_value=10),
)
def test_products_are_exact(amount: Decimal, weight: float) -> None:
    exact = multiply(decimal_of(weight), amount)
    numerator, denominator = decimal_of(weight).as_integer_ratio()
    amount_numerator, amount_denominator = amount.as_integer_ratio()
    left, right = exact.as_integer_ratio()
    assert left * denominator * amount_denominator == right * numerator * amount_numerator


@given(
    st.decimals(min_value=0, max_value=MAX_MONEY, places=8),
    st.decimals(min_value="0.00000001", max_value=10**9, places=8),
)
def test_quotients_are_whole_and_never_buy_more_than_there_is(
    notional: Decimal, price: Decimal
) -> None:
    shares = whole_quotient(notional, price)
    assert multiply(price, shares) <= notional < multiply(price, shares + 1)
