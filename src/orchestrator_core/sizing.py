"""Weight to whole shares, exactly.

    weight x capital = target notional -> at most the cap -> whole shares, toward zero

Nothing is rounded on the way but the last step, so the shares never cost more than the cap.
"""

from decimal import Decimal

from attrs import frozen

from orchestrator_core.money import ZERO, multiply, whole_quotient


@frozen
class SizingPolicy:
    """How weights become positions.

    Attributes:
        capital: Account currency that a weight of 1 stands for.
        max_position_size: Cap on one position's notional, account currency.
    """

    capital: Decimal
    max_position_size: Decimal


@frozen
class Sizing:
    """The steps from a weight to shares.

    Attributes:
        weight: Fraction of capital; the sign is the direction.
        target_notional: |weight| x capital, account currency.
        capped_notional: The same, at most the cap.
        shares: Whole shares that the capped notional buys; unsigned.
    """

    weight: Decimal
    target_notional: Decimal
    capped_notional: Decimal
    shares: int


def size_position(weight: Decimal, price: Decimal, policy: SizingPolicy) -> Sizing:
    """Return the steps from one target weight to whole shares.

    Rounds toward zero, so the notional never exceeds the cap.

    Args:
        weight: Fraction of capital; positive long, negative short.
        price: Account currency per share, greater than zero.
        policy: Capital and cap.

    >>> policy = SizingPolicy(capital=Decimal(100_000), max_position_size=Decimal(20_000))
    >>> size_position(Decimal("-0.25"), Decimal("300.01"), policy).shares
    66
    """
    target = multiply(abs(weight), policy.capital)
    capped = min(target, policy.max_position_size)
    shares = 0 if capped == ZERO else whole_quotient(capped, price)
    return Sizing(weight=weight, target_notional=target, capped_notional=capped, shares=shares)
