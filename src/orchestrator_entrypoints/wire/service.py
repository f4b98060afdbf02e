"""The service itself: what it is, and how it is."""

from datetime import datetime
from enum import StrEnum

from attrs import field, frozen

from orchestrator_entrypoints.wire.fields import JsonObject, said

SERVICE_NAME = "orchestrator"


class HealthWord(StrEnum):
    """How the service is, in one word."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


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
    reduce_only: bool = field(metadata=said("Only orders that shrink a position are sent"))


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
