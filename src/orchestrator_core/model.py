"""The nouns: signals, quotes, positions, orders and what the gateway says of them.

Each is frozen and valid from birth. Money is `Decimal` in account currency, quantities are whole
shares, times are aware UTC. Weights and returns stay the floats that the strategy sent; they enter
arithmetic through `orchestrator_core.money.decimal_of`.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Any

from attrs import Attribute, field, frozen

from orchestrator_core.identifiers import ClientOrderId, StrategyId, Symbol
from orchestrator_core.money import ZERO, add_all, decimal_of, has_few_digits, multiply


class Side(StrEnum):
    """Direction of an order."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """How an order is priced."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class TimeInForce(StrEnum):
    """How long an order stands."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


def _require_finite(_instance: object, attribute: "Attribute[float]", value: float) -> None:
    if not isfinite(value):
        raise ValueError(f"{attribute.name}: expected a finite number, got {value!r}")


def _require_positive(_instance: object, attribute: "Attribute[Decimal]", value: Decimal) -> None:
    if not (value.is_finite() and value > 0 and has_few_digits(value)):
        raise ValueError(f"{attribute.name}: expected a finite number above zero, got {value}")


def _require_utc(_instance: object, attribute: "Attribute[datetime]", value: datetime) -> None:
    if value.tzinfo is not UTC:
        raise ValueError(f"{attribute.name}: expected a time in UTC, got {value!r}")


@frozen
class Contribution:
    """What one of several strategies put into a netted signal.

    Attributes:
        share: Fraction of the capital that the strategy is given.
        predicted_return: As the strategy sent it.
        rank: As the strategy sent it.
        target_weight: As the strategy sent it: a fraction of its own share.
    """

    strategy_id: StrategyId
    share: Decimal
    predicted_return: float = field(validator=_require_finite)
    rank: int
    target_weight: float = field(validator=_require_finite)

    @property
    def weight(self) -> Decimal:
        """Fraction of the whole capital, exactly."""
        return multiply(self.share, decimal_of(self.target_weight))


@frozen
class Signal:
    """One symbol of a strategy's answer, or of several strategies' answers netted.

    Attributes:
        predicted_return: Strategy's forecast, a fraction.
        rank: 1 is the strategy's first choice.
        target_weight: Fraction of capital; positive long, negative short. Of a netted signal the
            float nearest to `weight`.
        contributions: What each strategy put in, by name; empty where there is but one.
    """

    symbol: Symbol
    predicted_return: float = field(validator=_require_finite)
    rank: int
    target_weight: float = field(validator=_require_finite)
    contributions: tuple[Contribution, ...] = ()

    @property
    def weight(self) -> Decimal:
        """Fraction of capital, exactly: what is sized."""
        if not self.contributions:
            return decimal_of(self.target_weight)
        return add_all(each.weight for each in self.contributions)


@frozen
class SignalBatch:
    """A strategy's whole answer for one date.

    Attributes:
        signals: As received, in the strategy's order.
        as_of_date: The date that the strategy says it answers for.
        num_signals: Count that the strategy declares.
        metadata: The strategy's own words, stored and shown as they came.
    """

    signals: tuple[Signal, ...]
    as_of_date: date
    num_signals: int
    metadata: Mapping[str, Any] = field(factory=dict, hash=False)


@frozen
class Quote:
    """A price, per share, with where and when it was seen."""

    symbol: Symbol
    price: Decimal = field(validator=_require_positive)
    as_of: datetime = field(validator=_require_utc)
    source: str


@frozen
class NoQuote:
    """Why a symbol has no usable price."""

    symbol: Symbol
    reason: str


@frozen
class Reference:
    """A price that an order's own price is held against.

    Attributes:
        price: Account currency per share.
        as_of: When it was made, or the end of the day that it closed.
        source: `previous_close` or `last_accepted`.
    """

    symbol: Symbol
    price: Decimal = field(validator=_require_positive)
    as_of: datetime = field(validator=_require_utc)
    source: str


@frozen
class Position:
    """Shares held; negative when short."""

    symbol: Symbol
    qty: int


@frozen
class OrderIntent:
    """A sized order, fit to be sent. Its bytes never change once sent.

    Attributes:
        qty: Whole shares, greater than zero.
    """

    client_order_id: ClientOrderId
    symbol: Symbol
    side: Side
    qty: int = field()
    order_type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce = TimeInForce.DAY
    leg: int = 0

    @qty.validator
    def _require_shares(self, _attribute: "Attribute[int]", value: int) -> None:
        if type(value) is not int or value <= 0:
            raise ValueError(f"qty: expected whole shares above zero, got {value!r}")

    @property
    def signed_qty(self) -> int:
        """Shares, below zero when sold."""
        return self.qty if self.side is Side.BUY else -self.qty


@frozen
class OrderReport:
    """What the gateway said of one order.

    Attributes:
        status: The gateway's own word, such as `accepted` or `filled`.
        gateway_order_id: The id that the gateway answers under; ours, unless it is id-blind.
        filled_qty: Shares; the gateway may report fractions.
        filled_avg_price: Account currency per share.
    """

    status: str
    gateway_order_id: str
    broker_order_id: str | None = None
    filled_qty: Decimal = ZERO
    filled_avg_price: Decimal | None = None
    message: str | None = None


@frozen
class SafetyFlags:
    """Which brakes a service claims to have on."""

    dry_run: bool
    alpaca_paper: bool
    circuit_breaker_enabled: bool

    def is_as_safe_as(self, claimed: "SafetyFlags") -> bool:
        """Whether every order sent here ends at least as harmless as `claimed` says."""
        if claimed.dry_run:
            return self.dry_run
        if claimed.alpaca_paper:
            return self.dry_run or self.alpaca_paper
        return True
