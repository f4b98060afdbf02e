"""Dates and numbers as a user gives them: Python's, numpy's, pandas', or text."""

from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from orchestrator_core.money import MAX_DIGITS, MAX_MONEY, has_few_digits

Number = float | int | Decimal


def day_of(value: Any) -> date:
    """Return a date as it may be given: text, or what knows itself as a date without an hour.

    Raises:
        ValueError: It is none.

    >>> day_of("2024-01-31")
    datetime.date(2024, 1, 31)
    """
    day = value
    # Known by name, since the libraries that they are of are not imported.
    if type(day).__name__ == "datetime64":
        day = day.astype("datetime64[us]").item()
    if type(day).__name__ == "NAType":
        day = None
    # A period of pandas' that is longer than a day ends in the future of its first one.
    if hasattr(day, "start_time") and hasattr(day, "end_time"):
        is_day = day.start_time.date() == day.end_time.date()
        day = day.start_time.normalize() if is_day else None
    if isinstance(day, str):
        try:
            day = datetime.fromisoformat(day.strip())
        except ValueError:
            day = None
    if day != day:  # noqa: PLR0124 - pandas' NaT is a datetime that has no date
        day = None
    if isinstance(day, datetime):
        day = day.date() if day.time() == time.min else None
    if not isinstance(day, date):
        raise ValueError(f"expected a day such as 2024-01-31, got {shown(value)}")
    return day


def number_of(value: Any) -> Number:
    """Return a finite number as it may be given: Python's, numpy's, or text.

    Raises:
        ValueError: It is none.

    >>> number_of("0.10")
    Decimal('0.10')
    """
    if type(value) in {float, Decimal} and _is_finite(value):
        plain: Number = value
        return plain
    number = python_number(value)
    if isinstance(number, str):
        try:
            number = Decimal(number)
        except InvalidOperation:
            number = None
    is_number = isinstance(number, float | int | Decimal) and not isinstance(number, bool)
    if not is_number or not _is_finite(number):
        raise ValueError(f"expected a finite number, got {shown(value)}")
    found: Number = number
    return found


def python_number(value: Any) -> Any:
    """Return a number of numpy's as Python's, and anything else as it is."""
    return value.item() if hasattr(value, "item") else value


def price_problem(price: Number) -> str | None:
    """Say why a number is no price, account currency per share; None where it is one."""
    if not 0 < price <= MAX_MONEY:
        return f"expected a price above zero, at most {MAX_MONEY:f}, got {price}"
    if not has_few_digits(exactly(price)):
        return f"expected a price of at most {MAX_DIGITS} digits, got {price}"
    return None


def shares_of(value: Any) -> int:
    """Return whole shares; a float that is whole is taken.

    Raises:
        ValueError: They are none.
    """
    number = number_of(value)
    if number != int(number):
        raise ValueError(f"expected whole shares, got {shown(value)}")
    return int(number)


def exactly(value: Number) -> Decimal:
    """Return the decimal that prints like the value."""
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def _is_finite(number: Number) -> bool:
    """Whether it is finite, as a float too: a weight is one."""
    try:
        return isfinite(number)
    except (OverflowError, ValueError):  # an integer beyond a float; a signalling nan
        return False


def shown(value: Any) -> str:
    """Return what was given, cut, as it may stand in a sentence."""
    try:
        return repr(str(value)[:40])
    except ValueError:  # an integer of more digits than Python writes
        return "an integer too large to write"
