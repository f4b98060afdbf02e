"""What a run is asked for, and how it is shown."""

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from attrs import field, frozen

from orchestrator_core.explaining import StepName
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.model import Side
from orchestrator_entrypoints.limits_schema import schema_of_limits
from orchestrator_entrypoints.wire.fields import ExactObject, JsonObject, said

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
        metadata=said("Trimmed and upper-cased; none twice", minItems=1)
    )
    as_of_date: str | None = field(
        default=None, metadata=said("YYYY-MM-DD; absent: the strategy's own latest date")
    )
    capital: Decimal | None = field(
        default=None, metadata=said("Account currency; absent: the configured capital", **_AMOUNT)
    )
    max_position_size: Decimal | None = field(
        default=None, metadata=said("Cap on one position's notional", **_AMOUNT)
    )
    dry_run: bool | None = field(
        default=None, metadata=said("true: plan, store and explain, send nothing")
    )
    rebalance_key: str | None = field(
        default=None,
        metadata=said(
            "Names a further rebalance of the same date; the same key sends nothing. Needed where "
            "orders are differences from what is held"
        ),
    )
    limits: ExactObject | None = field(
        default=None,
        metadata=said(
            "Tighter than the limits in force, by name; a looser one is refused",
            anyOf=[schema_of_limits(), {"type": "null"}],
        ),
    )


@frozen(kw_only=True)
class ExplainedStep:
    """One step of the way from weight to order."""

    name: StepName
    value: str | None = field(metadata=said("An exact number, or a word"))
    bound: str | None = field(
        metadata=said("What it was held to, where that changed or stopped something")
    )
    note: str | None = field(metadata=said("What the value came from"))


@frozen(kw_only=True)
class StrategyAttribution:
    """What one of several strategies has of a netted signal and its order."""

    strategy_id: str
    share: Decimal = field(metadata=said("Fraction of the capital that the strategy decides on"))
    target_weight: float = field(metadata=said("As the strategy sent it"))
    weight: Decimal = field(metadata=said("share x target_weight, exactly: fraction of capital"))
    qty: int = field(
        metadata=said(
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
    target_weight: float = field(metadata=said("Fraction of capital; negative is short"))
    client_order_id: str | None
    order_qty: int | None = field(metadata=said("Whole shares"))
    order_side: Side | None
    broker_order_id: str | None
    order_status: str | None = field(metadata=said("The gateway's own word"))
    filled_qty: Decimal | None
    filled_avg_price: Decimal | None
    skip_reason: str | None
    order_state: OrderState
    adopted_from_run_id: UUID | None
    leg: int | None = field(
        metadata=said("1 for the second order of a flip through zero; null where there is none")
    )
    sizing_price: Decimal | None = field(
        metadata=said("What the order was sized with, account currency per share")
    )
    attributions: tuple[StrategyAttribution, ...] | None = field(
        default=None, metadata=said("By strategy; there only where several are netted")
    )
    explanation: tuple[ExplainedStep, ...] | None = field(
        default=None, metadata=said("The way to the order; there only where explain=true asks")
    )


@frozen(kw_only=True)
class AllocationShown:
    """How near a plan comes to what its weights asked for, as if each order fills at its price."""

    investable: Decimal = field(metadata=said("Capital less its buffer, account currency"))
    wanted: Decimal = field(metadata=said("Sum of |weight| x investable"))
    allocated: Decimal = field(metadata=said("Worth of those positions afterwards, unsigned"))
    leftover_cash: Decimal = field(metadata=said("wanted less allocated"))
    tracking_error: Decimal = field(
        metadata=said("Root mean square of the weights missed; a fraction")
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
    num_orders_open: int = field(metadata=said("Orders whose fate is not known yet"))
    note: str | None = field(metadata=said("What the caller may do about it"))
    allocation: AllocationShown | None = field(
        default=None, metadata=said("There only where explain=true asks, and it can be derived")
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
    total: int = field(metadata=said("Runs that match, on every page"))
    limit: int
    offset: int
