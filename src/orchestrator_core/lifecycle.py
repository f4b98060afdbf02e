"""The two state machines, as tables.

Two rules are kept here. An order's state changes only along `ORDER_TRANSITIONS`. A run's status is
never set: it is a function of its orders (`tally_orders`, `run_status`).

UNKNOWN is left on evidence or by an operator, never by time: nothing in the table leads from it to
NOT_PLACED.
"""

from collections.abc import Iterable
from enum import StrEnum

from attrs import frozen

from orchestrator_core.errors import IllegalTransition


class OrderState(StrEnum):
    """Where one planned order stands. *Denied* is by our limits, *rejected* by the gateway."""

    PLANNED = "planned"
    SKIPPED = "skipped"
    DENIED = "denied"
    HALTED = "halted"
    NOT_PLACED = "not_placed"
    ADOPTED = "adopted"
    SENDING = "sending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CONFLICT = "conflict"
    UNKNOWN = "unknown"
    UNRESOLVED = "unresolved"


class RunStatus(StrEnum):
    """A run in its public words."""

    RUNNING = "running"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"


_S = OrderState

ORDER_TRANSITIONS: dict[OrderState, frozenset[OrderState]] = {
    _S.PLANNED: frozenset(
        {_S.SKIPPED, _S.DENIED, _S.HALTED, _S.NOT_PLACED, _S.ADOPTED, _S.SENDING}
    ),
    _S.SENDING: frozenset(
        {_S.ACCEPTED, _S.REJECTED, _S.NOT_PLACED, _S.CONFLICT, _S.UNKNOWN, _S.PLANNED}
    ),
    _S.UNKNOWN: frozenset({_S.ACCEPTED, _S.REJECTED, _S.CONFLICT, _S.SENDING, _S.UNRESOLVED}),
    _S.UNRESOLVED: frozenset({_S.ACCEPTED, _S.REJECTED, _S.NOT_PLACED}),
    _S.CONFLICT: frozenset({_S.ACCEPTED, _S.REJECTED, _S.NOT_PLACED}),
    _S.SKIPPED: frozenset(),
    _S.DENIED: frozenset(),
    _S.HALTED: frozenset(),
    _S.NOT_PLACED: frozenset(),
    _S.ADOPTED: frozenset(),
    _S.ACCEPTED: frozenset(),
    _S.REJECTED: frozenset(),
}

# A row in one of these holds its client_order_id: no other row may have it.
HOLDS_ID = frozenset(
    {
        _S.PLANNED,
        _S.SENDING,
        _S.ACCEPTED,
        _S.REJECTED,
        _S.CONFLICT,
        _S.UNKNOWN,
        _S.UNRESOLVED,
    }
)

# The order may be on the wire now: what a kill switch's barrier waits for.
IN_FLIGHT = frozenset({_S.SENDING, _S.UNKNOWN})

# Open orders keep their run `running`.
OPEN = frozenset({_S.PLANNED, _S.SENDING, _S.UNKNOWN, _S.UNRESOLVED, _S.CONFLICT})


def advance(current: OrderState, new: OrderState) -> OrderState:
    """Return `new` if the table holds the step.

    Raises:
        IllegalTransition: It does not.
    """
    if new not in ORDER_TRANSITIONS[current]:
        raise IllegalTransition(f"an order cannot go from {current} to {new}")
    return new


@frozen
class OrderStanding:
    """All that counting needs to know of one order.

    Attributes:
        state: Its own state; for an adopted order its owner's.
        acknowledged: The gateway answered under this order's id.
        canceled: The gateway's word was `canceled` on arrival.
        filled: The gateway's word is `filled`.
    """

    state: OrderState
    acknowledged: bool = False
    canceled: bool = False
    filled: bool = False


@frozen
class Tally:
    """A run's orders, counted.

    Attributes:
        submitted: The gateway acknowledged the id.
        accepted: Accepted and not canceled on arrival.
        rejected: Refused, canceled on arrival, or not placed for a fault.
        filled: Filled completely.
        halted: Stopped by the kill switch; part of `not_placed`.
        not_placed: Certainly never placed.
        open: Fate not known yet, or still to be sent.
    """

    submitted: int = 0
    accepted: int = 0
    rejected: int = 0
    filled: int = 0
    halted: int = 0
    not_placed: int = 0
    open: int = 0


def tally_orders(standings: Iterable[OrderStanding]) -> Tally:
    """Count orders by the table of the public contract."""
    submitted = accepted = rejected = filled = halted = not_placed = still_open = 0
    for standing in standings:
        state = standing.state
        if state in OPEN:
            still_open += 1
        elif state is _S.ACCEPTED:
            submitted += 1
            filled += standing.filled
            if standing.canceled:
                rejected += 1
            else:
                accepted += 1
        elif state is _S.REJECTED:
            rejected += 1
            submitted += standing.acknowledged
        elif state is _S.NOT_PLACED:
            rejected += 1
            not_placed += 1
        elif state is _S.HALTED:
            halted += 1
            not_placed += 1
    return Tally(
        submitted=submitted,
        accepted=accepted,
        rejected=rejected,
        filled=filled,
        halted=halted,
        not_placed=not_placed,
        open=still_open,
    )


def run_status(tally: Tally) -> RunStatus:
    """Return the status of a run that has its plan.

    >>> run_status(Tally(accepted=1, rejected=1))
    <RunStatus.PARTIAL: 'partial'>
    """
    if tally.open:
        return RunStatus.RUNNING
    if not (tally.rejected or tally.not_placed):
        return RunStatus.COMPLETED
    if tally.accepted:
        return RunStatus.PARTIAL
    return RunStatus.FAILED
