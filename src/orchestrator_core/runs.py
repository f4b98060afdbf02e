"""A run and its orders as they are stored, and as the public words describe them.

An order's `state` is ours; `order_status` and `skip_reason` are the words that clients, reports and
dashboards read. They are derived here and nowhere else.
"""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from attrs import evolve, field, frozen

from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId
from orchestrator_core.lifecycle import (
    OrderStanding,
    OrderState,
    RunStatus,
    Tally,
    advance,
    run_status,
    tally_orders,
)
from orchestrator_core.model import OrderIntent, OrderReport, Signal
from orchestrator_core.planning import OrderPlan, SizingDecision, SkipReason, Snapshot
from orchestrator_core.requests import RunRequest

# The gateway's word for an order that it canceled on arrival.
CANCELED = "canceled"
FILLED = "filled"


class FailureKind(StrEnum):
    """Why a run ended without doing what it was asked; the entrypoint maps it to an answer."""

    SIGNALS_UNAVAILABLE = "signals_unavailable"
    SIGNALS_REFUSED = "signals_refused"
    SIGNALS_MALFORMED = "signals_malformed"
    PRICES_UNAVAILABLE = "prices_unavailable"
    GATEWAY_UNAVAILABLE = "gateway_unavailable"
    GATEWAY_UNSAFE = "gateway_unsafe"
    HALTED = "halted"
    DATABASE_UNAVAILABLE = "database_unavailable"
    STOPPED = "stopped"
    ABANDONED = "abandoned"
    UNFORESEEN = "unforeseen"


@frozen
class RunFailure:
    """Why a run failed, in a sentence that holds no secret."""

    kind: FailureKind
    message: str
    retry_after: float | None = None


@frozen
class Owner:
    """The earlier order that holds an adopted order's id."""

    run_id: RunId
    state: OrderState
    reason: str | None = None
    report: OrderReport | None = None


@frozen
class Order:
    """One signal of a run, and what became of it.

    Attributes:
        signal: As received.
        state: Where it stands.
        intent: The order; None where the signal needed none.
        reason: Skip reason, denial, or cause; None where nothing is to be said.
        report: The gateway's latest word on this order.
        owner: For an adopted order, whose id it is.
    """

    signal: Signal
    state: OrderState
    intent: OrderIntent | None = None
    reason: str | None = None
    report: OrderReport | None = None
    owner: Owner | None = None

    @property
    def standing(self) -> OrderStanding:
        """What counting needs; an adopted order counts as its owner stands."""
        state, report = self.state, self.report
        if self.owner is not None:
            state, report = self.owner.state, self.owner.report
        return OrderStanding(
            state=state,
            acknowledged=report is not None,
            canceled=report is not None and report.status == CANCELED,
            filled=report is not None and report.status == FILLED,
        )

    @property
    def order_status(self) -> str | None:
        """The public word for where the order stands at the gateway."""
        if self.owner is not None:
            return _order_status(self.owner.state, self.owner.report)
        return _order_status(self.state, self.report)

    @property
    def skip_reason(self) -> str | None:
        """The public words for why there is no accepted order."""
        if self.owner is not None:
            return (
                _skip_reason(self.owner.state, self.owner.reason)
                or f"already_ordered: run {self.owner.run_id}"
            )
        return _skip_reason(self.state, self.reason)

    @property
    def public_report(self) -> OrderReport | None:
        """The gateway's word that is shown: the owner's for an adopted order."""
        return self.report if self.owner is None else self.owner.report


def _order_status(state: OrderState, report: OrderReport | None) -> str | None:
    match state:
        case OrderState.ACCEPTED:
            return None if report is None else report.status
        case OrderState.REJECTED:
            return "rejected" if report is None else report.status
        case OrderState.NOT_PLACED:
            return "rejected"
        case OrderState.SENDING | OrderState.UNKNOWN | OrderState.UNRESOLVED | OrderState.CONFLICT:
            return "unknown"
        case _:
            return None


def _skip_reason(state: OrderState, reason: str | None) -> str | None:
    match state:
        case OrderState.SKIPPED:
            return reason
        case OrderState.DENIED:
            return f"denied: {reason}"
        case OrderState.HALTED:
            return f"halted: {reason}"
        case OrderState.NOT_PLACED | OrderState.REJECTED:
            return f"submission_failed: {reason}"
        case OrderState.UNKNOWN | OrderState.UNRESOLVED | OrderState.CONFLICT:
            return f"outcome_unknown: {reason}"
        case OrderState.SENDING:
            return f"outcome_unknown: {reason or 'being sent'}"
        case _:
            return None


def order_of(decision: SizingDecision) -> Order:
    """Return the order as it is first stored."""
    if decision.denial is not None:
        return Order(
            decision.signal, OrderState.DENIED, decision.intent, reason=str(decision.denial)
        )
    if decision.skip is not None:
        reason = str(decision.skip)
        if decision.skip is SkipReason.PRICE_UNAVAILABLE:
            reason = f"{reason}: {decision.skip_detail}"
        return Order(decision.signal, OrderState.SKIPPED, decision.intent, reason=reason)
    return Order(decision.signal, OrderState.PLANNED, decision.intent)


@frozen
class Settlement:
    """What is to be recorded of one order after a wave."""

    client_order_id: ClientOrderId
    state: OrderState
    reason: str | None = None
    report: OrderReport | None = None


def settle(order: Order, settlement: Settlement) -> Order:
    """Return the order as the settlement leaves it.

    Raises:
        IllegalTransition: The order's state does not allow it.
    """
    return evolve(
        order,
        state=advance(order.state, settlement.state),
        reason=settlement.reason,
        report=settlement.report or order.report,
    )


@frozen
class RecordedOutcome:
    """What the replaced service recorded of a run whose orders carry no states of ours."""

    status: RunStatus
    num_orders_submitted: int
    num_orders_accepted: int
    num_orders_rejected: int
    num_orders_filled: int | None
    error_message: str | None


@frozen
class Run:
    """A run with all that is stored of it.

    Attributes:
        as_of_date: The signals' date; the requested one, else the day of the start, until then.
        orders: One a signal, in the signals' order; None before there is a plan.
        num_signals: Signals received; 0 before.
        signal_metadata: The strategy's own words.
        started_at: When the run was opened.
        completed_at: When its last order settled; None while running.
        failure: Why it could not do what it was asked.
        recorded: For a run of the replaced service.
    """

    run_id: RunId
    strategy_id: StrategyId
    as_of_date: date
    request: RunRequest
    started_at: datetime
    completed_at: datetime | None = None
    orders: tuple[Order, ...] | None = None
    num_signals: int = 0
    signal_metadata: Mapping[str, Any] | None = field(default=None, hash=False)
    failure: RunFailure | None = None
    recorded: RecordedOutcome | None = None

    @property
    def tally(self) -> Tally:
        """The run's orders, counted."""
        return tally_orders(order.standing for order in self.orders or ())

    @property
    def status(self) -> RunStatus:
        """The run in its public words: a function of its orders."""
        if self.recorded is not None:
            return self.recorded.status
        if self.orders is None:
            return RunStatus.RUNNING if self.failure is None else RunStatus.FAILED
        return run_status(self.tally)

    @property
    def duration_seconds(self) -> Decimal | None:
        """Seconds from start to completion; None while running."""
        return duration_between(self.started_at, self.completed_at)


def duration_between(started_at: datetime, completed_at: datetime | None) -> Decimal | None:
    """Return the seconds between two times, to the microsecond, never below zero."""
    if completed_at is None:
        return None
    elapsed = completed_at - started_at
    seconds = Decimal(elapsed.days * 86_400 + elapsed.seconds)
    return max(seconds + Decimal(elapsed.microseconds).scaleb(-6), Decimal(0))


@frozen
class RunSummary:
    """One row of the list of runs."""

    run_id: RunId
    status: RunStatus
    strategy_id: StrategyId
    as_of_date: date
    num_signals: int
    num_orders_submitted: int
    num_orders_accepted: int
    num_orders_rejected: int
    started_at: datetime
    completed_at: datetime | None
    duration_seconds: Decimal | None


@frozen
class RunPage:
    """A page of the list of runs, newest first.

    Attributes:
        total: Runs that match, on every page.
    """

    runs: tuple[RunSummary, ...]
    total: int


@frozen
class RunFilter:
    """Which runs are listed; None matches all."""

    strategy_id: StrategyId | None = None
    status: RunStatus | None = None


@frozen
class IdempotencyKey:
    """A client's own name for a request.

    Attributes:
        fingerprint: Digest of the request's body: the same key with another is refused.
    """

    key: str
    fingerprint: str


@frozen
class RunOpening:
    """A run as it is first committed, before anything is asked of anyone.

    Attributes:
        as_of_date: The date asked for, else today in UTC.
        lease_seconds: How long the opener may stay silent before another takes the run over.
    """

    run_id: RunId
    strategy_id: StrategyId
    as_of_date: date
    request: RunRequest
    started_at: datetime
    lease_seconds: float
    idempotency: IdempotencyKey | None = None


@frozen
class Lease:
    """The right to change a run. A writer whose epoch is old changes nothing."""

    run_id: RunId
    epoch: int
    seconds: float


@frozen
class EarlierRun:
    """The finished run that an idempotency key already stands for."""

    run_id: RunId


@frozen
class WaveClaim:
    """A wish to send these orders now.

    Attributes:
        number: Counts the claims of a run from 1; repeating one is harmless.
        client_order_ids: In the order of sending.
        latch_epoch: Epoch that the kill switch answered ACTIVE at.
    """

    number: int
    client_order_ids: tuple[ClientOrderId, ...]
    latch_epoch: int


@frozen
class ClaimAnswer:
    """What a claim brought.

    Attributes:
        claimed: Orders now SENDING under this claim, in the claim's order.
        halted: The latch stood engaged, or at another epoch: nothing was claimed.
    """

    claimed: tuple[ClientOrderId, ...] = ()
    halted: bool = False


@frozen
class PlanRecord:
    """The plan and everything it was derived from, as committed in one transaction."""

    snapshot: Snapshot
    plan: OrderPlan


@frozen
class PlanCommit:
    """The stored plan.

    Attributes:
        orders: One a signal, in the signals' order; ADOPTED where another run holds the id.
        answer: What the claim brought; nothing claimed where none was wished.
    """

    orders: tuple[Order, ...]
    answer: ClaimAnswer = field(factory=ClaimAnswer)


@frozen
class RunClosing:
    """How a run is left: closed, or open with its lease given back.

    Attributes:
        settlements: Outcomes not recorded yet.
        failure: Why the run failed.
        at: Time of completion, if nothing is open.
        frees_key: No order was ever claimed: the idempotency key may be used again.
        known: The run as its closer knows it, settlements applied. A store may spare itself reading
            the run back where this agrees with what stands there.
    """

    settlements: tuple[Settlement, ...]
    failure: RunFailure | None
    at: datetime
    frees_key: bool = False
    known: Run | None = None


@frozen
class OpenOrder:
    """An order that may be on the wire."""

    run_id: RunId
    client_order_id: ClientOrderId
    symbol: str
    state: OrderState
