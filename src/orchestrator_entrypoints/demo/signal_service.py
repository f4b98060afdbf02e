"""A Signal Service: momentum over the bundled closes, behind the real one's HTTP."""

from datetime import UTC, date, datetime
from typing import Any

from attrs import asdict, frozen
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from orchestrator_core.identifiers import is_canonical_symbol
from orchestrator_entrypoints.data import DailyPrices
from orchestrator_entrypoints.demo.exchanges import (
    Refusal,
    SignedRequestsOnly,
    answer_refusal,
    read_object,
)
from orchestrator_entrypoints.demo.signals import Selection, select

STRATEGY = "momentum_12_1"
MODEL_VERSION = "momentum-12-1/1"
DEFAULT_SIDE = 5


def signal_service(prices: DailyPrices, *, secret: str | None = None) -> ASGIApp:
    """Return the service as an ASGI application.

    A request without a date is answered for the last day of the data.

    Args:
        prices: What the signals are computed from.
        secret: Where given, only requests that it signed are answered.
    """
    service = _SignalService(prices)
    app: ASGIApp = Starlette(
        routes=[
            Route("/ready", service.ready),
            Route("/health", service.ready),
            Route("/api/v1/signals/generate", service.generate, methods=["POST"]),
        ],
        exception_handlers={Refusal: answer_refusal},
    )
    return app if secret is None else SignedRequestsOnly(app, secret)


@frozen
class _SignalService:
    prices: DailyPrices

    async def ready(self, _request: Request) -> Response:
        return JSONResponse({"status": "healthy", "model_version": MODEL_VERSION})

    async def generate(self, request: Request) -> Response:
        body = await read_object(request)
        try:
            selection = select(
                self.prices,
                _symbols(body.get("symbols")),
                as_of=_as_of(body.get("as_of_date"), default=self.prices.dates[-1]),
                top_n=_count(body, "top_n"),
                bottom_n=_count(body, "bottom_n"),
            )
        except LookupError as problem:
            raise Refusal(404, str(problem.args[0])) from None
        return JSONResponse(_answer(selection))


def _answer(selection: Selection) -> dict[str, Any]:
    return {
        "signals": [asdict(signal) for signal in selection.signals],
        "metadata": {
            "as_of_date": selection.as_of_date.isoformat(),
            "model_version": MODEL_VERSION,
            "strategy": STRATEGY,
            "num_signals": len(selection.signals),
            "generated_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "top_n": selection.top_n,
            "bottom_n": selection.bottom_n,
        },
    }


def _symbols(value: object) -> list[str]:
    if not isinstance(value, list) or not value:
        raise Refusal(422, "symbols: expected at least one")
    if not all(isinstance(item, str) and is_canonical_symbol(item) for item in value):
        raise Refusal(422, "symbols: expected upper-case symbols")
    if len(set(value)) != len(value):
        raise Refusal(422, "symbols: one is given twice")
    return value


def _as_of(value: object, *, default: date) -> date:
    if value is None:
        return default
    try:
        return date.fromisoformat(value if isinstance(value, str) else "")
    except ValueError:
        raise Refusal(422, "as_of_date: expected YYYY-MM-DD") from None


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if value is None:
        return DEFAULT_SIDE
    if type(value) is not int or value < 0:
        raise Refusal(422, f"{name}: expected a whole number, 0 or more")
    return value
