"""The rules of the run database that its adapters share: pure decisions on what is stored."""

from datetime import datetime

from attrs import evolve

from orchestrator_adapters.storable import storable_report
from orchestrator_core.commits import TAKEN_OVER, OrderNews
from orchestrator_core.errors import IllegalTransition
from orchestrator_core.lifecycle import HOLDS_ID, OPEN, OrderState, RunStatus, advance
from orchestrator_core.model import OrderReport
from orchestrator_core.orders import Order, Settlement, settle
from orchestrator_core.runs import FailureKind, Run, RunFailure
from orchestrator_core.tracking import DRY_RUN, has_ended

FIRST_LEASE_EPOCH = 1

# What may be on the wire, or waits for an operator.
REGISTERED_OPEN = OPEN - {OrderState.PLANNED}

# A claim or a plan makes these; recording an outcome never does.
NOT_BY_SETTLEMENT = frozenset({OrderState.SENDING, OrderState.ADOPTED})

# What counts in a strategy's day: it may fill, or has filled.
IN_DAY = HOLDS_ID - {OrderState.REJECTED}

# Source of a reference price.
LAST_ACCEPTED = "last_accepted"

# What may still change the account.
IN_BOOK = OPEN | {OrderState.ACCEPTED}

# What the gateway says of these later is news, and no outcome.
HEARD_OF = frozenset({OrderState.ACCEPTED, OrderState.REJECTED})


def is_live(state: OrderState, report: OrderReport | None) -> bool:
    """Whether an order in a book may still change the account, as far as is known."""
    if state is not OrderState.ACCEPTED:
        return True
    return report is not None and report.status != DRY_RUN and not has_ended(report.status)


def settle_once(order: Order, settlement: Settlement) -> Order:
    """Return the order as the settlement leaves it; the same order if it stands so already.

    A settlement that is recorded again finds the gateway's later word in the place of its own: that
    one stays.

    Raises:
        IllegalTransition: The order's state does not allow it, or only a claim or a plan does it.
    """
    if settlement.state in NOT_BY_SETTLEMENT:
        raise IllegalTransition(f"no settlement makes an order {settlement.state}")
    if (order.state, order.reason) == (settlement.state, settlement.reason):
        has_later_word = order.state in HEARD_OF and order.report is not None
        if has_later_word or settlement.report in (None, order.report):
            return order
    return settle(order, settlement)


def close(run: Run, *, failure: RunFailure | None, at: datetime) -> Run:
    """Return the run as it is left: completed at that time unless something is open.

    A run that was completed before stays as it is; a failure once recorded stays, unless a later
    one takes its place.
    """
    if run.completed_at is not None:
        return run
    left = evolve(run, failure=failure or run.cause)
    return evolve(left, completed_at=None if left.status is RunStatus.RUNNING else at)


def frees_key_of_adopter(run: Run) -> bool:
    """Whether a run that ended with its owners failed without an order of its own ever claimed.

    What was not placed, or halted, may have been claimed before: its key stays.
    """
    never_sent = {OrderState.SKIPPED, OrderState.DENIED}
    return run.status is RunStatus.FAILED and all(
        order.owner is not None or order.state in never_sent for order in run.orders or ()
    )


def counts_in_row(run: Run) -> bool:
    """Whether a completed run counts among failed runs in a row, or ends the row."""
    is_refused = run.failure is not None and run.failure.kind is FailureKind.SIGNALS_REFUSED
    return not run.request.dry_run and not is_refused


def taken_over(order: Order) -> Order:
    """Return an order that was SENDING as another holder of its run finds it."""
    return evolve(order, state=advance(order.state, OrderState.UNKNOWN), reason=TAKEN_OVER)


def hear(order: Order, news: OrderNews) -> Order:
    """Return the order with the news of it.

    The same order where another word stands there meanwhile, or where no later word counts.
    """
    stands = order.report
    if order.state not in HEARD_OF or stands is None:
        return order
    if (stands.status, stands.filled_qty) != (news.before.status, news.before.filled_qty):
        return order
    return evolve(order, report=storable_report(news.report))
