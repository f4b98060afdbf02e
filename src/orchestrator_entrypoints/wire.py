"""The shapes of the HTTP API, one class a body.

`/openapi.json` is generated from these classes, and the same classes read and write the wire
(`orchestrator_entrypoints.wire_json`). The names up to each "ours" are read by existing clients:
none may change name, type or meaning.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NewType
from uuid import UUID

from attrs import field, frozen

from orchestrator_core.controls import ControlEventKind
from orchestrator_core.explaining import StepName
from orchestrator_core.kill_switch import SwitchEvent, SwitchState
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.model import Side
from orchestrator_entrypoints.limits_schema import schema_of_limits

SERVICE_NAME = "orchestrator"

JsonObject = NewType("JsonObject", Mapping[str, Any])
# Its numbers are decimals, of their own digits.
ExactObject = NewType("ExactObject", Mapping[str, Any])


class HealthWord(StrEnum):
    """How the service is, in one word."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


def _said(meaning: str, **schema: object) -> dict[str, Any]:
    """Return the metadata that the schema of a field shows."""
    return {"schema": {"description": meaning, **schema}}


_AMOUNT: dict[str, object] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "format": "decimal"},
        {"type": "null"},
    ]
}


@frozen(kw_only=True)
class OrchestrationRequest:
    """What a run is asked for. Unknown fields are ignored."""

    symbols: tuple[str, ...] = field(
        metadata=_said("Trimmed and upper-cased; none twice", minItems=1)
    )
    as_of_date: str | None = field(
        default=None, metadata=_said("YYYY-MM-DD; absent: the strategy's own latest date")
    )
    capital: Decimal | None = field(
        default=None, metadata=_said("Account currency; absent: the configured capital", **_AMOUNT)
    )
    max_position_size: Decimal | None = field(
        default=None, metadata=_said("Cap on one position's notional", **_AMOUNT)
    )
    dry_run: bool | None = field(
        default=None, metadata=_said("true: plan, store and explain, send nothing")
    )
    rebalance_key: str | None = field(
        default=None,
        metadata=_said(
            "Names a further rebalance of the same date; the same key sends nothing. Needed where "
            "orders are differences from what is held"
        ),
    )
    limits: ExactObject | None = field(
        default=None,
        metadata=_said(
            "Tighter than the limits in force, by name; a looser one is refused",
            anyOf=[schema_of_limits(), {"type": "null"}],
        ),
    )


@frozen(kw_only=True)
class EngageRequest:
    """Who stops all trading, and why."""

    reason: str
    operator: str
    details: JsonObject | None = None
    cancel_open: bool | None = field(
        default=None,
        metadata=_said("true: once no order can start, ask the gateway to cancel what is live"),
    )


@frozen(kw_only=True)
class DisengageRequest:
    """Who lets trading go on."""

    operator: str
    notes: str | None = None


@frozen(kw_only=True)
class ExplainedStep:
    """One step of the way from weight to order."""

    name: StepName
    value: str | None = field(metadata=_said("An exact number, or a word"))
    bound: str | None = field(
        metadata=_said("What it was held to, where that changed or stopped something")
    )
    note: str | None = field(metadata=_said("What the value came from"))


@frozen(kw_only=True)
class StrategyAttribution:
    """What one of several strategies has of a netted signal and its order."""

    strategy_id: str
    share: Decimal = field(metadata=_said("Fraction of the capital that the strategy decides on"))
    target_weight: float = field(metadata=_said("As the strategy sent it"))
    weight: Decimal = field(metadata=_said("share x target_weight, exactly: fraction of capital"))
    qty: int = field(
        metadata=_said(
            "Whole shares of the planned order, below zero where sold; all sum to it, and all are "
            "0 where the net weight is"
        )
    )


@frozen(kw_only=True)
class SignalOrderMapping:
    """One signal and what became of it; ours from `order_state` on."""

    symbol: str
    predicted_return: float
    rank: int
    target_weight: float = field(metadata=_said("Fraction of capital; negative is short"))
    client_order_id: str | None
    order_qty: int | None = field(metadata=_said("Whole shares"))
    order_side: Side | None
    broker_order_id: str | None
    order_status: str | None = field(metadata=_said("The gateway's own word"))
    filled_qty: Decimal | None
    filled_avg_price: Decimal | None
    skip_reason: str | None
    order_state: OrderState
    adopted_from_run_id: UUID | None
    leg: int | None = field(
        metadata=_said("1 for the second order of a flip through zero; null where there is none")
    )
    sizing_price: Decimal | None = field(
        metadata=_said("What the order was sized with, account currency per share")
    )
    attributions: tuple[StrategyAttribution, ...] | None = field(
        default=None, metadata=_said("By strategy; there only where several are netted")
    )
    explanation: tuple[ExplainedStep, ...] | None = field(
        default=None, metadata=_said("The way to the order; there only where explain=true asks")
    )


@frozen(kw_only=True)
class AllocationShown:
    """How near a plan comes to what its weights asked for, as if each order fills at its price."""

    investable: Decimal = field(metadata=_said("Capital less its buffer, account currency"))
    wanted: Decimal = field(metadata=_said("Sum of |weight| x investable"))
    allocated: Decimal = field(metadata=_said("Worth of those positions afterwards, unsigned"))
    leftover_cash: Decimal = field(metadata=_said("wanted less allocated"))
    tracking_error: Decimal = field(
        metadata=_said("Root mean square of the weights missed; a fraction")
    )


@frozen(kw_only=True)
class OrchestrationResult:
    """A run as it is stored; ours from `max_position_size` on."""

    run_id: UUID
    status: RunStatus
    strategy_id: str
    as_of_date: date
    symbols: tuple[str, ...]
    capital: Decimal
    num_signals: int
    signal_metadata: JsonObject | None
    num_orders_submitted: int
    num_orders_accepted: int
    num_orders_rejected: int
    num_orders_filled: int | None
    mappings: tuple[SignalOrderMapping, ...]
    started_at: datetime
    completed_at: datetime | None
    duration_seconds: Decimal | None
    error_message: str | None
    max_position_size: Decimal
    dry_run: bool
    rebalance_key: str
    num_orders_open: int = field(metadata=_said("Orders whose fate is not known yet"))
    note: str | None = field(metadata=_said("What the caller may do about it"))
    allocation: AllocationShown | None = field(
        default=None, metadata=_said("There only where explain=true asks, and it can be derived")
    )


@frozen(kw_only=True)
class OrchestrationRunSummary:
    """One row of the list of runs."""

    run_id: UUID
    status: RunStatus
    strategy_id: str
    as_of_date: date
    num_signals: int
    num_orders_submitted: int
    num_orders_accepted: int
    num_orders_rejected: int
    started_at: datetime
    completed_at: datetime | None
    duration_seconds: Decimal | None


@frozen(kw_only=True)
class OrchestrationRuns:
    """A page of runs, newest first."""

    runs: tuple[OrchestrationRunSummary, ...]
    total: int = field(metadata=_said("Runs that match, on every page"))
    limit: int
    offset: int


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
        metadata=_said("What the shared store says by itself; null where it cannot be read")
    )
    latch_engaged: bool | None = field(
        metadata=_said("What the run database says by itself; null where it cannot be read")
    )
    held_by: tuple[str, ...] = field(metadata=_said("Stores that halt trading"))
    release: str | None = field(metadata=_said("What would let trading go on"))
    drained: bool | None = field(
        default=None,
        metadata=_said(
            "Engaged, and no order is on the wire; null while trading, or where it cannot be read"
        ),
    )
    in_flight: int | None = field(
        default=None, metadata=_said("Orders that may be on the wire; null: cannot be read")
    )
    unresolved: int | None = field(
        default=None, metadata=_said("Orders that wait for an operator; null: cannot be read")
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

    drained: bool = field(metadata=_said("No order is on the wire, and none can start"))
    in_flight: int
    unresolved: int
    durable: bool = field(metadata=_said("The run database holds the stop"))
    shared: bool = field(metadata=_said("The shared store holds the stop"))
    open_orders: tuple[OpenOrderShown, ...] = field(metadata=_said("The first hundred of both"))
    cancel_requested: int | None = field(
        metadata=_said("Live orders that were asked to be canceled; null where none were to be")
    )
    cancel_failed: tuple[CancelFailed, ...] = field(
        metadata=_said("The first hundred that could not be asked for")
    )
    cancel_cause: str | None = field(
        metadata=_said("Why not every live order was asked to be canceled")
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


class ControlSource(StrEnum):
    """Who turned a control on."""

    SETTING = "setting"
    OPERATOR = "operator"


@frozen(kw_only=True)
class ReduceOnlyRequest:
    """Who turns reduce-only mode on or off, and why."""

    on: bool
    operator: str
    notes: str


@frozen(kw_only=True)
class RearmRequest:
    """Who lets a strategy go on that failed too often, and why."""

    operator: str
    notes: str


@frozen(kw_only=True)
class ControlChange:
    """What an operator did."""

    event: ControlEventKind
    timestamp: datetime
    operator: str
    notes: str


@frozen(kw_only=True)
class ControlsStatus:
    """How the strategy's controls stand."""

    strategy_id: str
    reduce_only: bool = field(metadata=_said("Only orders that shrink a position are sent"))
    reduce_only_by: tuple[ControlSource, ...]
    failed_runs: int | None = field(
        metadata=_said("Failed runs in a row, up to max_failed_runs; null where none are counted")
    )
    max_failed_runs: int | None
    throttled: bool = field(metadata=_said("No run trades until an operator re-arms the strategy"))
    events: tuple[ControlChange, ...] = field(metadata=_said("The last ones, newest first"))


@frozen(kw_only=True)
class ServiceInfo:
    """What answers here."""

    service: str
    version: str
    status: str
    signal_service: str
    execution_gateway: str


@frozen(kw_only=True)
class HealthResponse:
    """How the service and what it needs are."""

    status: HealthWord
    service: str
    version: str
    timestamp: datetime
    signal_service_url: str
    execution_gateway_url: str
    signal_service_healthy: bool
    execution_gateway_healthy: bool
    database_connected: bool
    details: JsonObject


@frozen(kw_only=True)
class ReadyResponse:
    """A run would be let through now."""

    status: str
    reduce_only: bool = field(metadata=_said("Only orders that shrink a position are sent"))


@frozen(kw_only=True)
class ConfigResponse:
    """The safety flags, for automated checks."""

    service: str
    version: str
    environment: str
    dry_run: bool
    alpaca_paper: bool
    circuit_breaker_enabled: bool
    timestamp: datetime


@frozen(kw_only=True)
class FieldProblem:
    """What is wrong with one field."""

    loc: tuple[str | int, ...]
    msg: str
    type: str


@frozen(kw_only=True)
class ShapeError:
    """The request is not of the agreed form."""

    detail: tuple[FieldProblem, ...]


@frozen(kw_only=True)
class PlainError:
    """One sentence that says what was wrong."""

    detail: str


@frozen(kw_only=True)
class Refusal:
    """Why nothing, or not all, was done; what does not apply is left out."""

    error: str = field(metadata=_said("The same words for the same case"))
    message: str
    fail_closed: bool | None = None
    run_id: UUID | None = None
    reason: str | None = None
    reasons: tuple[str, ...] | None = None
    engaged_by: str | None = None
    engaged_at: str | None = None
    retry_after: float | None = field(default=None, metadata=_said("Seconds"))
    kill_switch: EngageResult | None = None


@frozen(kw_only=True)
class RefusalError:
    """A refusal, or a failure of something that a run needs."""

    detail: Refusal


def utc_text(time: datetime) -> str:
    """Return a time as ISO 8601 in UTC, ending in Z."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
