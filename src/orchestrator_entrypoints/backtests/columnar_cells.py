"""One cell, decided by the core itself; and which policies decide cell by cell at all."""

from decimal import Decimal
from enum import StrEnum

from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.limits import DenialCode, OrderFacts, first_denial
from orchestrator_core.model import OrderIntent, Side
from orchestrator_core.money import decimal_of, multiply
from orchestrator_core.plans import PlanningPolicy, SkipReason
from orchestrator_core.sizing import SizingMode, size_position


class BatchFault(StrEnum):
    """Why nothing of a day was decided."""

    REFUSED = "batch_refused"


# What the codes of cells stand for: a code is a place in this table; 0 is an order that is sent.
CODES: tuple[SkipReason | DenialCode | BatchFault | None, ...] = (
    None,
    SkipReason.ZERO_WEIGHT,
    SkipReason.PRICE_UNAVAILABLE,
    SkipReason.LESS_THAN_ONE_SHARE,
    SkipReason.LESS_THAN_MINIMUM,
    DenialCode.RESTRICTED_SYMBOL,
    DenialCode.SYMBOL_NOT_ALLOWED,
    DenialCode.MAX_ORDER_QTY,
    DenialCode.MAX_ORDER_NOTIONAL,
    BatchFault.REFUSED,
)

MAX_SHARES = 2**63 - 1

# Ids belong to decisions: nothing that arrays decide depends on one.
_NO_ID = ClientOrderId("columnar")


class NotColumnar(Exception):
    """A policy, or a quantity, that arrays cannot stand for: plan such runs one by one.

    Attributes:
        reason: What it was.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def require_columnar(policy: PlanningPolicy) -> None:
    """Refuse a policy under which one cell depends on others, or on more than weight and price.

    Raises:
        NotColumnar: It names what the cells depend on.
    """
    rules, limits = policy.sizing.rules, policy.limits
    if rules.mode is not SizingMode.ABSOLUTE:
        raise NotColumnar("in delta mode an order depends on what is held")
    if rules.spends_leftover:
        raise NotColumnar("the leftover pass looks at a day's positions together")
    if limits.has_day_bounds:
        raise NotColumnar("a limit on a day's orders looks at several runs together")
    if limits.has_basket_bounds:
        raise NotColumnar("a limit on a run's orders looks at all of them together")
    if limits.needs_references:
        raise NotColumnar("a limit on prices needs reference prices")
    if limits.reduce_only:
        raise NotColumnar("in reduce-only mode an order depends on what is held")
    if any(lot > MAX_SHARES for lot in rules.lot_sizes.values()):
        raise NotColumnar(f"a lot of more than {MAX_SHARES} shares")


def decide_cell(
    weight: float, price: float, symbol: Symbol, policy: PlanningPolicy
) -> tuple[int, int]:
    """Return a cell's signed shares and its code, as planning decides them.

    The weight is not 0, and the price, account currency per share, is one that a quote may have.

    Raises:
        NotColumnar: More shares than 64 bits hold.
    """
    exact_price = decimal_of(price)
    lot = policy.sizing.rules.lot_of(symbol)
    sizing = size_position(decimal_of(weight), exact_price, policy.sizing, lot=lot)
    if sizing.shares > MAX_SHARES:
        raise NotColumnar(f"{symbol} at {price!r}: more than {MAX_SHARES} shares")
    why = hindrance(sizing.signed_shares, exact_price, symbol, policy)
    return sizing.signed_shares, CODES.index(why)


def hindrance(
    shares: int, price: Decimal, symbol: Symbol, policy: PlanningPolicy, *, closes: bool = False
) -> SkipReason | DenialCode | None:
    """Return why an order for so many shares is not sent, as planning decides it; None: it is.

    Args:
        shares: Below zero to sell them.
        price: Account currency per share.
        symbol: Whose.
        policy: Rules and limits in force.
        closes: Whether it closes a position, whatever it is worth.
    """
    if shares == 0:
        return SkipReason.LESS_THAN_ONE_SHARE
    if not closes and multiply(price, abs(shares)) < policy.sizing.rules.min_order_notional:
        return SkipReason.LESS_THAN_MINIMUM
    facts = OrderFacts(intent_of(symbol, shares), price)
    denial = first_denial(facts, policy.limits)
    return None if denial is None else denial.code


def intent_of(symbol: Symbol, shares: int) -> OrderIntent:
    """Return an order for so many shares, below zero to sell them; its id stands for nothing."""
    side = Side.BUY if shares > 0 else Side.SELL
    return OrderIntent(_NO_ID, symbol, side, abs(shares))
