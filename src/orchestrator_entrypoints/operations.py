"""Every operation of the HTTP API: what it takes and what it answers, as data."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from orchestrator_core.lifecycle import RunStatus
from orchestrator_entrypoints import wire

Json = dict[str, Any]
Bodies = tuple[type, ...]

DEFAULT_LIMIT = 50
MAX_LIMIT = 100
MAX_OFFSET = 10**9
DEFAULT_HISTORY = 100
MAX_HISTORY = 1000
MAX_IDEMPOTENCY_KEY = 128
MAX_WAIT_SECONDS = 60


@frozen
class Operation:
    """One method of one path.

    Attributes:
        answers: The bodies that a status may come with; none for a body that is no JSON.
        takes: The body of the request.
        parameters: Of the query, the path and the headers, as OpenAPI writes them.
    """

    method: str
    path: str
    tag: str
    summary: str
    answers: Mapping[int, Bodies]
    takes: type | None = None
    parameters: tuple[Json, ...] = field(default=())


def _query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _whole(name: str, *, least: int, most: int, default: int) -> Json:
    bounds = {"minimum": least, "maximum": most, "default": default}
    return _query(name, {"type": "integer", **bounds})


_RUN_ID: Json = {
    "name": "run_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "format": "uuid"},
}
_WAIT: Json = {
    **_whole("wait", least=0, most=MAX_WAIT_SECONDS, default=0),
    "description": "Seconds to wait until the run is no longer running",
}
_EXPLAIN: Json = {
    **_query("explain", {"type": "boolean", "default": False}),
    "description": "true: each mapping carries its way from weight to order, as `explanation`",
}
_IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The client's own name for this request: repeating both runs nothing twice",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_IDEMPOTENCY_KEY},
}

_REFUSED: Bodies = (wire.RefusalError,)
_PLAIN: Bodies = (wire.PlainError,)
_BODY_ERRORS: dict[int, Bodies] = {
    400: _PLAIN,
    408: _PLAIN,
    413: _PLAIN,
    415: _PLAIN,
    422: (wire.ShapeError,),
}

OPERATIONS: tuple[Operation, ...] = (
    Operation("get", "/", "Service", "What answers here", {200: (wire.ServiceInfo,)}),
    Operation(
        "get",
        "/health",
        "Service",
        "How everything is; 200 whatever it is",
        {200: (wire.HealthResponse,)},
    ),
    Operation(
        "get",
        "/ready",
        "Service",
        "Whether a run would be let through now",
        {200: (wire.ReadyResponse,), 503: _REFUSED},
    ),
    Operation("get", "/metrics", "Service", "Counters in the Prometheus format", {200: ()}),
    Operation(
        "get", "/api/v1/config", "Service", "The safety flags", {200: (wire.ConfigResponse,)}
    ),
    Operation(
        "post",
        "/api/v1/orchestration/run",
        "Runs",
        "Make a run",
        {
            200: (wire.OrchestrationResult,),
            202: (wire.OrchestrationResult,),
            **_BODY_ERRORS,
            400: (wire.PlainError, wire.RefusalError),
            409: _REFUSED,
            422: (wire.ShapeError, wire.RefusalError),
            500: _REFUSED,
            502: _REFUSED,
            503: _REFUSED,
        },
        takes=wire.OrchestrationRequest,
        parameters=(_EXPLAIN, _IDEMPOTENCY_KEY),
    ),
    Operation(
        "get",
        "/api/v1/orchestration/runs",
        "Runs",
        "List runs, newest first",
        {200: (wire.OrchestrationRuns,), 422: (wire.ShapeError,), 503: _REFUSED},
        parameters=(
            _whole("limit", least=1, most=MAX_LIMIT, default=DEFAULT_LIMIT),
            _whole("offset", least=0, most=MAX_OFFSET, default=0),
            _query("strategy_id", {"type": "string", "minLength": 1, "maxLength": 128}),
            _query("status", {"type": "string", "enum": [str(status) for status in RunStatus]}),
        ),
    ),
    Operation(
        "get",
        "/api/v1/orchestration/runs/{run_id}",
        "Runs",
        "Show one run with all that is stored of it",
        {
            200: (wire.OrchestrationResult,),
            404: _PLAIN,
            422: (wire.ShapeError,),
            503: _REFUSED,
        },
        parameters=(_RUN_ID, _WAIT, _EXPLAIN),
    ),
    Operation(
        "post",
        "/api/v1/kill-switch/engage",
        "Kill switch",
        "Stop all trading, then wait until no order is on the wire",
        {200: (wire.EngageResult,), **_BODY_ERRORS, 503: _REFUSED},
        takes=wire.EngageRequest,
    ),
    Operation(
        "post",
        "/api/v1/kill-switch/disengage",
        "Kill switch",
        "Let trading go on",
        {200: (wire.KillSwitchStatus,), **_BODY_ERRORS, 503: _REFUSED},
        takes=wire.DisengageRequest,
    ),
    Operation(
        "get",
        "/api/v1/kill-switch/status",
        "Kill switch",
        "Whether orders may leave, and what holds them",
        {200: (wire.KillSwitchStatus,), 503: _REFUSED},
    ),
    Operation(
        "get",
        "/api/v1/controls",
        "Controls",
        "How the strategy's controls stand, and what operators did",
        {200: (wire.ControlsStatus,), 503: _REFUSED},
    ),
    Operation(
        "post",
        "/api/v1/controls/reduce-only",
        "Controls",
        "Let only orders go that shrink a position, or all again",
        {200: (wire.ControlsStatus,), **_BODY_ERRORS, 503: _REFUSED},
        takes=wire.ReduceOnlyRequest,
    ),
    Operation(
        "post",
        "/api/v1/controls/rearm",
        "Controls",
        "Let a strategy go on that failed too often",
        {200: (wire.ControlsStatus,), **_BODY_ERRORS, 503: _REFUSED},
        takes=wire.RearmRequest,
    ),
    Operation(
        "get",
        "/api/v1/kill-switch/history",
        "Kill switch",
        "The last changes, newest first",
        {200: (wire.KillSwitchHistory,), 422: (wire.ShapeError,), 503: _REFUSED},
        parameters=(_whole("limit", least=1, most=MAX_HISTORY, default=DEFAULT_HISTORY),),
    ),
)
