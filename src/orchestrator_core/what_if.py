"""What a run would have decided, had something been otherwise.

One stored snapshot with some inputs changed, planned again: pure, so nothing can be sent, and
everything that is not changed is as it was, the time of the decision included.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from attrs import evolve, field, frozen

from orchestrator_core.errors import InvalidRequest, MalformedReply
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import NoQuote, Quote, Signal
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import OrderPlan, Snapshot
from orchestrator_core.signals import check_batch
from orchestrator_core.sizing import SizingRules

SOURCE = "what_if"


@frozen
class Changes:
    """What is to be otherwise.

    Attributes:
        capital: Account currency; None leaves it.
        max_position_size: Cap on one position's notional, account currency; None leaves it.
        rules: Fields of `SizingRules` by name.
        lot: Shares a lot, of every symbol asked for; None leaves each its own.
        lots: The same of single symbols; the others keep theirs.
        limits: Fields of `Limits` by name.
        prices: Account currency per share, as of the decision.
        weights: Fractions of capital.
    """

    capital: Decimal | None = None
    max_position_size: Decimal | None = None
    rules: Mapping[str, Any] = field(factory=dict, hash=False)
    lot: int | None = None
    lots: Mapping[Symbol, int] = field(factory=dict, hash=False)
    limits: Mapping[str, Any] = field(factory=dict, hash=False)
    prices: Mapping[Symbol, Decimal] = field(factory=dict, hash=False)
    weights: Mapping[Symbol, float] = field(factory=dict, hash=False)

    def rules_over(self, rules: SizingRules, symbols: Iterable[Symbol]) -> SizingRules:
        """Return rules as they would be.

        Args:
            rules: In force.
            symbols: Whose lot `lot` is.

        Raises:
            ValueError: One is out of bounds.
        """
        common = {} if self.lot is None else dict.fromkeys(symbols, self.lot)
        lots = {**rules.lot_sizes, **common, **self.lots}
        return evolve(rules, **{"lot_sizes": lots, **self.rules})


@frozen
class WhatIf:
    """A plan before and after.

    Attributes:
        refusal: Why a run would have refused the changed signals as a whole; None: it would not.
    """

    before: OrderPlan
    after: OrderPlan
    changed: Snapshot
    refusal: str | None = None


def what_if(snapshot: Snapshot, changes: Changes) -> WhatIf:
    """Plan a snapshot as it is, and once more with the changes.

    Raises:
        InvalidRequest: The run had no signal of a changed symbol, or a rule is out of bounds.
    """
    known = {signal.symbol for signal in snapshot.batch.signals}
    for name, symbols in (("price", changes.prices), ("weight", changes.weights)):
        for symbol in symbols:
            if symbol not in known:
                raise InvalidRequest(name, f"the run has no signal of {symbol}")
    try:
        changed = _change(snapshot, changes)
    except ValueError as problem:
        raise InvalidRequest("set", str(problem)) from None
    try:
        check_batch(changed.batch, changed.request, changed.policy.limits)
        refusal = None
    except MalformedReply as error:
        refusal = error.cause
    return WhatIf(
        before=plan_orders(snapshot, snapshot.policy),
        after=plan_orders(changed, changed.policy),
        changed=changed,
        refusal=refusal,
    )


def _change(snapshot: Snapshot, changes: Changes) -> Snapshot:
    sizing, request = snapshot.policy.sizing, snapshot.request
    capital = sizing.capital if changes.capital is None else changes.capital
    cap = changes.max_position_size
    cap = sizing.max_position_size if cap is None else cap
    return evolve(
        snapshot,
        request=evolve(request, capital=capital, max_position_size=cap),
        policy=evolve(
            snapshot.policy,
            sizing=evolve(
                sizing,
                capital=capital,
                max_position_size=cap,
                rules=changes.rules_over(sizing.rules, request.symbols),
            ),
            limits=evolve(snapshot.policy.limits, **changes.limits),
        ),
        batch=evolve(
            snapshot.batch,
            signals=tuple(_weigh(signal, changes) for signal in snapshot.batch.signals),
        ),
        quotes=_quotes(snapshot, changes),
    )


def _weigh(signal: Signal, changes: Changes) -> Signal:
    weight = changes.weights.get(signal.symbol)
    if weight is None:
        return signal
    return evolve(signal, target_weight=weight, contributions=())


def _quotes(snapshot: Snapshot, changes: Changes) -> tuple[Quote | NoQuote, ...]:
    given = {
        symbol: Quote(symbol, price, snapshot.decided_at, SOURCE)
        for symbol, price in changes.prices.items()
    }
    kept = tuple(given.pop(quote.symbol, quote) for quote in snapshot.quotes)
    return kept + tuple(given.values())
