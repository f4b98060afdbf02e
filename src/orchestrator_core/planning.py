"""The decision: from a snapshot of everything known to a plan of orders.

`plan_orders` is pure, total and deterministic. The snapshot holds all that it reads, the decision
time included, so a stored run can be derived again.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property

from attrs import evolve, frozen

from orchestrator_core.baskets import basket_of, first_basket_denial
from orchestrator_core.differences import Difference, deny_beside_open, difference
from orchestrator_core.holdings import Holdings
from orchestrator_core.identifiers import Decision, Symbol
from orchestrator_core.leftover import Rounded, spend_leftover
from orchestrator_core.limits import Denial, OrderFacts, denial_of, first_denial
from orchestrator_core.model import NoQuote, OrderIntent, Quote, Reference, Side, Signal
from orchestrator_core.money import multiply
from orchestrator_core.plans import (
    OrderPlan,
    PlanningPolicy,
    SizingDecision,
    SkipReason,
    Snapshot,
    absent_symbols,
)
from orchestrator_core.price_ages import price_problem
from orchestrator_core.sizing import Sizing, SizingMode, size_position


def plan_orders(snapshot: Snapshot, policy: PlanningPolicy) -> OrderPlan:
    """Derive the plan: a decision for each signal, in the signals' order.

    A flip through zero makes two of one signal; positions that no signal names, where they are to
    be closed, come last, by symbol. Orders are denied one by one; what is left is the basket, which
    is judged as a whole: one denial denies all of it. The leftover pass is undone where the basket
    is refused with what it added.
    """
    planner = _Planner(snapshot, policy)
    sized = [planner.size(signal) for signal in planner.signals]
    spends = policy.sizing.rules.spends_leftover
    spent = planner.spend_leftover(sized) if spends else sized
    decided, denial = planner.decide_together(spent)
    if spends and denial is not None:
        decided, denial = planner.decide_together(sized)
    return OrderPlan(tuple(planner.end(decision, denial) for decision in decided))


@frozen(slots=False)
class _Planner:
    """One snapshot under a policy."""

    snapshot: Snapshot
    policy: PlanningPolicy

    @cached_property
    def _quotes(self) -> Mapping[Symbol, Quote | NoQuote]:
        return {quote.symbol: quote for quote in self.snapshot.quotes}

    @cached_property
    def _references(self) -> Mapping[Symbol, Reference]:
        return {reference.symbol: reference for reference in self.snapshot.references}

    @cached_property
    def _account(self) -> Holdings | None:
        """The account that differences are from; None in absolute mode."""
        if self.policy.sizing.rules.mode is not SizingMode.DELTA:
            return None
        return Holdings() if self.snapshot.holdings is None else self.snapshot.holdings

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What is decided on: the signals, and positions asked for that none of them names."""
        batch, account = self.snapshot.batch, self._account
        signals = batch.signals
        if account is None or not self.policy.sizing.rules.closes_absent:
            return signals
        absent = absent_symbols(account, batch, self.snapshot.request)
        last = max((signal.rank for signal in signals), default=0)
        return signals + tuple(Signal(symbol, 0.0, last + 1, 0.0) for symbol in absent)

    def size(self, signal: Signal) -> SizingDecision:
        """Return the decision as far as it goes without an order."""
        symbol, weight = signal.symbol, signal.weight
        quote = self._quotes.get(symbol)
        account = self._account
        if weight == 0 and (account is None or symbol not in account.symbols):
            return SizingDecision(signal, quote, skip=SkipReason.ZERO_WEIGHT)
        if not isinstance(quote, Quote):
            detail = "no price" if quote is None else quote.reason
            return _unpriced(signal, quote, detail)
        problem = price_problem(quote.as_of, self.snapshot.decided_at, self.policy.limits)
        if problem is not None:
            return _unpriced(signal, quote, problem)
        lot = self.policy.sizing.rules.lot_of(symbol)
        sizing = size_position(weight, quote.price, self.policy.sizing, lot=lot)
        return SizingDecision(signal, quote, sizing, reference=self._references.get(symbol))

    def spend_leftover(self, sized: Sequence[SizingDecision]) -> list[SizingDecision]:
        """Return the decisions, some with a few lots more."""
        positions = [
            Rounded(each.signal.symbol, each.signal.rank, each.quote.price, each.sizing)
            for each in sized
            if each.sizing is not None and each.sizing.weight and isinstance(each.quote, Quote)
        ]
        spent = spend_leftover(
            positions, cap=self.policy.sizing.max_position_size, allows=self._allows
        )
        sizings = {position.symbol: position.sizing for position in spent}
        return [evolve(each, sizing=sizings.get(each.signal.symbol, each.sizing)) for each in sized]

    def _allows(self, position: Rounded) -> bool:
        """Whether the orders that make a position are inside every limit of one order.

        An order that makes a position smaller is: no lot more of the position makes it larger.
        """
        is_long = position.sizing.weight > 0
        for leg, shares in enumerate(self._legs(position.symbol, position.sizing)):
            if (shares > 0) is not is_long:
                continue
            intent = _intend(position.symbol, shares, leg, self.snapshot.decision)
            if self._denial_of(intent, position.price) is not None:
                return False
        return True

    def _denial_of(self, intent: OrderIntent, price: Decimal) -> Denial | None:
        """Return the first denial of one order by itself."""
        reference = self._references.get(intent.symbol)
        facts = OrderFacts(intent, price, reference, self.snapshot.holdings)
        return first_denial(facts, self.policy.limits)

    def _legs(self, symbol: Symbol, sizing: Sizing) -> tuple[int, ...]:
        lacking = self._difference(symbol, sizing)
        return (sizing.signed_shares,) if lacking is None else lacking.legs

    def _difference(self, symbol: Symbol, sizing: Sizing) -> Difference | None:
        account = self._account
        if account is None:
            return None
        held, on_order = account.held(symbol), account.on_order(symbol)
        return difference(sizing.signed_shares, held=held, on_order=on_order, lot=sizing.lot)

    def decide_together(
        self, sized: Iterable[SizingDecision]
    ) -> tuple[list[SizingDecision], Denial | None]:
        """Return the decisions, and why orders among them are refused as a whole, if they are."""
        decided = [decision for each in sized for decision in self._decide(each)]
        if not self.policy.limits.has_basket_bounds:
            return decided, None
        orders = (
            (decision.intent, decision.quote.price)
            for decision in decided
            if decision.is_to_be_sent
            and decision.intent is not None
            and isinstance(decision.quote, Quote)
        )
        basket = basket_of(orders, self.snapshot.decided_at, self.snapshot.day)
        return decided, first_basket_denial(basket, self.policy.limits)

    def _decide(self, sized: SizingDecision) -> tuple[SizingDecision, ...]:
        """Return the decision with its order, or with why there is none; a flip makes two."""
        sizing, quote = sized.sizing, sized.quote
        if sizing is None or not isinstance(quote, Quote):
            return (sized,)
        symbol = sized.signal.symbol
        lacking = self._difference(symbol, sizing)
        if lacking is None:
            if sizing.shares == 0:
                return (evolve(sized, skip=SkipReason.LESS_THAN_ONE_SHARE),)
            return (self._order(sized, sizing.signed_shares, leg=0, price=quote.price),)
        sized = evolve(sized, difference=lacking)
        if not lacking.legs:
            return (self._at_target(sized),)
        return self._order_legs(sized, lacking, quote.price)

    def _at_target(self, sized: SizingDecision) -> SizingDecision:
        """Return the decision that nothing is lacking, unless nobody can say so."""
        account = self._account
        unsettled = None if account is None else account.unsettled_on(sized.signal.symbol)
        if unsettled is not None:
            return evolve(sized, denial=denial_of(unsettled))
        return evolve(sized, skip=SkipReason.AT_TARGET)

    def _order_legs(
        self, sized: SizingDecision, lacking: Difference, price: Decimal
    ) -> tuple[SizingDecision, ...]:
        first = self._order(sized, lacking.legs[0], leg=0, price=price)
        if len(lacking.legs) == 1:
            return (first,)
        second = self._order(sized, lacking.legs[1], leg=1, price=price)
        if first.denial is not None and second.skip is None:
            second = evolve(second, denial=first.denial)
        return first, second

    def _order(
        self, sized: SizingDecision, shares: int, *, leg: int, price: Decimal
    ) -> SizingDecision:
        """Return the decision with an order of so many shares, denied if a control says so."""
        symbol, lacking = sized.signal.symbol, sized.difference
        closes = lacking is not None and lacking.closes(leg)
        least = self.policy.sizing.rules.min_order_notional
        if not closes and multiply(price, abs(shares)) < least:
            return evolve(sized, skip=SkipReason.LESS_THAN_MINIMUM)
        intent = _intend(symbol, shares, leg, self.snapshot.decision)
        denial = self._denial_of(intent, price)
        if denial is None and self._account is not None:
            denial = deny_beside_open(symbol, shares, is_second=leg > 0, holdings=self._account)
        return evolve(sized, intent=intent, denial=denial)

    def end(self, decided: SizingDecision, denial: Denial | None) -> SizingDecision:
        """Return the decision with what holds back every order of the run, if anything does."""
        if not decided.is_to_be_sent:
            return decided
        if denial is not None:
            return evolve(decided, denial=denial)
        is_dry = self.snapshot.request.dry_run
        return evolve(decided, skip=SkipReason.DRY_RUN) if is_dry else decided


def _unpriced(signal: Signal, quote: Quote | NoQuote | None, why: str) -> SizingDecision:
    return SizingDecision(signal, quote, skip=SkipReason.PRICE_UNAVAILABLE, skip_detail=why)


def _intend(symbol: Symbol, shares: int, leg: int, decision: Decision) -> OrderIntent:
    return OrderIntent(
        client_order_id=decision.client_order_id(symbol, leg=leg),
        symbol=symbol,
        side=Side.BUY if shares > 0 else Side.SELL,
        qty=abs(shares),
        leg=leg,
    )
