"""The kill switch."""

from uuid import UUID

from attrs import field, frozen

from orchestrator_core.kill_switch import SwitchEvent, SwitchState
from orchestrator_core.lifecycle import OrderState
from orchestrator_entrypoints.wire.fields import JsonObject, said


@frozen(kw_only=True)
class EngageRequest:
    """Who stops all trading, and why."""

    reason: str
    operator: str
    details: JsonObject | None = None
    cancel_open: bool | None = field(
        default=None,
        metadata=said("true: once no order can start, ask the gateway to cancel what is live"),
    )


@frozen(kw_only=True)
class DisengageRequest:
    """Who lets trading go on."""

    operator: str
    notes: str | None = None


@frozen(kw_only=True)
class KillSwitchStatus:
    """The kill switch; ours from `latch_epoch` on.

    `state` is ENGAGED when either store says so.
    """

    state: SwitchState
    engaged_at: str | None
    engaged_by: str | None
    engagement_reason: str | None
    engagement_details: JsonObject | None
    disengaged_at: str | None
    disengaged_by: str | None
    disengagement_notes: str | None
    engagement_count_today: int
    latch_epoch: int | None
    trading_allowed: bool
    shared_state: SwitchState | None = field(
        metadata=said("What the shared store says by itself; null where it cannot be read")
    )
    latch_engaged: bool | None = field(
        metadata=said("What the run database says by itself; null where it cannot be read")
    )
    held_by: tuple[str, ...] = field(metadata=said("Stores that halt trading"))
    release: str | None = field(metadata=said("What would let trading go on"))
    drained: bool | None = field(
        default=None,
        metadata=said(
            "Engaged, and no order is on the wire; null while trading, or where it cannot be read"
        ),
    )
    in_flight: int | None = field(
        default=None, metadata=said("Orders that may be on the wire; null: cannot be read")
    )
    unresolved: int | None = field(
        default=None, metadata=said("Orders that wait for an operator; null: cannot be read")
    )


@frozen(kw_only=True)
class OpenOrderShown:
    """An order that may be on the wire, or waits for an operator."""

    run_id: UUID
    client_order_id: str
    symbol: str
    state: OrderState


@frozen(kw_only=True)
class CancelFailed:
    """A live order that the gateway was not asked to cancel."""

    client_order_id: str
    cause: str | None


@frozen(kw_only=True)
class EngageResult(KillSwitchStatus):
    """The kill switch after engaging, and what was still on the wire."""

    drained: bool = field(metadata=said("No order is on the wire, and none can start"))
    in_flight: int
    unresolved: int
    durable: bool = field(metadata=said("The run database holds the stop"))
    shared: bool = field(metadata=said("The shared store holds the stop"))
    open_orders: tuple[OpenOrderShown, ...] = field(metadata=said("The first hundred of both"))
    cancel_requested: int | None = field(
        metadata=said("Live orders that were asked to be canceled; null where none were to be")
    )
    cancel_failed: tuple[CancelFailed, ...] = field(
        metadata=said("The first hundred that could not be asked for")
    )
    cancel_cause: str | None = field(
        metadata=said("Why not every live order was asked to be canceled")
    )


@frozen(kw_only=True)
class KillSwitchChange:
    """One entry of the history."""

    event: SwitchEvent
    timestamp: str
    operator: str
    reason: str | None
    notes: str | None
    details: JsonObject | None


@frozen(kw_only=True)
class KillSwitchHistory:
    """The last changes, newest first."""

    history: tuple[KillSwitchChange, ...]
    limit: int
