"""Controls of a run's orders as a whole: the basket is sent within them, or none of it is.

A basket is what is left of a plan after the controls of single orders. Its exposures are those of
its orders alone, at the prices that they were sized with: positions held before are not in them.
What the strategy ordered in other runs of the date is in the exposures of the day.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal

from attrs import frozen

from orchestrator_core.books import DayExposure
from orchestrator_core.limits import Denial, DenialCode, Limits, SessionRule
from orchestrator_core.model import OrderIntent, Side
from orchestrator_core.money import WIDE, ZERO, multiply
from orchestrator_core.sessions import is_open, next_opening


@frozen
class Basket:
    """The orders that are to be sent by one run.

    Attributes:
        orders: How many they are.
        long: Worth of what is bought, account currency.
        short: Worth of what is sold, account currency, unsigned.
        decided_at: When it was decided to send them.
        day_long: Worth of all that the strategy buys on the date, these orders included.
        day_short: Worth of all that it sells, unsigned.
    """

    decided_at: datetime
    orders: int
    long: Decimal
    short: Decimal
    day_long: Decimal = ZERO
    day_short: Decimal = ZERO

    @property
    def gross(self) -> Decimal:
        """Worth of all orders, account currency."""
        return WIDE.add(self.long, self.short)

    @property
    def net(self) -> Decimal:
        """What is bought less what is sold, account currency; below zero when more is sold."""
        return WIDE.subtract(self.long, self.short)


def basket_of(
    orders: Iterable[tuple[OrderIntent, Decimal]],
    decided_at: datetime,
    day: DayExposure | None = None,
) -> Basket:
    """Return the basket of orders, each with its price.

    Args:
        orders: To be sent.
        decided_at: When.
        day: What the strategy has ordered on the date before; an order that stands in there
            already adds nothing to it.
    """
    day = DayExposure() if day is None else day
    count = 0
    worth = {Side.BUY: ZERO, Side.SELL: ZERO}
    of_day = {Side.BUY: day.long, Side.SELL: day.short}
    for intent, price in orders:
        count += 1
        notional, side = multiply(price, intent.qty), intent.side
        worth[side] = WIDE.add(worth[side], notional)
        if intent.client_order_id not in day.held_ids:
            of_day[side] = WIDE.add(of_day[side], notional)
    return Basket(
        decided_at,
        count,
        long=worth[Side.BUY],
        short=worth[Side.SELL],
        day_long=of_day[Side.BUY],
        day_short=of_day[Side.SELL],
    )


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


def deny_excess_day_long(basket: Basket, limits: Limits) -> Denial | None:
    """Deny a basket with which the strategy buys for more than `max_day_long` on the date."""
    return _deny_above(DenialCode.MAX_DAY_LONG, "long", basket.day_long, limits.max_day_long)


def deny_excess_day_short(basket: Basket, limits: Limits) -> Denial | None:
    """Deny a basket with which the strategy sells for more than `max_day_short` on the date."""
    return _deny_above(DenialCode.MAX_DAY_SHORT, "short", basket.day_short, limits.max_day_short)


def deny_excess_day_gross(basket: Basket, limits: Limits) -> Denial | None:
    """Deny a basket with which the date's orders are worth more than `max_day_gross`."""
    gross = WIDE.add(basket.day_long, basket.day_short)
    return _deny_above(DenialCode.MAX_DAY_GROSS, "gross", gross, limits.max_day_gross)


def deny_excess_day_net(basket: Basket, limits: Limits) -> Denial | None:
    """Deny a basket with which the date's buys, or sells, outweigh by more than `max_day_net`."""
    net = WIDE.subtract(basket.day_long, basket.day_short)
    return _deny_above(DenialCode.MAX_DAY_NET, "net", net, limits.max_day_net)


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
    deny_excess_day_long,
    deny_excess_day_short,
    deny_excess_day_gross,
    deny_excess_day_net,
)


def first_basket_denial(basket: Basket, limits: Limits) -> Denial | None:
    """Return the first denial of a basket, or None if every control lets it through."""
    for check in BASKET_CHECKS:
        denial = check(basket, limits)
        if denial is not None:
            return denial
    return None
