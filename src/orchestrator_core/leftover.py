"""Spending what rounding left, side by side of the basket.

Each position was rounded down to whole lots; together the remainders may buy further ones. The cash
of a side is the sum of its shortfalls, and never more is spent. Rounds are gone through: in each,
every position that still may gets one lot, the largest shortfall first, ties by rank, then by
symbol, as long as the cash, the cap and the caller's limits allow. No position gets smaller.
"""

from collections.abc import Callable, Sequence
from decimal import Decimal

from attrs import evolve, frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.money import WIDE, add_all, multiply, whole_quotient
from orchestrator_core.sizing import Sizing, shortfall


@frozen
class Rounded:
    """One position after rounding.

    Attributes:
        rank: 1 is the strategy's first choice.
        price: Account currency per share.
    """

    symbol: Symbol
    rank: int
    price: Decimal
    sizing: Sizing

    @property
    def cost_of_lot(self) -> Decimal:
        """What one more lot costs, account currency."""
        return multiply(self.price, self.sizing.lot)

    def enlarged(self, lots: int) -> "Rounded":
        """Return the position that many lots larger."""
        sizing, more = self.sizing, lots * self.sizing.lot
        larger = evolve(sizing, shares=sizing.shares + more, added=sizing.added + more)
        return evolve(self, sizing=larger)


def spend_leftover(
    positions: Sequence[Rounded], *, cap: Decimal, allows: Callable[[Rounded], bool]
) -> tuple[Rounded, ...]:
    """Return the positions, in their order, some a few lots larger.

    Args:
        positions: Of both sides; each side spends its own remainders.
        cap: On one position's notional, account currency.
        allows: Whether a position of that size is inside every other limit; a smaller one is, too.
    """

    def may_be(position: Rounded) -> bool:
        return multiply(position.price, position.sizing.shares) <= cap and allows(position)

    spent = {position.symbol: position for position in positions}
    for is_long in (True, False):
        side = [each for each in positions if (each.sizing.weight > 0) is is_long]
        spent |= {each.symbol: each for each in _spend_side(side, may_be)}
    return tuple(spent[position.symbol] for position in positions)


def _spend_side(side: Sequence[Rounded], may_be: Callable[[Rounded], bool]) -> list[Rounded]:
    done: list[Rounded] = []
    rest = list(side)
    cash = add_all(shortfall(each.sizing, each.price) for each in side)
    while rest:
        fitting = [each for each in rest if each.cost_of_lot <= cash and may_be(each.enlarged(1))]
        done += [each for each in rest if each not in fitting]
        fitting.sort(key=_turn)
        rest, cash = _whole_rounds(fitting, cash, may_be)
        rest, cash = _one_round(rest, cash, may_be)
    return done


def _whole_rounds(
    side: list[Rounded], cash: Decimal, may_be: Callable[[Rounded], bool]
) -> tuple[list[Rounded], Decimal]:
    """Go through as many rounds at once as every position can be served in."""
    cost = add_all(each.cost_of_lot for each in side)
    if not side or cost > cash:
        return side, cash
    rounds = whole_quotient(cash, cost)
    for each in side:
        rounds = _most_lots(each, rounds, may_be)
    spent = multiply(cost, rounds)
    return [each.enlarged(rounds) for each in side], WIDE.subtract(cash, spent)


def _most_lots(position: Rounded, wanted: int, may_be: Callable[[Rounded], bool]) -> int:
    """Return how many of the lots wanted may be added: all smaller numbers may."""
    least, most = 0, wanted
    while least < most:
        middle = (least + most + 1) // 2
        if may_be(position.enlarged(middle)):
            least = middle
        else:
            most = middle - 1
    return least


def _one_round(
    side: list[Rounded], cash: Decimal, may_be: Callable[[Rounded], bool]
) -> tuple[list[Rounded], Decimal]:
    served = []
    for each in side:
        cost, larger = each.cost_of_lot, each.enlarged(1)
        if cost <= cash and may_be(larger):
            cash = WIDE.subtract(cash, cost)
            served.append(larger)
        else:
            served.append(each)
    return served, cash


def _turn(position: Rounded) -> tuple[Decimal, int, Symbol]:
    left = shortfall(position.sizing, position.price)
    return left.copy_negate(), position.rank, position.symbol
