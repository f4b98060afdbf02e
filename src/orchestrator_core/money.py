"""Exact decimal arithmetic: what may be a number here, and operations that cannot round.

Every product below is exact within `EXACT`'s precision, because each factor is bounded where it
enters. Should one ever not be, the context raises instead of rounding.
"""

from collections.abc import Iterable
from decimal import (
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    Underflow,
)
from functools import reduce
from math import isfinite

MAX_MONEY = Decimal(10) ** 15
MAX_DIGITS = 40

EXACT = Context(prec=160, traps=[DivisionByZero, Inexact, InvalidOperation, Overflow, Underflow])

# A weight may be the smallest float there is: what it leaves beside a price, or beside what other
# weights leave, has more digits than any product has.
WIDE = EXACT.copy()
WIDE.prec = 800

# What is shown, and never computed with, may be rounded: 40 digits are far more than are shown. The
# caller's own context, which may be any, is never asked.
SHOWN = Context(prec=40, traps=[])
_ROUNDING = Context(prec=WIDE.prec, traps=[DivisionByZero, InvalidOperation, Overflow])

ZERO = Decimal(0)


def decimal_of(number: float) -> Decimal:
    """Return the decimal that prints like `number`: 0.1 becomes Decimal("0.1").

    Raises:
        ValueError: `number` is not finite.
    """
    if not isfinite(number):
        raise ValueError(f"expected a finite number, got {number!r}")
    return Decimal(repr(number))


def parse_money(value: Decimal | str | float, *, maximum: Decimal = MAX_MONEY) -> Decimal:
    """Return an amount of account currency, greater than zero.

    Args:
        value: A decimal, a decimal string such as `"20000.50"`, or a number.
        maximum: Largest amount accepted.

    Raises:
        ValueError: Not a number, not finite, not greater than zero, above `maximum`, or written
            with more than 40 digits.
    """
    if isinstance(value, bool):
        raise ValueError(f"expected a number, got {value!r}")
    try:
        amount = decimal_of(value) if isinstance(value, float) else Decimal(value)
    except (InvalidOperation, ValueError, TypeError):
        raise ValueError(f"expected a decimal number, got {str(value)[:60]!r}") from None
    if not amount.is_finite():
        raise ValueError(f"expected a finite number, got {str(value)[:60]!r}")
    if amount <= 0:
        raise ValueError(f"expected an amount greater than zero, got {str(value)[:60]}")
    if amount > maximum:
        raise ValueError(f"expected at most {maximum:f}, got {str(value)[:60]}")
    if not has_few_digits(amount):
        raise ValueError(f"expected at most {MAX_DIGITS} digits, got {str(value)[:60]}")
    return amount


def has_few_digits(amount: Decimal) -> bool:
    """Whether a finite decimal has at most 40 digits, and at most 40 behind the point."""
    _, digits, exponent = amount.as_tuple()
    return len(digits) <= MAX_DIGITS and isinstance(exponent, int) and exponent >= -MAX_DIGITS


def multiply(left: Decimal, right: Decimal | int) -> Decimal:
    """Return the exact product."""
    return EXACT.multiply(left, right)


def add_all(amounts: Iterable[Decimal]) -> Decimal:
    """Return the exact sum: a plain `sum` rounds.

    Weights may lie hundreds of digits apart, so the precision is that of `WIDE`.
    """
    return reduce(WIDE.add, amounts, ZERO)


def rounded(amount: Decimal, places: Decimal, rounding: str) -> Decimal:
    """Return the amount to as many places as `places` has.

    >>> from decimal import ROUND_HALF_EVEN
    >>> rounded(Decimal("0.125"), Decimal("0.01"), ROUND_HALF_EVEN)
    Decimal('0.12')
    """
    return amount.quantize(places, rounding=rounding, context=_ROUNDING)


def whole_quotient(dividend: Decimal, divisor: Decimal) -> int:
    """Return the quotient of two positive amounts, rounded toward zero, exactly."""
    return int(EXACT.divide_int(dividend, divisor))
