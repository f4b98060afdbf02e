"""What a plan is derived from, and what it is: a snapshot, and a decision for each signal.

The snapshot holds all that the decision reads, so a stored run can be derived again. How the one
becomes the other stands in `orchestrator_core.planning`.
"""

from datetime import datetime
from enum import StrEnum
from operator import itemgetter

from attrs import frozen

from orchestrator_core.books import DayExposure
from orchestrator_core.differences import Difference
from orchestrator_core.holdings import Holdings
from orchestrator_core.identifiers import Decision, Symbol
from orchestrator_core.limits import BASKET_CODES, Denial, Limits
from orchestrator_core.model import NoQuote, OrderIntent, Quote, Reference, Signal, SignalBatch
from orchestrator_core.requests import RunRequest
from orchestrator_core.sending import place_in_sending
from orchestrator_core.sizing import Sizing, SizingPolicy


class SkipReason(StrEnum):
    """Why a signal needs no order."""

    ZERO_WEIGHT = "zero_weight"
    LESS_THAN_ONE_SHARE = "qty_less_than_one_share"
    LESS_THAN_MINIMUM = "notional_below_minimum"
    PRICE_UNAVAILABLE = "price_unavailable"
    AT_TARGET = "at_target"
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
        quotes: One answer a symbol that has a weight, or is held in delta mode.
        decided_at: Time that price ages are measured at.
        code_version: Version of this library.
        holdings: The account; None where nothing depends on it.
        day: What the strategy ordered on the date before; None where nothing depends on it.
        references: What prices are held against; empty where nothing depends on them.
    """

    decision: Decision
    request: RunRequest
    policy: PlanningPolicy
    batch: SignalBatch
    quotes: tuple[Quote | NoQuote, ...]
    decided_at: datetime
    code_version: str
    holdings: Holdings | None = None
    day: DayExposure | None = None
    references: tuple[Reference, ...] = ()


def absent_symbols(account: Holdings, batch: SignalBatch, request: RunRequest) -> list[Symbol]:
    """Return what is held, or on order, of the symbols asked for and that no signal names."""
    named = {signal.symbol for signal in batch.signals}
    return sorted(account.symbols & frozenset(request.symbols) - named)


@frozen
class SizingDecision:
    """One order's way from weight to order, or to the reason why there is none.

    Attributes:
        signal: The signal as received; of a position that is closed since no signal names it, one
            of weight zero.
        quote: The price it was sized with, or why there is none; None if none was needed.
        sizing: The steps to shares; None if it stopped before.
        difference: What the account lacks of those shares; None in absolute mode.
        reference: What its price was held against.
        intent: The order; present also when it was denied or is not to be sent.
        skip: Why nothing is sent.
        skip_detail: What was wrong, for `PRICE_UNAVAILABLE`.
        denial: The control that denied the order, alone or with its whole basket.
    """

    signal: Signal
    quote: Quote | NoQuote | None = None
    sizing: Sizing | None = None
    difference: Difference | None = None
    reference: Reference | None = None
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
        """The orders to be sent, in the order of sending: see `place_in_sending`."""
        to_send = [
            (place_in_sending(decision.intent, decision.signal.rank), decision.intent)
            for decision in self.decisions
            if decision.intent is not None and decision.is_to_be_sent
        ]
        to_send.sort(key=itemgetter(0))
        return tuple(intent for _, intent in to_send)

    @property
    def refusal(self) -> Denial | None:
        """The denial of all orders together; None where each was judged for itself."""
        for decision in self.decisions:
            if decision.denial is not None and decision.denial.code in BASKET_CODES:
                return decision.denial
        return None
