"""The waterfall: one decision's way from weight to order, as data.

    weight -> target notional -> at most the cap -> price -> shares (-> lots -> leftover)
        (-> position -> own open orders -> delta) -> limits
        -> the order, or the typed reason why there is none

Clients, the command line and backtests are shown these same steps. Each value is the exact text of
what was computed; nothing is computed a second time here.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum

from attrs import frozen

from orchestrator_core.baskets import market_closed
from orchestrator_core.differences import Difference
from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import SessionRule
from orchestrator_core.model import Quote, Signal
from orchestrator_core.money import multiply
from orchestrator_core.plans import SizingDecision, SkipReason, Snapshot
from orchestrator_core.replay import Derivation, StoredRecord, compare, derive
from orchestrator_core.sizing import Sizing


class StepName(StrEnum):
    """One step of the way. The last one is ORDER, SKIPPED, DENIED, or DECIDED_OTHERWISE.

    WARNED stands before an order that is sent, or would be, although something speaks against it.
    """

    WEIGHT = "weight"
    TARGET_NOTIONAL = "target_notional"
    CAPPED_NOTIONAL = "capped_notional"
    PRICE = "price"
    SHARES = "shares"
    LOTS = "lots"
    LEFTOVER = "leftover"
    POSITION = "position"
    ON_ORDER = "on_order"
    DELTA = "delta"
    REFERENCE = "reference"
    ORDER_QTY = "order_qty"
    ORDER_NOTIONAL = "order_notional"
    WARNED = "warned"
    ORDER = "order"
    SKIPPED = "skipped"
    DENIED = "denied"
    DECIDED_OTHERWISE = "decided_otherwise"


@frozen
class Step:
    """One step of a decision.

    Attributes:
        value: An exact number, or a word; None where there was none to be had.
        bound: What it was held to, where that changed or stopped something.
        note: What the value came from.
    """

    name: StepName
    value: str | None
    bound: str | None = None
    note: str | None = None


Waterfall = tuple[Step, ...]

# A symbol, and the leg of its order.
OrderKey = tuple[Symbol, int]


def explain(decision: SizingDecision, snapshot: Snapshot) -> Waterfall:
    """Return the steps of one decision of the snapshot's plan, in order."""
    steps = [_weight(decision.signal)]
    if decision.sizing is not None:
        steps += _notionals(decision.sizing, snapshot)
    if decision.quote is not None:
        steps.append(_price(decision, snapshot))
    if decision.sizing is not None:
        steps += _shares(decision.sizing)
    if decision.difference is not None:
        steps += _lacking(decision.difference)
    if decision.intent is not None:
        steps += _judged(decision, snapshot)
    steps += _ends(decision, snapshot)
    return tuple(steps)


def explain_record(record: StoredRecord) -> Mapping[OrderKey, Waterfall]:
    """Return each order's steps by symbol and leg, derived from a run's stored record.

    Raises:
        UnreadableRecord: The record is damaged, or of a form that this version does not know.
    """
    return explain_derivation(derive(record), record)


def explain_derivation(
    derivation: Derivation, record: StoredRecord
) -> Mapping[OrderKey, Waterfall]:
    """Return each order's steps by symbol and leg, of a record's plan that was derived already.

    Where the code installed now decides otherwise than the stored plan says, the last step says so.
    """
    snapshot = derivation.snapshot
    changed = {each.symbol: each for each in compare(record.rows, derivation.rows)}
    explained: dict[OrderKey, Waterfall] = {}
    for decision in derivation.plan.decisions:
        symbol, leg = decision.signal.symbol, 0 if decision.intent is None else decision.intent.leg
        steps = explain(decision, snapshot)
        if symbol in changed:
            note = f"by version {snapshot.code_version}; the steps are what this version makes"
            steps += (Step(StepName.DECIDED_OTHERWISE, changed[symbol].stored, note=note),)
        # Of a flip whose second leg is no order of its own, the first leg's steps stand.
        explained.setdefault((symbol, leg), steps)
    return explained


def _weight(signal: Signal) -> Step:
    parts = (f"{each.strategy_id} {_exact(each.weight)}" for each in signal.contributions)
    return Step(StepName.WEIGHT, _exact(signal.weight), note=", ".join(parts) or None)


def _lacking(lacking: Difference) -> Iterator[Step]:
    yield Step(StepName.POSITION, str(lacking.held))
    yield Step(StepName.ON_ORDER, str(lacking.on_order))
    note = None
    if len(lacking.legs) > 1:
        note = "through zero, in two legs: " + ", ".join(map(str, lacking.legs))
    elif sum(lacking.legs) != lacking.shares:
        note = f"{sum(lacking.legs)} in whole lots"
    yield Step(StepName.DELTA, str(lacking.shares), note=note)


def _judged(decision: SizingDecision, snapshot: Snapshot) -> Iterator[Step]:
    """What the controls compared that let an order through, or not."""
    limits, intent = snapshot.policy.limits, decision.intent
    quote, reference = decision.quote, decision.reference
    if intent is None or not isinstance(quote, Quote):
        return
    if limits.needs_references:
        band = None if limits.price_band is None else _exact(limits.price_band)
        value = None if reference is None else _exact(reference.price)
        note = "none is known" if reference is None else reference.source
        yield Step(StepName.REFERENCE, value, band, note)
    if limits.max_order_qty is not None:
        yield Step(StepName.ORDER_QTY, str(intent.qty), str(limits.max_order_qty))
    if limits.max_order_notional is not None:
        notional = _exact(multiply(quote.price, intent.qty))
        yield Step(StepName.ORDER_NOTIONAL, notional, _exact(limits.max_order_notional))


def _notionals(sizing: Sizing, snapshot: Snapshot) -> Iterator[Step]:
    policy = snapshot.policy.sizing
    note = f"of capital {_exact(policy.capital)}"
    if policy.rules.cash_buffer:
        note += f" less a buffer of {_exact(policy.rules.cash_buffer)}"
    yield Step(StepName.TARGET_NOTIONAL, _exact(sizing.target_notional), note=note)
    is_cut = sizing.capped_notional < sizing.target_notional
    bound = _exact(policy.max_position_size) if is_cut else None
    yield Step(StepName.CAPPED_NOTIONAL, _exact(sizing.capped_notional), bound)


def _price(decision: SizingDecision, snapshot: Snapshot) -> Step:
    quote = decision.quote
    if not isinstance(quote, Quote):
        return Step(StepName.PRICE, None, note=None if quote is None else quote.reason)
    age = (snapshot.decided_at - quote.as_of).total_seconds()
    # Of a quote that was looked at and no sizing came of, the time was the trouble.
    is_untimely = decision.skip is SkipReason.PRICE_UNAVAILABLE
    limits = snapshot.policy.limits
    bound = limits.max_price_age_seconds if age >= 0 else limits.max_price_lead_seconds
    return Step(
        StepName.PRICE,
        _exact(quote.price),
        bound=f"{bound:g} s" if is_untimely else None,
        note=f"{quote.source}, {age:.6f} s old at the decision",
    )


def _shares(sizing: Sizing) -> Iterator[Step]:
    yield Step(StepName.SHARES, str(sizing.raw_shares), note="whole shares, toward zero")
    if sizing.lot > 1:
        in_lots = sizing.raw_shares - sizing.raw_shares % sizing.lot
        yield Step(StepName.LOTS, str(in_lots), bound=str(sizing.lot))
    if sizing.added:
        yield Step(StepName.LEFTOVER, str(sizing.shares), note=f"{sizing.added} more")


def _ends(decision: SizingDecision, snapshot: Snapshot) -> Iterator[Step]:
    intent, skip, denial = decision.intent, decision.skip, decision.denial
    if intent is not None:
        yield from _warnings(snapshot)
        leg = f", leg {intent.leg}" if intent.leg else ""
        order = f"{intent.side} {intent.qty}"
        yield Step(StepName.ORDER, order, note=f"{intent.client_order_id}{leg}")
    if denial is not None:
        figures = dict(denial.figures)
        bound = figures.get("limit")
        yield Step(StepName.DENIED, str(denial.code), bound, note=denial.said)
    elif skip is not None:
        is_small = skip is SkipReason.LESS_THAN_MINIMUM
        bound = _exact(snapshot.policy.sizing.rules.min_order_notional) if is_small else None
        yield Step(StepName.SKIPPED, str(skip), bound, note=decision.skip_detail)


def _warnings(snapshot: Snapshot) -> Iterator[Step]:
    if snapshot.policy.limits.market_session is SessionRule.WARN:
        warning = market_closed(snapshot.decided_at)
        if warning is not None:
            yield Step(StepName.WARNED, str(warning.code), note=warning.said)


def _exact(amount: Decimal) -> str:
    return format(amount, "f")
