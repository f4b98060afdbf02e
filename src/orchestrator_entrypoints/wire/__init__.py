"""The shapes of the HTTP API, one class a body.

`/openapi.json` is generated from these classes, and the same classes read and write the wire
(`orchestrator_entrypoints.wire_json`). The names up to each "ours" are read by existing clients:
none may change name, type or meaning.
"""

from orchestrator_entrypoints.wire.controls import (
    ControlChange,
    ControlSource,
    ControlsStatus,
    RearmRequest,
    ReduceOnlyRequest,
)
from orchestrator_entrypoints.wire.fields import ExactObject, JsonObject, utc_text
from orchestrator_entrypoints.wire.refusals import (
    FieldProblem,
    PlainError,
    Refusal,
    RefusalError,
    ShapeError,
)
from orchestrator_entrypoints.wire.runs import (
    AllocationShown,
    ExplainedStep,
    OrchestrationRequest,
    OrchestrationResult,
    OrchestrationRuns,
    OrchestrationRunSummary,
    SignalOrderMapping,
    StrategyAttribution,
)
from orchestrator_entrypoints.wire.service import (
    SERVICE_NAME,
    ConfigResponse,
    HealthResponse,
    HealthWord,
    ReadyResponse,
    ServiceInfo,
)
from orchestrator_entrypoints.wire.switch import (
    CancelFailed,
    DisengageRequest,
    EngageRequest,
    EngageResult,
    KillSwitchChange,
    KillSwitchHistory,
    KillSwitchStatus,
    OpenOrderShown,
)

__all__ = [
    "SERVICE_NAME",
    "AllocationShown",
    "CancelFailed",
    "ConfigResponse",
    "ControlChange",
    "ControlSource",
    "ControlsStatus",
    "DisengageRequest",
    "EngageRequest",
    "EngageResult",
    "ExactObject",
    "ExplainedStep",
    "FieldProblem",
    "HealthResponse",
    "HealthWord",
    "JsonObject",
    "KillSwitchChange",
    "KillSwitchHistory",
    "KillSwitchStatus",
    "OpenOrderShown",
    "OrchestrationRequest",
    "OrchestrationResult",
    "OrchestrationRunSummary",
    "OrchestrationRuns",
    "PlainError",
    "ReadyResponse",
    "RearmRequest",
    "ReduceOnlyRequest",
    "Refusal",
    "RefusalError",
    "ServiceInfo",
    "ShapeError",
    "SignalOrderMapping",
    "StrategyAttribution",
    "utc_text",
]
