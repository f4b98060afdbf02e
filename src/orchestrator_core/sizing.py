"""Weight to whole shares, exactly.

    weight x capital less its buffer = target notional -> at most the cap
        -> whole shares -> whole lots, toward zero

Nothing is rounded on the way but the last two steps, so the shares never cost more than the cap.
"""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum

from attrs import Attribute, field, frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.money import EXACT, WIDE, ZERO, multiply, whole_quotient

ONE = Decimal(1)


def _require_fraction(_instance: object, attribute: "Attribute[Decimal]", value: Decimal) -> None:
    if not (value.is_finite() and 0 <= value < 1):
        raise ValueError(f"{attribute.name}: expected a fraction from 0 to below 1, got {value}")


def _require_lots(
    _instance: object, attribute: "Attribute[Mapping[Symbol, int]]", value: Mapping[Symbol, int]
) -> None:
    for symbol, lot in value.items():
        if type(lot) is not int or lot < 1:
            raise ValueError(f"{attribute.name}: expected whole lots of {symbol}, got {lot!r}")


class SizingMode(StrEnum):
    """What an order is: the whole target, or what the account lacks of it."""

    ABSOLUTE = "absolute"
    DELTA = "delta"


@frozen
class SizingRules:
    """How this service makes orders of weights, the same for every run.

    Attributes:
        lot_sizes: Shares that a symbol trades in multiples of; 1 where none is given.
        min_order_notional: An order worth less, account currency, is not sent; 0 sends all.
        cash_buffer: Fraction of the capital that is kept out of every target.
        spends_leftover: Whether the cash that rounding left buys further lots.
        mode: What an order is.
        closes_absent: Whether a position that was asked for and that no signal names is closed;
            in delta mode.
    """

    lot_sizes: Mapping[Symbol, int] = field(factory=dict, hash=False, validator=_require_lots)
    min_order_notional: Decimal = ZERO
    cash_buffer: Decimal = field(default=ZERO, validator=_require_fraction)
    spends_leftover: bool = False
    mode: SizingMode = SizingMode.ABSOLUTE
    closes_absent: bool = False

    def lot_of(self, symbol: Symbol) -> int:
        """Return the shares that the symbol trades in multiples of."""
        return self.lot_sizes.get(symbol, 1)


@frozen
class SizingPolicy:
    """How weights become positions.

    Attributes:
        capital: Account currency that a weight of 1 stands for, the buffer included.
        max_position_size: Cap on one position's notional, account currency.
        rules: How shares are rounded.
    """

    capital: Decimal
    max_position_size: Decimal
    rules: SizingRules = field(factory=SizingRules)

    @property
    def investable(self) -> Decimal:
        """The capital less its buffer, exactly."""
        buffer = self.rules.cash_buffer
        if buffer == ZERO:
            return self.capital
        return multiply(self.capital, EXACT.subtract(ONE, buffer))


@frozen
class Sizing:
    """The steps from a weight to shares.

    Attributes:
        weight: Fraction of capital; the sign is the direction.
        target_notional: |weight| x investable capital, account currency.
        capped_notional: The same, at most the cap.
        shares: Whole lots of shares that the capped notional buys; unsigned. With the leftover
            pass, and what that added.
        raw_shares: Whole shares before lots.
        lot: Shares a lot.
        added: Shares that the leftover pass added.
    """

    weight: Decimal
    target_notional: Decimal
    capped_notional: Decimal
    shares: int
    raw_shares: int = 0
    lot: int = 1
    added: int = 0

    @property
    def signed_shares(self) -> int:
        """The shares; below zero when short."""
        return self.shares if self.weight > 0 else -self.shares


def size_position(weight: Decimal, price: Decimal, policy: SizingPolicy, *, lot: int = 1) -> Sizing:
    """Return the steps from one target weight to whole lots of shares.

    Rounds toward zero, so the notional never exceeds the cap.

    Args:
        weight: Fraction of capital; positive long, negative short.
        price: Account currency per share, greater than zero.
        policy: Capital and cap.
        lot: Shares that are traded in multiples of.

    >>> policy = SizingPolicy(capital=Decimal(100_000), max_position_size=Decimal(20_000))
    >>> size_position(Decimal("-0.25"), Decimal("300.01"), policy).shares
    66
    >>> size_position(Decimal("-0.25"), Decimal("300.01"), policy, lot=10).shares
    60
    """
    # Decimal's own abs() rounds; a netted weight may have more digits than other factors.
    target = WIDE.multiply(weight.copy_abs(), policy.investable)
    capped = min(target, policy.max_position_size)
    raw = 0 if capped == ZERO else whole_quotient(capped, price)
    return Sizing(
        weight=weight,
        target_notional=target,
        capped_notional=capped,
        shares=raw - raw % lot,
        raw_shares=raw,
        lot=lot,
    )


def shortfall(sizing: Sizing, price: Decimal) -> Decimal:
    """Return what the shares cost less than the capped notional; below zero once they cost more."""
    return WIDE.subtract(sizing.capped_notional, multiply(price, sizing.shares))
