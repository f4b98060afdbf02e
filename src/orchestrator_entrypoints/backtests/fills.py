"""What the simulated market makes of an order: when it fills, at what price, at what cost.

Chance is a function of the order's id and the seed: the same inputs give the same fills, in
whatever order they are asked for.
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar, cast

from attrs import Attribute, field, frozen
from attrs.converters import optional
from attrs.validators import deep_iterable, instance_of

from orchestrator_core.identifiers import Symbol, parse_symbol
from orchestrator_core.model import OrderIntent
from orchestrator_core.money import EXACT, ZERO, add_all, has_few_digits, multiply
from orchestrator_entrypoints.backtests.given_values import (
    day_of,
    exactly,
    number_of,
    python_number,
)

Word = TypeVar("Word", bound=StrEnum)

BASIS_POINTS = Decimal(10_000)
ONE = Decimal(1)


class FillTime(StrEnum):
    """Which price after a decision its orders trade at."""

    NEXT_OPEN = "next_open"
    NEXT_CLOSE = "next_close"


class FaultKind(StrEnum):
    """What goes wrong on a day.

    TIME_OUT: the gateway takes the order, its answer is lost. LOST: the order is lost on its way,
    and its answer with it. REJECT: the gateway does not take it. PARTIAL: a part fills. CRASH: the
    service dies after the orders were taken, before it heard so. GATEWAY_DOWN: nothing reaches the
    gateway. KILL_SWITCH: an operator engages it before the day's run and lets go of it after.
    """

    TIME_OUT = "time_out"
    LOST = "lost"
    REJECT = "reject"
    PARTIAL = "partial"
    CRASH = "crash"
    GATEWAY_DOWN = "gateway_down"
    KILL_SWITCH = "kill_switch"


# These befall the day; the others may befall one symbol.
OF_THE_DAY = frozenset({FaultKind.CRASH, FaultKind.GATEWAY_DOWN, FaultKind.KILL_SWITCH})


def _fault_day(given: Any) -> date:
    try:
        return day_of(given)
    except ValueError as error:
        raise ValueError(f"day: {error}") from None


def _kind_of(word: str) -> FaultKind:
    return _one_of(FaultKind, "kind", word)


def _time_of(word: str | None) -> FillTime | None:
    return None if word is None else _one_of(FillTime, "at", word)


def _one_of(words: type[Word], name: str, word: str) -> Word:
    try:
        return words(word)
    except ValueError:
        known = ", ".join(words)
        raise ValueError(f"{name}: expected one of {known}, got {str(word)[:60]!r}") from None


@frozen
class Fault:
    """Something that goes wrong with the orders decided on one date.

    Attributes:
        day: Of the signals; as it may be given with them, such as `2024-01-31`.
        symbol: Whose orders; None for those of every symbol.
    """

    day: date = field(converter=_fault_day)
    kind: FaultKind = field(converter=_kind_of)
    symbol: Symbol | None = field(default=None, converter=optional(parse_symbol))

    def __attrs_post_init__(self) -> None:
        if self.symbol is not None and self.kind in OF_THE_DAY:
            raise ValueError(f"symbol: {self.kind} befalls the whole day")


def _number(value: Decimal | str | float) -> Decimal:
    try:
        return exactly(number_of(value))
    except ValueError:
        return cast("Decimal", value)  # the validator refuses it, and knows its name


def _as_tuple(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    return tuple(faults)


def _require_cost(_instance: object, attribute: "Attribute[Decimal]", value: object) -> None:
    if not (isinstance(value, Decimal) and value >= 0 and has_few_digits(value)):
        raise ValueError(f"{attribute.name}: expected a number from 0, got {str(value)[:60]}")


def _require_seed(_instance: object, attribute: "Attribute[int]", value: object) -> None:
    if type(value) is not int:
        raise ValueError(f"{attribute.name}: expected a whole number, got {value!r}")


def _require_fraction(_instance: object, attribute: "Attribute[Decimal]", value: object) -> None:
    if not (isinstance(value, Decimal) and 0 <= value <= 1 and has_few_digits(value)):
        problem = f"expected a fraction from 0 to 1, got {str(value)[:60]}"
        raise ValueError(f"{attribute.name}: {problem}")


def _require_below_whole(
    _instance: object, attribute: "Attribute[Decimal]", value: Decimal
) -> None:
    if value >= BASIS_POINTS:
        raise ValueError(f"{attribute.name}: expected less than {BASIS_POINTS}, got {value}")


@frozen
class FillModel:
    """How orders fill.

    Attributes:
        at: None stands for the next open where opens are given, else for the next close.
        slippage_bps: How much worse than the market's the price is, in its ten-thousandths.
        commission_bps: Ten-thousandths of what is filled.
        commission_per_share: Account currency.
        commission_per_order: Account currency, of an order that fills at all.
        rejection_rate: Fraction of orders that the gateway does not take.
        partial_rate: Fraction of orders that fill in part; the rest ends with the day.
        partial_fraction: How much of such an order fills, in whole shares toward zero.
        seed: Which orders these are.
        faults: What goes wrong, by date.
    """

    at: FillTime | None = field(default=None, converter=_time_of)
    slippage_bps: Decimal = field(
        default=ZERO, converter=_number, validator=(_require_cost, _require_below_whole)
    )
    commission_bps: Decimal = field(default=ZERO, converter=_number, validator=_require_cost)
    commission_per_share: Decimal = field(default=ZERO, converter=_number, validator=_require_cost)
    commission_per_order: Decimal = field(default=ZERO, converter=_number, validator=_require_cost)
    rejection_rate: Decimal = field(default=ZERO, converter=_number, validator=_require_fraction)
    partial_rate: Decimal = field(default=ZERO, converter=_number, validator=_require_fraction)
    partial_fraction: Decimal = field(
        default=Decimal("0.5"), converter=_number, validator=_require_fraction
    )
    seed: int = field(default=0, converter=python_number, validator=_require_seed)
    faults: tuple[Fault, ...] = field(
        default=(), converter=_as_tuple, validator=deep_iterable(instance_of(Fault))
    )

    def faults_on(self, day: date) -> tuple[Fault, ...]:
        """Return what goes wrong with the orders decided on a date."""
        return tuple(fault for fault in self.faults if fault.day == day)

    def is_rejected(self, intent: OrderIntent) -> bool:
        """Whether the gateway does not take an order, by chance."""
        return self._befalls(intent, "rejection", self.rejection_rate)

    def is_partial(self, intent: OrderIntent) -> bool:
        """Whether an order fills in part, by chance."""
        return self._befalls(intent, "partial", self.partial_rate)

    def _befalls(self, intent: OrderIntent, kind: str, rate: Decimal) -> bool:
        if rate == ZERO:
            return False
        text = f"{self.seed}/{kind}/{intent.client_order_id}"
        drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        return drawn < multiply(rate, 1 << 64)

    def fill(self, intent: OrderIntent, market: Decimal, *, is_partial: bool) -> "Fill":
        """Return what is filled of an order.

        Args:
            intent: The order.
            market: Price that the symbol trades at, account currency per share.
            is_partial: Whether only a part fills.
        """
        qty = int(multiply(self.partial_fraction, intent.qty)) if is_partial else intent.qty
        direction = 1 if intent.signed_qty > 0 else -1
        price = market
        if self.slippage_bps:
            moved = multiply(EXACT.divide(self.slippage_bps, BASIS_POINTS), direction)
            price = multiply(market, EXACT.add(ONE, moved))
        rate = EXACT.divide(self.commission_bps, BASIS_POINTS)
        commission = add_all(
            (
                multiply(multiply(price, qty), rate),
                multiply(self.commission_per_share, qty),
                self.commission_per_order if qty else ZERO,
            )
        )
        slippage = multiply(EXACT.subtract(price, market).copy_abs(), qty)
        return Fill(intent, qty, price, commission, slippage)

    def in_words(self) -> Mapping[str, str]:
        """Return what differs from one backtest to another, by name."""
        words = {
            name: f"{value:f}"
            for name in (
                "slippage_bps",
                "commission_bps",
                "commission_per_share",
                "commission_per_order",
                "rejection_rate",
                "partial_rate",
            )
            if (value := getattr(self, name))
        }
        is_partial = any(fault.kind is FaultKind.PARTIAL for fault in self.faults)
        if self.partial_rate or is_partial:
            words["partial_fraction"] = f"{self.partial_fraction:f}"
        if self.partial_rate or self.rejection_rate:
            words["seed"] = str(self.seed)
        for fault in self.faults:
            words[f"fault {fault.day} {fault.symbol or 'all'} {fault.kind}"] = "yes"
        return words


@frozen
class Fill:
    """What was filled of an order.

    Attributes:
        qty: Shares, unsigned; 0 where the part that filled is less than one.
        price: Account currency per share, slippage in it.
        commission: Account currency.
        slippage: What the price took beside the market's, account currency.
    """

    intent: OrderIntent
    qty: int
    price: Decimal
    commission: Decimal
    slippage: Decimal

    @property
    def signed_qty(self) -> int:
        """Shares, below zero when sold."""
        return self.qty if self.intent.signed_qty > 0 else -self.qty

    @property
    def notional(self) -> Decimal:
        """Worth at the price filled at, account currency."""
        return multiply(self.price, self.qty)

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the order is left."""
        return self.qty == self.intent.qty
