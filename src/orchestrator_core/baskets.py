"""Controls of a run's orders as a whole: the basket is sent within them, or none of it is.

A basket is what is left of a plan after the controls of single orders. Its exposures are those of
its orders alone, at the prices that they were sized with: positions held before, and other runs,
are not in them.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal

from attrs import frozen

from orchestrator_core.limits import Denial, DenialCode, Limits, SessionRule
from orchestrator_core.model import OrderIntent, Side
from orchestrator_core.money import EXACT, ZERO, multiply
from orchestrator_core.sessions import is_open, next_opening


@frozen
class Basket:
    """The orders that are to be sent by one run.

    Attributes:
        orders: How many they are.
        long: Worth of what is bought, account currency.
        short: Worth of what is sold, account currency, unsigned.
        decided_at: When it was decided to send them.
    """

    decided_at: datetime
    orders: int
    long: Decimal
    short: Decimal

    @property
    def gross(self) -> Decimal:
        """Worth of all orders, account currency."""
        return EXACT.add(self.long, self.short)

    @property
    def net(self) -> Decimal:
        """What is bought less what is sold, account currency; below zero when more is sold."""
        return EXACT.subtract(self.long, self.short)


def basket_of(orders: Iterable[tuple[OrderIntent, Decimal]], decided_at: datetime) -> Basket:
    """Return the basket of orders, each with its price."""
    count, worth = 0, {Side.BUY: ZERO, Side.SELL: ZERO}
    for intent, price in orders:
        count += 1
        worth[intent.side] = EXACT.add(worth[intent.side], multiply(price, intent.qty))
    return Basket(decided_at, count, long=worth[Side.BUY], short=worth[Side.SELL])


def deny_closed_market(basket: Basket, limits: Limits) -> Denial | None:
    """Deny a basket that is decided while the market is closed, where that is refused."""
    if limits.market_session is not SessionRule.REFUSE or not basket.orders:
        return None
    return market_closed(basket.decided_at)


def market_closed(at: datetime) -> Denial | None:
    """Say that the market is closed at a time, and when it opens; None while it is open."""
    if is_open(at):
        return None
    times = (("at", at), ("opens", next_opening(at)))
    figures = tuple((name, f"{time:%Y-%m-%dT%H:%M:%SZ}") for name, time in times)
    return Denial(DenialCode.MARKET_CLOSED, figures)


def deny_excess_orders(basket: Basket, limits: Limits) -> Denial | None:
    """Deny a basket of more orders than `max_orders_a_run`."""
    bound = limits.max_orders_a_run
    if bound is None or basket.orders <= bound:
        return None
    figures = (("orders", f"{basket.orders}"), ("limit", f"{bound}"))
    return Denial(DenialCode.MAX_ORDERS_A_RUN, figures)


def deny_excess_long(basket: Basket, limits: Limits) -> Denial | None:
    """Deny a basket that buys for more than `max_basket_long`."""
    return _deny_above(DenialCode.MAX_BASKET_LONG, "long", basket.long, limits.max_basket_long)


def deny_excess_short(basket: Basket, limits: Limits) -> Denial | None:
    """Deny a basket that sells for more than `max_basket_short`."""
    return _deny_above(DenialCode.MAX_BASKET_SHORT, "short", basket.short, limits.max_basket_short)


def deny_excess_gross(basket: Basket, limits: Limits) -> Denial | None:
    """Deny a basket whose orders are worth more than `max_basket_gross` together."""
    return _deny_above(DenialCode.MAX_BASKET_GROSS, "gross", basket.gross, limits.max_basket_gross)


def deny_excess_net(basket: Basket, limits: Limits) -> Denial | None:
    """Deny a basket that buys, or sells, for more than `max_basket_net` beyond the other."""
    return _deny_above(DenialCode.MAX_BASKET_NET, "net", basket.net, limits.max_basket_net)


def _deny_above(
    code: DenialCode, name: str, exposure: Decimal, bound: Decimal | None
) -> Denial | None:
    # Decimal's own abs() rounds.
    if bound is None or exposure.copy_abs() <= bound:
        return None
    return Denial(code, ((name, f"{exposure:f}"), ("limit", f"{bound:f}")))


BasketCheck = Callable[[Basket, Limits], Denial | None]

BASKET_CHECKS: tuple[BasketCheck, ...] = (
    deny_closed_market,
    deny_excess_orders,
    deny_excess_long,
    deny_excess_short,
    deny_excess_gross,
    deny_excess_net,
)


def first_basket_denial(basket: Basket, limits: Limits) -> Denial | None:
    """Return the first denial of a basket, or None if every control lets it through."""
    for check in BASKET_CHECKS:
        denial = check(basket, limits)
        if denial is not None:
            return denial
    return None
