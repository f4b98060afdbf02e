"""What the service is, how it is, and what it counts."""

from attrs import frozen
from starlette.requests import Request
from starlette.responses import Response

from orchestrator_core import __version__
from orchestrator_core.kill_switch import Halted
from orchestrator_core.policy import RunPolicy
from orchestrator_entrypoints.answers import Answer, refuse
from orchestrator_entrypoints.control_answers import reduce_only_sources
from orchestrator_entrypoints.edge import respond
from orchestrator_entrypoints.health import (
    HealthObserver,
    Observation,
    Problem,
    count_open,
    gateway_distrust,
    why_not_ready,
)
from orchestrator_entrypoints.metrics import CONTENT_TYPE
from orchestrator_entrypoints.run_service import RunService
from orchestrator_entrypoints.settings import Settings
from orchestrator_entrypoints.wire import (
    SERVICE_NAME,
    ConfigResponse,
    HealthResponse,
    JsonObject,
    ReadyResponse,
    Refusal,
    ServiceInfo,
)

TO_RESOLVE = (
    "An operator has to settle orders: `orchestrator orders open` lists them, "
    "`orchestrator orders resolve` closes one on evidence"
)


@frozen
class ServiceEndpoints:
    """The endpoints outside of `/api/v1/orchestration` and `/api/v1/kill-switch`."""

    runs: RunService
    observer: HealthObserver

    async def info(self, _: Request) -> Response:
        """Say what answers here."""
        orchestrator = self.runs.orchestrator
        settings = orchestrator.settings
        info = ServiceInfo(
            service=SERVICE_NAME,
            version=__version__,
            status="stopping" if orchestrator.stop.is_set else "running",
            signal_service=",".join(settings.signal_services),
            execution_gateway=settings.execution_gateway_url,
        )
        return respond(Answer(200, info))

    async def health(self, _: Request) -> Response:
        """Say how everything is; 200 whatever it is."""
        observation = await self.observer.observe()
        settings = self.runs.orchestrator.settings
        health = HealthResponse(
            status=observation.word,
            service=SERVICE_NAME,
            version=__version__,
            timestamp=self.runs.orchestrator.ports.clock.now(),
            signal_service_url=",".join(settings.signal_services),
            execution_gateway_url=settings.execution_gateway_url,
            signal_service_healthy=observation.signal_service is None,
            execution_gateway_healthy=observation.gateway is None,
            database_connected=observation.database is None,
            details=JsonObject(self._details(observation)),
        )
        return respond(Answer(200, health))

    def _details(self, observation: Observation) -> dict[str, object]:
        orchestrator = self.runs.orchestrator
        settings, verdict = orchestrator.settings, observation.switch.verdict
        halted = verdict if isinstance(verdict, Halted) else None
        orders = observation.open_orders
        return {
            "capital": float(settings.capital),
            "max_position_size": float(settings.max_position_size),
            "strategy_id": settings.strategy_id,
            "strategies": _strategies(settings),
            "mode": str(orchestrator.policy.mode),
            "embedded": settings.embedded,
            "kill_switch": {
                "state": _switch_word(halted),
                "reason": None if halted is None else halted.reason,
                "held_by": [] if halted is None else [str(store) for store in halted.held_by],
                "release": None if halted is None else halted.release,
            },
            "safety_flags": {
                "verified": not isinstance(observation.flags, Problem),
                "unverified_gateway_allowed": settings.allow_unverified_gateway,
                "problem": gateway_distrust(observation.flags, orchestrator.policy),
            },
            "controls": _controls(observation, orchestrator.policy),
            "runs_under_way": self.runs.count,
            "open_orders": None if isinstance(orders, Problem) else len(orders),
            "recovery": _recovery(observation),
            "problems": observation.problems,
        }

    async def ready(self, _: Request) -> Response:
        """Answer 200 while a run would be let through."""
        orchestrator = self.runs.orchestrator
        observation = await self.observer.observe()
        reasons = why_not_ready(observation, orchestrator)
        controls = observation.controls
        if not reasons and not isinstance(controls, Problem):
            is_reducing = bool(reduce_only_sources(controls, orchestrator.policy))
            return respond(Answer(200, ReadyResponse(status="ready", reduce_only=is_reducing)))
        refusal = Refusal(error="Not ready", message="; ".join(reasons), reasons=reasons)
        return respond(refuse(503, refusal))

    async def config(self, _: Request) -> Response:
        """Show the safety flags."""
        settings = self.runs.orchestrator.settings
        config = ConfigResponse(
            service=SERVICE_NAME,
            version=__version__,
            environment=settings.environment,
            dry_run=settings.dry_run,
            alpaca_paper=settings.alpaca_paper,
            circuit_breaker_enabled=settings.circuit_breaker_enabled,
            timestamp=self.runs.orchestrator.ports.clock.now(),
        )
        return respond(Answer(200, config))

    async def metrics(self, _: Request) -> Response:
        """Show everything that is counted."""
        exposition = self.runs.orchestrator.metrics.exposition()
        return Response(exposition, headers={"Content-Type": CONTENT_TYPE})


def _strategies(settings: Settings) -> list[dict[str, str]] | None:
    """Return the strategies that are netted; null where there is but one."""
    if settings.strategies is None:
        return None
    return [
        {"strategy_id": each.name, "signal_service_url": each.url, "share": f"{each.share:f}"}
        for each in settings.strategies.each
    ]


def _controls(observation: Observation, policy: RunPolicy) -> dict[str, object]:
    """Return how the strategy's controls stand; null where it is not known."""
    controls = None if isinstance(observation.controls, Problem) else observation.controls
    sources = None if controls is None else reduce_only_sources(controls, policy)
    is_counted = controls is not None and policy.max_failed_runs is not None
    return {
        "reduce_only": None if sources is None else bool(sources),
        "reduce_only_by": None if sources is None else [str(source) for source in sources],
        "failed_runs": controls.failed_runs if controls is not None and is_counted else None,
        "max_failed_runs": policy.max_failed_runs,
        "throttled": None if controls is None else policy.is_throttled_by(controls),
    }


def _recovery(observation: Observation) -> dict[str, object]:
    """Return what waits for recovery or for an operator; null where it is not known."""
    backlog = None if isinstance(observation.backlog, Problem) else observation.backlog
    orders = observation.open_orders
    counts = None if isinstance(orders, Problem) else count_open(orders)
    waiting = 0 if counts is None else counts.unresolved + counts.in_conflict
    return {
        "runs_due": None if backlog is None else backlog.runs_due,
        "oldest_due_seconds": None if backlog is None else round(backlog.oldest_due_seconds, 3),
        "orders_followed": None if backlog is None else backlog.orders_followed,
        "orders_sending": None if counts is None else counts.sending,
        "orders_unknown": None if counts is None else counts.unknown,
        "orders_unresolved": None if counts is None else counts.unresolved,
        "orders_in_conflict": None if counts is None else counts.in_conflict,
        "to_do": TO_RESOLVE if waiting else None,
    }


def _switch_word(halted: Halted | None) -> str:
    if halted is None:
        return "ACTIVE"
    return "ENGAGED" if halted.engaged else "UNAVAILABLE"
