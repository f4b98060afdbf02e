"""Pre-trade controls: each a named check that yields a coded denial.

A check is a pure function of one order, its price and the limits. It answers None, or a `Denial`
that carries the figures compared. The first denial of `ORDER_CHECKS` stands. What a run sends as a
whole is judged after that: see `baskets`.
"""

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum

from attrs import frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import OrderIntent
from orchestrator_core.money import multiply


class DenialCode(StrEnum):
    """Which control denied an order, alone or with the whole of its run."""

    RESTRICTED_SYMBOL = "RESTRICTED_SYMBOL"
    SYMBOL_NOT_ALLOWED = "SYMBOL_NOT_ALLOWED"
    MAX_ORDER_QTY = "MAX_ORDER_QTY"
    MAX_ORDER_NOTIONAL = "MAX_ORDER_NOTIONAL"
    MAX_ORDERS_A_RUN = "MAX_ORDERS_A_RUN"
    MAX_BASKET_LONG = "MAX_BASKET_LONG"
    MAX_BASKET_SHORT = "MAX_BASKET_SHORT"
    MAX_BASKET_GROSS = "MAX_BASKET_GROSS"
    MAX_BASKET_NET = "MAX_BASKET_NET"
    MARKET_CLOSED = "MARKET_CLOSED"


# An order denied by one of these was denied with all others of its run.
BASKET_CODES = frozenset(
    {
        DenialCode.MAX_ORDERS_A_RUN,
        DenialCode.MAX_BASKET_LONG,
        DenialCode.MAX_BASKET_SHORT,
        DenialCode.MAX_BASKET_GROSS,
        DenialCode.MAX_BASKET_NET,
        DenialCode.MARKET_CLOSED,
    }
)


class SessionRule(StrEnum):
    """What is done with a run that is decided while the market is closed."""

    OFF = "off"
    WARN = "warn"
    REFUSE = "refuse"


@frozen
class Limits:
    """The bounds in force.

    Attributes:
        restricted_symbols: Symbols that are never traded.
        allowed_symbols: The only symbols that are traded; None leaves it open.
        max_order_qty: Shares an order; None leaves it open.
        max_order_notional: Account currency an order; None leaves it open.
        max_orders_a_run: Orders that one run sends; None leaves it open.
        max_basket_long: Account currency that one run buys for; None leaves it open.
        max_basket_short: Account currency that one run sells for; None leaves it open.
        max_basket_gross: The two together; None leaves it open.
        max_basket_net: How far one may be beyond the other; None leaves it open.
        market_session: What is done while the market is closed.
        max_signal_weight: |weight| of one signal.
        max_side_weight: Sum of the long, and of the short weights of one batch.
        max_price_age_seconds: Oldest price that may be traded on.
        max_price_lead_seconds: How far a price's time may run ahead of our clock.
    """

    restricted_symbols: frozenset[Symbol] = frozenset()
    allowed_symbols: frozenset[Symbol] | None = None
    max_order_qty: int | None = None
    max_order_notional: Decimal | None = None
    max_orders_a_run: int | None = None
    max_basket_long: Decimal | None = None
    max_basket_short: Decimal | None = None
    max_basket_gross: Decimal | None = None
    max_basket_net: Decimal | None = None
    market_session: SessionRule = SessionRule.OFF
    max_signal_weight: Decimal = Decimal(1)
    max_side_weight: Decimal = Decimal(1)
    max_price_age_seconds: float = 30.0
    max_price_lead_seconds: float = 5.0

    @property
    def has_basket_bounds(self) -> bool:
        """Whether any control looks at a run's orders as a whole."""
        if self.market_session is SessionRule.REFUSE or self.max_orders_a_run is not None:
            return True
        one_side = (self.max_basket_long, self.max_basket_short)
        both = (self.max_basket_gross, self.max_basket_net)
        return any(bound is not None for bound in (*one_side, *both))


@frozen
class Denial:
    """A control's no, with the figures it compared."""

    code: DenialCode
    figures: tuple[tuple[str, str], ...]

    @property
    def said(self) -> str:
        """The figures, in words."""
        return " ".join(f"{name}={value}" for name, value in self.figures)

    def __str__(self) -> str:
        return f"{self.code} {self.said}"


def deny_restricted(intent: OrderIntent, _price: Decimal, limits: Limits) -> Denial | None:
    """Deny an order in a symbol that is restricted, allowed or not."""
    if intent.symbol not in limits.restricted_symbols:
        return None
    return Denial(DenialCode.RESTRICTED_SYMBOL, (("symbol", intent.symbol),))


def deny_not_allowed(intent: OrderIntent, _price: Decimal, limits: Limits) -> Denial | None:
    """Deny an order in a symbol that is not on the list of those allowed, where there is one."""
    allowed = limits.allowed_symbols
    if allowed is None or intent.symbol in allowed:
        return None
    return Denial(DenialCode.SYMBOL_NOT_ALLOWED, (("symbol", intent.symbol),))


def deny_excess_qty(intent: OrderIntent, _price: Decimal, limits: Limits) -> Denial | None:
    """Deny an order of more shares than `max_order_qty`."""
    bound = limits.max_order_qty
    if bound is None or intent.qty <= bound:
        return None
    return Denial(DenialCode.MAX_ORDER_QTY, (("qty", f"{intent.qty}"), ("limit", f"{bound}")))


def deny_excess_notional(intent: OrderIntent, price: Decimal, limits: Limits) -> Denial | None:
    """Deny an order worth more than `max_order_notional` at the price it was sized with."""
    bound = limits.max_order_notional
    if bound is None:
        return None
    notional = multiply(price, intent.qty)
    if notional <= bound:
        return None
    return Denial(
        DenialCode.MAX_ORDER_NOTIONAL, (("notional", f"{notional}"), ("limit", f"{bound}"))
    )


OrderCheck = Callable[[OrderIntent, Decimal, Limits], Denial | None]

ORDER_CHECKS: tuple[OrderCheck, ...] = (
    deny_restricted,
    deny_not_allowed,
    deny_excess_qty,
    deny_excess_notional,
)


def first_denial(intent: OrderIntent, price: Decimal, limits: Limits) -> Denial | None:
    """Return the first denial of an order, or None if every control lets it through."""
    for check in ORDER_CHECKS:
        denial = check(intent, price, limits)
        if denial is not None:
            return denial
    return None
