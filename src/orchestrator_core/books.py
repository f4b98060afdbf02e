"""A strategy's book: the orders as the run database holds them, which further plans depend on.

Two plans that are made from the same book would each spend what the book leaves: of the day's
limits one strategy's, of the positions the whole account's. So there is one version for the books
of all strategies of a run database, which trade one account. A plan that depends on its book is
committed only while the version is the one it was made from; committing it makes the next one. A
plan that came too late is made again.
"""

from collections.abc import Iterable
from decimal import Decimal

from attrs import frozen

from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import OrderIntent, OrderReport, Side
from orchestrator_core.money import ZERO, add_all, multiply


@frozen
class DayOrder:
    """An order of one strategy and date that holds its id, and was not rejected.

    Attributes:
        notional: What it is worth at the price that it was sized with, account currency; of an
            order whose price was not kept, the cap that it was sized under.
    """

    client_order_id: ClientOrderId
    side: Side
    notional: Decimal


@frozen
class BookedOrder:
    """An order that may still change the account.

    Attributes:
        state: PLANNED, SENDING, ACCEPTED, UNKNOWN, UNRESOLVED or CONFLICT. An ACCEPTED one had not
            ended when last heard of.
        report: The gateway's latest word that is stored.
    """

    intent: OrderIntent
    state: OrderState
    report: OrderReport | None = None


@frozen
class StrategyBook:
    """One strategy's book at one moment.

    Attributes:
        version: Counts the plans that depended on a book, of every strategy of the database, from
            0.
        day_orders: Of the strategy and one date, in the order of their ids.
        open_orders: Of every strategy of the database, of any date, in the order of their ids: they
            trade one account.
    """

    version: int
    day_orders: tuple[DayOrder, ...] = ()
    open_orders: tuple[BookedOrder, ...] = ()


@frozen
class DayExposure:
    """What a strategy has ordered on one date so far.

    Attributes:
        long: Worth of what was bought, account currency.
        short: Worth of what was sold, account currency, unsigned.
        held_ids: Those of its orders that this run's signals would have again: such an order is
            adopted, and counts once.
    """

    long: Decimal = ZERO
    short: Decimal = ZERO
    held_ids: frozenset[ClientOrderId] = frozenset()


def day_exposure(orders: Iterable[DayOrder], ids: Iterable[ClientOrderId]) -> DayExposure:
    """Return what a day's orders come to; `ids` are those that a run may have again."""
    orders = tuple(orders)
    held = {order.client_order_id for order in orders}
    return DayExposure(
        long=add_all(order.notional for order in orders if order.side is Side.BUY),
        short=add_all(order.notional for order in orders if order.side is Side.SELL),
        held_ids=frozenset(held.intersection(ids)),
    )


def notional_of(intent: OrderIntent, price: Decimal | None, *, cap: Decimal) -> Decimal:
    """Return what an order is worth, account currency; the cap where its price was not kept."""
    return cap if price is None else multiply(price, intent.qty)
