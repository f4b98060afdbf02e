"""The decision: from a snapshot of everything known to a plan of orders.

`plan_orders` is pure, total and deterministic. The snapshot holds all that it reads, the decision
time included, so a stored run can be derived again.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from operator import itemgetter

from attrs import evolve, frozen

from orchestrator_core.baskets import basket_of, first_basket_denial
from orchestrator_core.identifiers import Decision, Symbol
from orchestrator_core.leftover import Rounded, spend_leftover
from orchestrator_core.limits import BASKET_CODES, Denial, Limits, first_denial
from orchestrator_core.model import NoQuote, OrderIntent, Quote, Side, Signal, SignalBatch
from orchestrator_core.money import decimal_of, multiply
from orchestrator_core.requests import RunRequest
from orchestrator_core.sizing import Sizing, SizingPolicy, size_position


class SkipReason(StrEnum):
    """Why a signal needs no order."""

    ZERO_WEIGHT = "zero_weight"
    LESS_THAN_ONE_SHARE = "qty_less_than_one_share"
    LESS_THAN_MINIMUM = "notional_below_minimum"
    PRICE_UNAVAILABLE = "price_unavailable"
    DRY_RUN = "dry_run"


@frozen
class PlanningPolicy:
    """Sizing and limits in force for one run."""

    sizing: SizingPolicy
    limits: Limits


@frozen
class Snapshot:
    """Everything that a plan is derived from.

    Attributes:
        decision: Identity of what is decided.
        request: The request that the run is held to.
        policy: Sizing and limits in force.
        batch: The signals as received.
        quotes: One answer a symbol that has a weight, in the signals' order.
        decided_at: Time that price ages are measured at.
        code_version: Version of this library.
    """

    decision: Decision
    request: RunRequest
    policy: PlanningPolicy
    batch: SignalBatch
    quotes: tuple[Quote | NoQuote, ...]
    decided_at: datetime
    code_version: str


@frozen
class SizingDecision:
    """One signal's way from weight to order, or to the reason why there is none.

    Attributes:
        signal: The signal as received.
        quote: The price it was sized with, or why there is none; None if none was needed.
        sizing: The steps to shares; None if it stopped before.
        intent: The order; present also when it was denied or is not to be sent.
        skip: Why nothing is sent.
        skip_detail: What was wrong, for `PRICE_UNAVAILABLE`.
        denial: The control that denied the order, alone or with its whole basket.
    """

    signal: Signal
    quote: Quote | NoQuote | None = None
    sizing: Sizing | None = None
    intent: OrderIntent | None = None
    skip: SkipReason | None = None
    skip_detail: str | None = None
    denial: Denial | None = None

    @property
    def is_to_be_sent(self) -> bool:
        """Whether an order follows."""
        return self.intent is not None and self.skip is None and self.denial is None


@frozen
class OrderPlan:
    """One decision a signal, in the signals' order."""

    decisions: tuple[SizingDecision, ...]

    @property
    def intents(self) -> tuple[OrderIntent, ...]:
        """The orders to be sent, in the order of sending: see `sending_order`."""
        return sending_order(self.decisions)

    @property
    def refusal(self) -> Denial | None:
        """The denial of all orders together; None where each was judged for itself."""
        for decision in self.decisions:
            if decision.denial is not None and decision.denial.code in BASKET_CODES:
                return decision.denial
        return None


def price_problem(as_of: datetime, now: datetime, limits: Limits) -> str | None:
    """Say why a price of that time may not be traded on now, or return None.

    A price exactly as old as the limit is still good.
    """
    age = now - as_of
    if age > timedelta(seconds=limits.max_price_age_seconds):
        return f"stale, {age.total_seconds():.1f} s old, limit {limits.max_price_age_seconds:g} s"
    if -age > timedelta(seconds=limits.max_price_lead_seconds):
        return f"{-age.total_seconds():.1f} s ahead of our clock"
    return None


def plan_orders(snapshot: Snapshot, policy: PlanningPolicy) -> OrderPlan:
    """Derive the plan: one decision a signal, in the signals' order.

    Orders are denied one by one; what is left is the basket, which is judged as a whole: one denial
    denies all of it. The leftover pass is undone where the basket is refused with what it added.
    """
    quotes = {quote.symbol: quote for quote in snapshot.quotes}
    sized = [
        _size(signal, quotes.get(signal.symbol), snapshot, policy)
        for signal in snapshot.batch.signals
    ]
    spends = policy.sizing.rules.spends_leftover
    spent = _spend_leftover(sized, snapshot, policy) if spends else sized
    decided, denial = _decide_together(spent, snapshot, policy)
    if spends and denial is not None:
        decided, denial = _decide_together(sized, snapshot, policy)
    return OrderPlan(tuple(_end(decision, denial, snapshot) for decision in decided))


def _size(
    signal: Signal, quote: Quote | NoQuote | None, snapshot: Snapshot, policy: PlanningPolicy
) -> SizingDecision:
    """Return the decision as far as it goes without an order."""
    weight = decimal_of(signal.target_weight)
    if weight == 0:
        return SizingDecision(signal, quote, skip=SkipReason.ZERO_WEIGHT)
    if not isinstance(quote, Quote):
        detail = "no price" if quote is None else quote.reason
        return SizingDecision(signal, quote, skip=SkipReason.PRICE_UNAVAILABLE, skip_detail=detail)
    problem = price_problem(quote.as_of, snapshot.decided_at, policy.limits)
    if problem is not None:
        return SizingDecision(signal, quote, skip=SkipReason.PRICE_UNAVAILABLE, skip_detail=problem)
    lot = policy.sizing.rules.lot_of(signal.symbol)
    return SizingDecision(signal, quote, size_position(weight, quote.price, policy.sizing, lot=lot))


def _spend_leftover(
    sized: Sequence[SizingDecision], snapshot: Snapshot, policy: PlanningPolicy
) -> list[SizingDecision]:
    positions = [
        Rounded(decision.signal.symbol, decision.signal.rank, decision.quote.price, decision.sizing)
        for decision in sized
        if decision.sizing is not None and isinstance(decision.quote, Quote)
    ]

    def allows(position: Rounded) -> bool:
        intent = _intend(position.symbol, position.sizing, snapshot.decision)
        return first_denial(intent, position.price, policy.limits) is None

    spent = spend_leftover(positions, cap=policy.sizing.max_position_size, allows=allows)
    sizings = {position.symbol: position.sizing for position in spent}
    return [evolve(each, sizing=sizings.get(each.signal.symbol)) for each in sized]


def _decide_together(
    sized: Iterable[SizingDecision], snapshot: Snapshot, policy: PlanningPolicy
) -> tuple[list[SizingDecision], Denial | None]:
    """Return the decisions, and why the orders among them are refused as a whole, if they are."""
    decided = [_decide(decision, snapshot, policy) for decision in sized]
    if not policy.limits.has_basket_bounds:
        return decided, None
    orders = (
        (decision.intent, decision.quote.price)
        for decision in decided
        if decision.intent is not None
        and decision.denial is None
        and isinstance(decision.quote, Quote)
    )
    return decided, first_basket_denial(basket_of(orders, snapshot.decided_at), policy.limits)


def _end(decided: SizingDecision, denial: Denial | None, snapshot: Snapshot) -> SizingDecision:
    """Return the decision with what holds back every order of the run, if anything does."""
    if decided.intent is None or decided.denial is not None:
        return decided
    if denial is not None:
        return evolve(decided, denial=denial)
    return evolve(decided, skip=SkipReason.DRY_RUN) if snapshot.request.dry_run else decided


def _decide(sized: SizingDecision, snapshot: Snapshot, policy: PlanningPolicy) -> SizingDecision:
    """Return the decision with its order, or with why there is none."""
    sizing, quote = sized.sizing, sized.quote
    if sizing is None or not isinstance(quote, Quote):
        return sized
    if sizing.shares == 0:
        return evolve(sized, skip=SkipReason.LESS_THAN_ONE_SHARE)
    if multiply(quote.price, sizing.shares) < policy.sizing.rules.min_order_notional:
        return evolve(sized, skip=SkipReason.LESS_THAN_MINIMUM)
    intent = _intend(sized.signal.symbol, sizing, snapshot.decision)
    return evolve(sized, intent=intent, denial=first_denial(intent, quote.price, policy.limits))


def _intend(symbol: Symbol, sizing: Sizing, decision: Decision) -> OrderIntent:
    return OrderIntent(
        client_order_id=decision.client_order_id(symbol),
        symbol=symbol,
        side=Side.BUY if sizing.weight > 0 else Side.SELL,
        qty=sizing.shares,
    )


def sending_order(decisions: Iterable[SizingDecision]) -> tuple[OrderIntent, ...]:
    """Return the orders to be sent, by `place_in_sending`."""
    to_send = [
        (place_in_sending(decision.intent, decision.signal.rank), decision.intent)
        for decision in decisions
        if decision.intent is not None and decision.is_to_be_sent
    ]
    to_send.sort(key=itemgetter(0))
    return tuple(intent for _, intent in to_send)


def place_in_sending(intent: OrderIntent, rank: int) -> tuple[bool, int, Symbol, int]:
    """Return what orders are sorted by: sells before buys, then by rank, symbol and leg."""
    return intent.side is Side.BUY, rank, intent.symbol, intent.leg


def next_wave(pending: Sequence[OrderIntent], *, max_orders: int) -> tuple[OrderIntent, ...]:
    """Return the head of `pending` that may be in flight together.

    One side only, one leg a symbol, at most `max_orders`.
    """
    wave: list[OrderIntent] = []
    symbols: set[Symbol] = set()
    for intent in pending:
        if len(wave) == max_orders or intent.side is not pending[0].side:
            break
        if intent.symbol in symbols:
            break
        symbols.add(intent.symbol)
        wave.append(intent)
    return tuple(wave)
