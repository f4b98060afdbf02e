"""A strategy's controls."""

from datetime import datetime
from enum import StrEnum

from attrs import field, frozen

from orchestrator_core.controls import ControlEventKind
from orchestrator_entrypoints.wire.fields import said


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
    reduce_only: bool = field(metadata=said("Only orders that shrink a position are sent"))
    reduce_only_by: tuple[ControlSource, ...]
    failed_runs: int | None = field(
        metadata=said("Failed runs in a row, up to max_failed_runs; null where none are counted")
    )
    max_failed_runs: int | None
    throttled: bool = field(metadata=said("No run trades until an operator re-arms the strategy"))
    events: tuple[ControlChange, ...] = field(metadata=said("The last ones, newest first"))
    drained: bool | None = field(
        default=None,
        metadata=said("After a change: no order is on its way that was planned without it"),
    )
    in_flight: int | None = field(
        default=None, metadata=said("After a change: orders that may be on their way")
    )
