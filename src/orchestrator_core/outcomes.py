"""What a try, a second try, or a look at the gateway lets us record of an order: pure decisions.

What is not known is UNKNOWN. It is left only on the gateway's own record of that very order, or for
an operator once its time is up; no refusal and no silence settles it.
"""

from collections.abc import Sequence

from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import OrderReport
from orchestrator_core.orders import Order, Settlement
from orchestrator_core.ports import LookUp, LookUpKind, SubmitKind, SubmitOutcome
from orchestrator_core.tracking import first_follow_seconds

STATE_AFTER = {
    SubmitKind.ACCEPTED: OrderState.ACCEPTED,
    SubmitKind.REJECTED: OrderState.REJECTED,
    SubmitKind.NOT_PLACED: OrderState.NOT_PLACED,
    SubmitKind.CONFLICT: OrderState.CONFLICT,
    SubmitKind.UNKNOWN: OrderState.UNKNOWN,
    SubmitKind.DEFERRED: OrderState.PLANNED,
}

# All that an answer to a second try can say of the first.
SAID_BY_RETRY = frozenset({SubmitKind.ACCEPTED, SubmitKind.CONFLICT})


def settlement_of_try(outcome: SubmitOutcome) -> Settlement:
    """Return what is to be recorded of an order's first try."""
    return _settlement(outcome, STATE_AFTER[outcome.kind], outcome.cause)


def settlement_of_retry(outcome: SubmitOutcome) -> Settlement:
    """Return what is to be recorded of a try after one whose outcome is not known."""
    if outcome.kind in SAID_BY_RETRY:
        return _settlement(outcome, STATE_AFTER[outcome.kind], outcome.cause)
    return _settlement(outcome, OrderState.UNKNOWN, f"sent again: {outcome.cause}")


def _settlement(outcome: SubmitOutcome, state: OrderState, reason: str | None) -> Settlement:
    return Settlement(
        outcome.client_order_id,
        state,
        reason=reason,
        report=outcome.report,
        follow_seconds=_follow_seconds(state, outcome.report),
    )


def _follow_seconds(state: OrderState, report: OrderReport | None) -> float | None:
    if state in {OrderState.ACCEPTED, OrderState.REJECTED}:
        return first_follow_seconds(report)
    return None


def settlement_of_look(
    order: Order, answer: LookUp, *, age_seconds: float, unresolved_after_seconds: float
) -> Settlement | None:
    """Return what a look at the gateway lets us record of an order; None: nothing yet.

    Args:
        order: UNKNOWN, or UNRESOLVED.
        answer: What the look brought.
        age_seconds: Since the order was last claimed.
        unresolved_after_seconds: The age at which an UNKNOWN order is left to an operator.
    """
    state = _state_of_look(order, answer)
    if state is not None:
        return Settlement(
            answer.client_order_id,
            state,
            reason=None if state is OrderState.ACCEPTED else answer.cause,
            report=answer.report,
            follow_seconds=_follow_seconds(state, answer.report),
        )
    if order.state is OrderState.UNKNOWN and age_seconds >= unresolved_after_seconds:
        return Settlement(
            answer.client_order_id,
            OrderState.UNRESOLVED,
            reason=f"{order.reason}; at the gateway for {unresolved_after_seconds:g} s: "
            f"{answer.cause or answer.kind}",
            report=answer.report,
        )
    return None


def _state_of_look(order: Order, answer: LookUp) -> OrderState | None:
    match answer.kind:
        case LookUpKind.ACCEPTED:
            return OrderState.ACCEPTED
        case LookUpKind.REJECTED:
            return OrderState.REJECTED
        case LookUpKind.CONFLICT if order.state is OrderState.UNKNOWN:
            return OrderState.CONFLICT
        case _:
            return None


def stopping_outcome(outcomes: Sequence[SubmitOutcome]) -> SubmitOutcome | None:
    """Return the outcome that every further order would meet too, if there is one."""
    stop = next((outcome for outcome in outcomes if outcome.stops_run), None)
    if stop is None and outcomes and all(outcome.unreachable for outcome in outcomes):
        return outcomes[0]
    return stop
