"""From a target to what the account lacks of it: the orders of delta mode.

    target - position - own open orders = difference -> whole lots, toward zero -> one order or two

A broker takes no order that goes through zero. A flip is two legs: the first closes the position,
the second opens the other side once the first has filled.
"""

from attrs import frozen

from orchestrator_core.holdings import Holdings
from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import Denial, DenialCode


@frozen
class Difference:
    """What one symbol lacks of its target.

    Attributes:
        target: Shares wanted; below zero when short.
        held: Shares held, so signed.
        on_order: Shares that own open orders may still add, so signed.
        legs: Shares of each order, so signed; empty where nothing is to be done.
    """

    target: int
    held: int
    on_order: int
    legs: tuple[int, ...]

    @property
    def shares(self) -> int:
        """What is lacking, before lots; below zero where there is too much."""
        return self.target - self.held - self.on_order

    def closes(self, leg: int) -> bool:
        """Whether a leg closes the position: it goes whatever it is worth."""
        return leg == 0 and self.legs[0] == -(self.held + self.on_order)


def difference(target: int, *, held: int, on_order: int, lot: int = 1) -> Difference:
    """Return what is lacking of a target, as orders.

    Rounds toward zero in whole lots. What closes a position is not rounded: a position that is no
    multiple of a lot can be closed.

    >>> difference(-50, held=120, on_order=-20).legs
    (-100, -50)
    """
    now = held + on_order
    if target == 0 or (now > 0 > target) or (now < 0 < target):
        legs: tuple[int, ...] = (-now, target)
    else:
        lacking = target - now
        in_lots = abs(lacking) - abs(lacking) % lot
        legs = (in_lots if lacking > 0 else -in_lots,)
    return Difference(target, held, on_order, tuple(leg for leg in legs if leg))


def deny_beside_open(
    symbol: Symbol, signed_qty: int, *, is_second: bool, holdings: Holdings
) -> Denial | None:
    """Deny an order that could take the position through zero, should open orders not fill.

    Args:
        symbol: Whose.
        signed_qty: The order's shares; below zero when sold.
        is_second: The order is the second leg of a flip.
        holdings: The account.
    """
    held, on_order = holdings.held(symbol), holdings.on_order(symbol)
    if not holdings.has_orders(symbol):
        return None
    stands = held or on_order
    # Orders that cancel out may fill one without the other: then anything may be against.
    is_against = not stands or (signed_qty > 0) is not (stands > 0)
    if not is_second and not (is_against and abs(signed_qty) > abs(holdings.shrinkable(symbol))):
        return None
    figures = (("position", f"{held}"), ("on_order", f"{on_order}"), ("qty", f"{signed_qty}"))
    return Denial(DenialCode.OPEN_ORDER, figures)
