"""Pre-trade controls: each a named check that yields a coded denial.

A check is a pure function of what is known of one order, and of the limits. It answers None, or a
`Denial` that carries the figures compared. The first denial of `ORDER_CHECKS` stands. What a run
sends as a whole is judged after that: see `baskets`.
"""

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum

from attrs import frozen

from orchestrator_core.holdings import Holdings, Unsettled
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import OrderIntent, Reference
from orchestrator_core.money import EXACT, multiply


class DenialCode(StrEnum):
    """Which control denied an order, alone or with the whole of its run."""

    UNSETTLED_ORDER = "UNSETTLED_ORDER"
    OPEN_ORDER = "OPEN_ORDER"
    RESTRICTED_SYMBOL = "RESTRICTED_SYMBOL"
    SYMBOL_NOT_ALLOWED = "SYMBOL_NOT_ALLOWED"
    MAX_ORDER_QTY = "MAX_ORDER_QTY"
    MAX_ORDER_NOTIONAL = "MAX_ORDER_NOTIONAL"
    PRICE_BAND = "PRICE_BAND"
    NO_REFERENCE_PRICE = "NO_REFERENCE_PRICE"
    REDUCE_ONLY = "REDUCE_ONLY"
    MAX_ORDERS_A_RUN = "MAX_ORDERS_A_RUN"
    MAX_BASKET_LONG = "MAX_BASKET_LONG"
    MAX_BASKET_SHORT = "MAX_BASKET_SHORT"
    MAX_BASKET_GROSS = "MAX_BASKET_GROSS"
    MAX_BASKET_NET = "MAX_BASKET_NET"
    MAX_DAY_LONG = "MAX_DAY_LONG"
    MAX_DAY_SHORT = "MAX_DAY_SHORT"
    MAX_DAY_GROSS = "MAX_DAY_GROSS"
    MAX_DAY_NET = "MAX_DAY_NET"
    MARKET_CLOSED = "MARKET_CLOSED"


# An order denied by one of these was denied with all others of its run.
BASKET_CODES = frozenset(
    {
        DenialCode.MAX_ORDERS_A_RUN,
        DenialCode.MAX_BASKET_LONG,
        DenialCode.MAX_BASKET_SHORT,
        DenialCode.MAX_BASKET_GROSS,
        DenialCode.MAX_BASKET_NET,
        DenialCode.MAX_DAY_LONG,
        DenialCode.MAX_DAY_SHORT,
        DenialCode.MAX_DAY_GROSS,
        DenialCode.MAX_DAY_NET,
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
        max_day_long: As `max_basket_long`, of all runs of a strategy and date; None leaves it open.
        max_day_short: As `max_basket_short`, so.
        max_day_gross: As `max_basket_gross`, so.
        max_day_net: As `max_basket_net`, so.
        price_band: How far a price may be from its reference, a fraction of that; None leaves it
            open.
        requires_reference: Whether an order without a reference price is denied.
        reduce_only: Whether only orders go that shrink a position.
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
    max_day_long: Decimal | None = None
    max_day_short: Decimal | None = None
    max_day_gross: Decimal | None = None
    max_day_net: Decimal | None = None
    price_band: Decimal | None = None
    requires_reference: bool = False
    reduce_only: bool = False
    market_session: SessionRule = SessionRule.OFF
    max_signal_weight: Decimal = Decimal(1)
    max_side_weight: Decimal = Decimal(1)
    max_price_age_seconds: float = 30.0
    max_price_lead_seconds: float = 5.0

    @property
    def has_basket_bounds(self) -> bool:
        """Whether any control looks at a run's orders as a whole."""
        bounds = (
            *(self.max_orders_a_run, self.max_basket_long, self.max_basket_short),
            *(self.max_basket_gross, self.max_basket_net),
        )
        if self.market_session is SessionRule.REFUSE or self.has_day_bounds:
            return True
        return any(bound is not None for bound in bounds)

    @property
    def has_day_bounds(self) -> bool:
        """Whether a control looks at all runs of a strategy and date together."""
        bounds = (self.max_day_long, self.max_day_short, self.max_day_gross, self.max_day_net)
        return any(bound is not None for bound in bounds)

    @property
    def needs_references(self) -> bool:
        """Whether a control compares prices with references."""
        return self.price_band is not None or self.requires_reference


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


@frozen
class OrderFacts:
    """One order with what controls look at.

    Attributes:
        price: What it was sized with, account currency per share.
        reference: What that price is held against; None where there is none.
        holdings: The account; None where no control needed it.
    """

    intent: OrderIntent
    price: Decimal
    reference: Reference | None = None
    holdings: Holdings | None = None


def deny_unsettled(facts: OrderFacts, _limits: Limits) -> Denial | None:
    """Deny an order in a symbol of which an earlier order's fate is not known."""
    holdings, symbol = facts.holdings, facts.intent.symbol
    unsettled = None if holdings is None else holdings.unsettled_on(symbol)
    return None if unsettled is None else denial_of(unsettled)


def denial_of(unsettled: Unsettled) -> Denial:
    """Return the denial of whatever would be decided on the symbol of an unsettled order."""
    figures = (("order", unsettled.client_order_id), ("state", unsettled.why))
    return Denial(DenialCode.UNSETTLED_ORDER, figures)


def deny_restricted(facts: OrderFacts, limits: Limits) -> Denial | None:
    """Deny an order in a symbol that is restricted, allowed or not."""
    symbol = facts.intent.symbol
    if symbol not in limits.restricted_symbols:
        return None
    return Denial(DenialCode.RESTRICTED_SYMBOL, (("symbol", symbol),))


def deny_not_allowed(facts: OrderFacts, limits: Limits) -> Denial | None:
    """Deny an order in a symbol that is not on the list of those allowed, where there is one."""
    allowed, symbol = limits.allowed_symbols, facts.intent.symbol
    if allowed is None or symbol in allowed:
        return None
    return Denial(DenialCode.SYMBOL_NOT_ALLOWED, (("symbol", symbol),))


def deny_excess_qty(facts: OrderFacts, limits: Limits) -> Denial | None:
    """Deny an order of more shares than `max_order_qty`."""
    bound, qty = limits.max_order_qty, facts.intent.qty
    if bound is None or qty <= bound:
        return None
    return Denial(DenialCode.MAX_ORDER_QTY, (("qty", f"{qty}"), ("limit", f"{bound}")))


def deny_excess_notional(facts: OrderFacts, limits: Limits) -> Denial | None:
    """Deny an order worth more than `max_order_notional` at the price it was sized with."""
    bound = limits.max_order_notional
    if bound is None:
        return None
    notional = multiply(facts.price, facts.intent.qty)
    if notional <= bound:
        return None
    return Denial(
        DenialCode.MAX_ORDER_NOTIONAL, (("notional", f"{notional}"), ("limit", f"{bound}"))
    )


def deny_outside_band(facts: OrderFacts, limits: Limits) -> Denial | None:
    """Deny an order whose price is further from its reference than `price_band`."""
    band, reference = limits.price_band, facts.reference
    if band is None or reference is None:
        return None
    distance = EXACT.subtract(facts.price, reference.price).copy_abs()
    if distance <= multiply(reference.price, band):
        return None
    figures = (
        ("price", f"{facts.price:f}"),
        (reference.source, f"{reference.price:f}"),
        ("limit", f"{band:f}"),
    )
    return Denial(DenialCode.PRICE_BAND, figures)


def deny_unreferenced(facts: OrderFacts, limits: Limits) -> Denial | None:
    """Deny an order whose price can be held against nothing, where that is asked for."""
    if not limits.requires_reference or facts.reference is not None:
        return None
    return Denial(DenialCode.NO_REFERENCE_PRICE, (("price", f"{facts.price:f}"),))


def deny_growth(facts: OrderFacts, limits: Limits) -> Denial | None:
    """Deny an order that would open, enlarge or turn a position, in reduce-only mode.

    What is on order already against the position counts as filled, what is on order with it as
    never filled. The second leg of a flip opens the other side, so it never goes. Where nothing is
    known of the account, nothing may go.
    """
    if not limits.reduce_only:
        return None
    intent, holdings = facts.intent, facts.holdings
    if holdings is None:
        return Denial(DenialCode.REDUCE_ONLY, (("position", "unknown"),))
    if intent.leg == 0 and holdings.allows_reduction(intent.symbol, intent.signed_qty):
        return None
    figures = (
        ("position", f"{holdings.held(intent.symbol)}"),
        ("on_order", f"{holdings.on_order(intent.symbol)}"),
        ("qty", f"{intent.signed_qty}"),
    )
    return Denial(DenialCode.REDUCE_ONLY, figures)


OrderCheck = Callable[[OrderFacts, Limits], Denial | None]

ORDER_CHECKS: tuple[OrderCheck, ...] = (
    deny_unsettled,
    deny_restricted,
    deny_not_allowed,
    deny_excess_qty,
    deny_excess_notional,
    deny_outside_band,
    deny_unreferenced,
    deny_growth,
)


def first_denial(facts: OrderFacts, limits: Limits) -> Denial | None:
    """Return the first denial of an order, or None if every control lets it through."""
    for check in ORDER_CHECKS:
        denial = check(facts, limits)
        if denial is not None:
            return denial
    return None
