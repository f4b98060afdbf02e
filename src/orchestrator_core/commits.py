"""What is committed to the run database, and what it answers: the values of `RunRepository`."""

from collections.abc import Mapping
from datetime import date, datetime

from attrs import field, frozen

from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import OrderIntent, OrderReport
from orchestrator_core.orders import Order, Settlement
from orchestrator_core.plans import OrderPlan, Snapshot
from orchestrator_core.requests import RunRequest
from orchestrator_core.runs import Run, RunFailure


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
        resends: The orders are UNKNOWN and go out once more with the same bytes; else they are
            PLANNED.
    """

    number: int
    client_order_ids: tuple[ClientOrderId, ...]
    latch_epoch: int
    resends: bool = False

    @property
    def takes(self) -> OrderState:
        """The state that an order must be in to be taken."""
        return OrderState.UNKNOWN if self.resends else OrderState.PLANNED


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
    """The plan and everything it was derived from, as committed in one transaction.

    Attributes:
        book_version: Version of the account's book that the plan was made from; None where the
            plan does not depend on it.
    """

    snapshot: Snapshot
    plan: OrderPlan
    book_version: int | None = None


@frozen
class PlanCommit:
    """The stored plan.

    Attributes:
        orders: One a decision, in the plan's order; ADOPTED where another run holds the id.
        answer: What the claim brought; nothing claimed where none was wished.
        is_stale: The book has another version by now: nothing was stored.
    """

    orders: tuple[Order, ...]
    answer: ClaimAnswer = field(factory=ClaimAnswer)
    is_stale: bool = False


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
        look_again_seconds: From now until recovery may take a run that is left open; None where
            nothing but its owners, or an operator, can end it.
    """

    settlements: tuple[Settlement, ...]
    failure: RunFailure | None
    at: datetime
    frees_key: bool = False
    known: Run | None = None
    look_again_seconds: float | None = None


@frozen
class OpenOrder:
    """An order that may be on the wire."""

    run_id: RunId
    client_order_id: ClientOrderId
    symbol: str
    state: OrderState


# Why an order is in doubt whose sender was not heard of again.
TAKEN_OVER = "taken over while being sent"


@frozen
class TakenRun:
    """A run that recovery has taken over, its SENDING orders UNKNOWN.

    Attributes:
        run: As it stands.
        snapshot: What its plan was derived from; None before there is a plan.
        claim_ages: Seconds since each order was last claimed, by the database's own clock.
        keeps_ids: Whether the gateway last answered under an id of ours; None if it never did.
    """

    lease: Lease
    run: Run
    snapshot: Snapshot | None
    claim_ages: Mapping[ClientOrderId, float] = field(factory=dict, hash=False)
    keeps_ids: bool | None = None


@frozen
class FollowedOrder:
    """An accepted order that has not ended at the gateway, taken to be asked about.

    Attributes:
        report: The gateway's latest word that is stored.
        age_seconds: Since it was claimed, by the database's own clock.
    """

    run_id: RunId
    intent: OrderIntent
    report: OrderReport
    age_seconds: float


@frozen
class OrderNews:
    """What a look at a followed order brought.

    Attributes:
        before: The word that the look compared with; another one stored meanwhile stays.
        report: The word that takes its place; the same where there is no news.
        follow_seconds: Until the next look; None where the order has ended.
    """

    run_id: RunId
    client_order_id: ClientOrderId
    before: OrderReport
    report: OrderReport
    follow_seconds: float | None


@frozen
class Backlog:
    """What waits for recovery, of every replica and strategy.

    Attributes:
        runs_due: Runs that recovery may take now.
        oldest_due_seconds: How long the first of them has waited; 0 where there is none.
        orders_followed: Accepted orders that have not ended at the gateway.
    """

    runs_due: int = 0
    oldest_due_seconds: float = 0.0
    orders_followed: int = 0
