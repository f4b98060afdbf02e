"""How near a plan comes to what the strategy wanted: cash left, and tracking error."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal

from attrs import frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Quote
from orchestrator_core.money import SHOWN, WIDE, ZERO, add_all, multiply, rounded
from orchestrator_core.plans import OrderPlan, Snapshot

# Tracking error is shown, and never computed with.
PLACES = Decimal("1e-12")


@frozen
class Allocation:
    """A plan beside what its weights asked for, as if every order to be sent fills at its price.

    Attributes:
        investable: Capital that a weight of 1 stands for, less its buffer, account currency.
        wanted: Sum of |weight| x investable, account currency.
        allocated: Worth of the positions of those symbols afterwards, unsigned, account currency.
        leftover_cash: `wanted` less `allocated`; below zero where more is held than was wanted.
        tracking_error: Root mean square, over the symbols, of the weight wanted less the weight
            got; a fraction, to twelve places, half to even.
    """

    investable: Decimal
    wanted: Decimal
    allocated: Decimal
    leftover_cash: Decimal
    tracking_error: Decimal


def allocation_of(plan: OrderPlan, snapshot: Snapshot) -> Allocation:
    """Return how near a plan comes to what its weights asked for.

    A symbol without a usable price counts as not held.
    """
    investable = snapshot.policy.sizing.investable
    wanted: dict[Symbol, Decimal] = {}
    held: dict[Symbol, int] = {}
    prices: dict[Symbol, Decimal] = {}
    for decision in plan.decisions:
        symbol = decision.signal.symbol
        wanted[symbol] = WIDE.multiply(decision.signal.weight, investable)
        if isinstance(decision.quote, Quote):
            prices[symbol] = decision.quote.price
        lacking = decision.difference
        before = 0 if lacking is None else lacking.held + lacking.on_order
        held.setdefault(symbol, before)
        if decision.is_to_be_sent and decision.intent is not None:
            held[symbol] += decision.intent.signed_qty
    got = {symbol: multiply(prices.get(symbol, ZERO), qty) for symbol, qty in held.items()}
    return allocation_between(wanted, got, investable)


def allocation_between(
    wanted: Mapping[Symbol, Decimal], got: Mapping[Symbol, Decimal], investable: Decimal
) -> Allocation:
    """Return how near positions come to what was wanted.

    Args:
        wanted: Worth by symbol, below zero when short, account currency.
        got: The same of the same symbols, as held.
        investable: Capital that a weight of 1 stands for, less its buffer, account currency.
    """
    total = add_all(notional.copy_abs() for notional in wanted.values())
    allocated = add_all(notional.copy_abs() for notional in got.values())
    return Allocation(
        investable=investable,
        wanted=total,
        allocated=allocated,
        leftover_cash=WIDE.subtract(total, allocated),
        tracking_error=_root_mean_square(
            [WIDE.subtract(wanted[symbol], got[symbol]) for symbol in wanted], investable
        ),
    )


def _root_mean_square(misses: list[Decimal], investable: Decimal) -> Decimal:
    if not misses:
        return ZERO
    squares = ZERO
    for miss in misses:
        fraction = SHOWN.divide(miss, investable)
        squares = SHOWN.add(squares, SHOWN.multiply(fraction, fraction))
    mean = SHOWN.divide(squares, Decimal(len(misses)))
    return rounded(SHOWN.sqrt(mean), PLACES, ROUND_HALF_EVEN)
