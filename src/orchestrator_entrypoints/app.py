"""The HTTP service: routes, middleware and lifespan, as data."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator_entrypoints.answers import answer_problem
from orchestrator_entrypoints.control_endpoints import ControlEndpoints
from orchestrator_entrypoints.docs_page import DocsPage
from orchestrator_entrypoints.edge import Edge, respond
from orchestrator_entrypoints.follower import Follower
from orchestrator_entrypoints.health import HealthObserver
from orchestrator_entrypoints.keeper import Keeper
from orchestrator_entrypoints.logs import log_event
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.recoverer import Recoverer
from orchestrator_entrypoints.rounds import Rounds
from orchestrator_entrypoints.run_endpoints import RunEndpoints
from orchestrator_entrypoints.run_service import RunService
from orchestrator_entrypoints.service_endpoints import ServiceEndpoints
from orchestrator_entrypoints.switch_endpoints import SwitchEndpoints

_LOG = logging.getLogger("orchestrator.app")


def create_app(orchestrator: Orchestrator) -> Starlette:
    """Return the ASGI application; nothing is connected to before its lifespan begins."""
    runs = RunService(orchestrator)
    observer = HealthObserver(orchestrator)
    return Starlette(
        routes=_routes(orchestrator, runs, observer),
        middleware=[Middleware(Edge)],
        exception_handlers={HTTPException: _answer_http_error},
        lifespan=_lifespan_of(orchestrator, runs, observer),
    )


def _routes(orchestrator: Orchestrator, runs: RunService, observer: HealthObserver) -> list[Route]:
    service = ServiceEndpoints(runs, observer)
    run = RunEndpoints(runs)
    switch = SwitchEndpoints(orchestrator)
    controls = ControlEndpoints(orchestrator)
    docs = DocsPage()
    return [
        Route("/", service.info),
        Route("/health", service.health),
        Route("/ready", service.ready),
        Route("/metrics", service.metrics),
        Route("/metrics/", service.metrics),
        Route("/api/v1/config", service.config),
        Route("/api/v1/kill-switch/engage", switch.engage, methods=["POST"]),
        Route("/api/v1/kill-switch/disengage", switch.disengage, methods=["POST"]),
        Route("/api/v1/kill-switch/status", switch.status),
        Route("/api/v1/kill-switch/history", switch.history),
        Route("/api/v1/controls", controls.show),
        Route("/api/v1/controls/reduce-only", controls.reduce_only, methods=["POST"]),
        Route("/api/v1/controls/rearm", controls.rearm, methods=["POST"]),
        Route("/api/v1/orchestration/run", run.make, methods=["POST"]),
        Route("/api/v1/orchestration/runs", run.list),
        Route("/api/v1/orchestration/runs/{run_id}", run.show),
        Route("/openapi.json", docs.schema),
        Route("/docs", docs.page),
        Route("/docs/{file}", docs.file),
    ]


def _lifespan_of(
    orchestrator: Orchestrator, runs: RunService, observer: HealthObserver
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        loops = (
            Keeper(orchestrator, observer).rounds(),
            Recoverer(orchestrator).rounds(),
            Follower(orchestrator).rounds(),
        )
        keeping = {asyncio.create_task(loop.keep()) for loop in loops}
        try:
            yield
        finally:
            await _drain(orchestrator, runs, loops, keeping)
            await orchestrator.aclose()

    return lifespan


async def _drain(
    orchestrator: Orchestrator,
    runs: RunService,
    loops: Iterable[Rounds],
    keeping: Collection[asyncio.Task[None]],
) -> None:
    """Let waves in flight and rounds under way end, in a time that counts from the word to stop."""
    orchestrator.stop.set()
    for loop in loops:
        loop.end()
    left = max(0.0, orchestrator.settings.stop_seconds - orchestrator.stop.seconds)
    is_idle, _ = await asyncio.gather(runs.drain(left), asyncio.wait(keeping, timeout=left))
    if not is_idle:
        log_event(_LOG, logging.ERROR, "stopped with runs under way", runs=runs.count)
    for task in keeping:
        task.cancel()
    await asyncio.wait(keeping)


async def _answer_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
    return respond(answer_problem(error.status_code, error.detail, error.headers))
