"""The kill switch as its endpoints show it."""

from collections.abc import Sequence
from typing import Any

from attrs import evolve, fields

from orchestrator_core.canceling import Canceling
from orchestrator_core.commits import OpenOrder
from orchestrator_core.engaging import EngageAnswer
from orchestrator_core.halting import SwitchReading
from orchestrator_core.kill_switch import (
    Halted,
    HistoryEntry,
    KillSwitchState,
    Latch,
    SwitchState,
)
from orchestrator_core.lifecycle import IN_FLIGHT
from orchestrator_entrypoints.answers import Answer, refuse
from orchestrator_entrypoints.wire import (
    CancelFailed,
    EngageResult,
    JsonObject,
    KillSwitchChange,
    KillSwitchHistory,
    KillSwitchStatus,
    OpenOrderShown,
    Refusal,
)

MAX_ORDERS_SHOWN = 100


def status_of(
    reading: SwitchReading, orders: Sequence[OpenOrder] | None = None
) -> KillSwitchStatus | None:
    """Return what both stores mean together; None where the state is in doubt.

    ENGAGED in either store is ENGAGED: a reader of `state` alone must not be told less.

    Args:
        reading: Both stores.
        orders: The open ones, read after the stores; None where they could not be read.
    """
    verdict = reading.verdict
    shared = reading.shared if isinstance(reading.shared, KillSwitchState) else None
    latch = reading.latch if isinstance(reading.latch, Latch) else None
    halted = verdict if isinstance(verdict, Halted) else None
    if halted is not None and not halted.engaged:
        return None
    shown = shared or KillSwitchState(SwitchState.ENGAGED)
    if halted is not None:
        shown = evolve(
            shown,
            state=SwitchState.ENGAGED,
            engaged_by=halted.engaged_by,
            engaged_at=halted.engaged_at,
            engagement_reason=halted.reason,
        )
    details = shown.engagement_details
    return KillSwitchStatus(
        state=shown.state,
        engaged_at=shown.engaged_at,
        engaged_by=shown.engaged_by,
        engagement_reason=shown.engagement_reason,
        engagement_details=None if details is None else JsonObject(details),
        disengaged_at=shown.disengaged_at,
        disengaged_by=shown.disengaged_by,
        disengagement_notes=shown.disengagement_notes,
        engagement_count_today=shown.engagement_count_today,
        latch_epoch=shown.latch_epoch if latch is None else latch.epoch,
        trading_allowed=halted is None,
        shared_state=None if shared is None else shared.state,
        latch_engaged=None if latch is None else latch.engaged,
        held_by=() if halted is None else tuple(map(str, halted.held_by)),
        release=None if halted is None else halted.release,
        drained=_has_drained(latch, orders),
        in_flight=None if orders is None else _count_in_flight(orders),
        unresolved=None if orders is None else len(orders) - _count_in_flight(orders),
    )


def _has_drained(latch: Latch | None, orders: Sequence[OpenOrder] | None) -> bool | None:
    """Whether nothing is on the wire under an engaged latch, which lets nothing start."""
    if latch is None or not latch.engaged or orders is None:
        return None
    return _count_in_flight(orders) == 0


def _count_in_flight(orders: Sequence[OpenOrder]) -> int:
    return sum(order.state in IN_FLIGHT for order in orders)


def answer_engaged(answer: EngageAnswer, status: KillSwitchStatus | None) -> Answer:
    """Return what engaging brought: 200 only when both stores hold the stop."""
    shown = (*answer.in_flight, *answer.unresolved)[:MAX_ORDERS_SHOWN]
    result = None
    if status is not None:
        result = EngageResult(
            **_as_fields(status),
            drained=answer.drained,
            in_flight=len(answer.in_flight),
            unresolved=len(answer.unresolved),
            durable=answer.durable,
            shared=answer.shared,
            open_orders=tuple(
                OpenOrderShown(
                    run_id=order.run_id,
                    client_order_id=order.client_order_id,
                    symbol=order.symbol,
                    state=order.state,
                )
                for order in shown
            ),
            **_canceled(answer.canceling),
        )
    if answer.durable and answer.shared and result is not None:
        return Answer(200, result)
    return refuse(503, _engaged_in_part(answer, result))


def _canceled(canceling: Canceling | None) -> dict[str, Any]:
    if canceling is None:
        return {"cancel_requested": None, "cancel_failed": (), "cancel_cause": None}
    failed = canceling.failed
    causes = [f"{len(failed)} could not be asked for"] if failed else []
    causes += [] if canceling.cause is None else [canceling.cause]
    return {
        "cancel_requested": canceling.requested,
        "cancel_failed": tuple(
            CancelFailed(client_order_id=outcome.client_order_id, cause=outcome.cause)
            for outcome in failed[:MAX_ORDERS_SHOWN]
        ),
        "cancel_cause": "; ".join(causes) or None,
    }


def _engaged_in_part(answer: EngageAnswer, result: EngageResult | None) -> Refusal:
    cause = answer.cause or "the state cannot be read back"
    if not (answer.durable or answer.shared):
        error = "Kill-switch unavailable"
        message = f"NOT engaged, in neither store: {cause}"
    else:
        error = "Kill-switch engaged in part"
        held = "run database" if answer.durable else "shared state"
        message = f"Engaged in the {held} only, which halts this service; {cause}. Engage again"
    return Refusal(error=error, message=message, fail_closed=True, kill_switch=result)


def _as_fields(status: KillSwitchStatus) -> dict[str, Any]:
    """Return the fields of a status but for those that an engagement tells by itself."""
    told = {"drained", "in_flight", "unresolved"}
    names = (field.name for field in fields(KillSwitchStatus) if field.name not in told)
    return {name: getattr(status, name) for name in names}


def history_of(entries: Sequence[HistoryEntry], *, limit: int) -> KillSwitchHistory:
    """Return the history as clients read it."""
    return KillSwitchHistory(
        history=tuple(
            KillSwitchChange(
                event=entry.event,
                timestamp=entry.timestamp,
                operator=entry.operator,
                reason=entry.reason,
                notes=entry.notes,
                details=None if entry.details is None else JsonObject(entry.details),
            )
            for entry in entries
        ),
        limit=limit,
    )
