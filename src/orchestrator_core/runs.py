"""A run as it is stored, and as it is listed."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from attrs import field, frozen

from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId
from orchestrator_core.lifecycle import OrderState, RunStatus, Tally, run_status, tally_orders
from orchestrator_core.limits import BASKET_CODES
from orchestrator_core.orders import Order
from orchestrator_core.requests import RunRequest


class FailureKind(StrEnum):
    """Why a run ended without doing what it was asked; the entrypoint maps it to an answer."""

    SIGNALS_UNAVAILABLE = "signals_unavailable"
    SIGNALS_REFUSED = "signals_refused"
    SIGNALS_MALFORMED = "signals_malformed"
    PRICES_UNAVAILABLE = "prices_unavailable"
    POSITIONS_UNAVAILABLE = "positions_unavailable"
    THROTTLED = "throttled"
    BOOK_MOVED = "book_moved"
    BASKET_REFUSED = "basket_refused"
    GATEWAY_UNAVAILABLE = "gateway_unavailable"
    GATEWAY_UNSAFE = "gateway_unsafe"
    HALTED = "halted"
    BUDGET_UNAVAILABLE = "budget_unavailable"
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
        tally = self.tally
        status = run_status(tally)
        if status is RunStatus.COMPLETED and not tally.accepted and basket_refusal(self.orders):
            # No order of it counts for anything, and yet it did not do what it was asked.
            return RunStatus.FAILED
        return status

    @property
    def cause(self) -> RunFailure | None:
        """Why it could not do what it was asked: as recorded, else as its orders say."""
        return self.failure or basket_refusal(self.orders or ())

    def order(self, client_order_id: ClientOrderId) -> Order | None:
        """Return the run's order of that id; None where it has none."""
        for order in self.orders or ():
            if order.intent is not None and order.intent.client_order_id == client_order_id:
                return order
        return None

    @property
    def duration_seconds(self) -> Decimal | None:
        """Seconds from start to completion; None while running."""
        return duration_between(self.started_at, self.completed_at)


def basket_refusal(orders: Iterable[Order]) -> RunFailure | None:
    """Return why a run's orders were denied as a whole; None where they were not.

    The orders say it themselves, so that it is known of a run whose owner ended between the plan
    and its close.
    """
    for order in orders:
        if order.state is OrderState.DENIED and order.reason is not None:
            code, _, _ = order.reason.partition(" ")
            if code in BASKET_CODES:
                return RunFailure(FailureKind.BASKET_REFUSED, order.reason)
    return None


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
