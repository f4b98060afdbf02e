"""The two services that a run talks to, over HTTP."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from attrs import frozen

from orchestrator_core.errors import Unavailable
from orchestrator_core.ports import Clock, Inquiry, OrderSink, PositionSource, SignalSource
from orchestrator_entrypoints.orchestrator import Ask
from orchestrator_entrypoints.settings import Settings
from orchestrator_entrypoints.signal_wiring import wire_signals

if TYPE_CHECKING:
    from orchestrator_adapters.http.auth import ServiceAuth

PROBE_SECONDS = 1.5
# Connections to the gateway beside those that carry orders: probes, flags and look-ups.
SPARE_CONNECTIONS = 16
ORDERS_IN_FLIGHT = 96

_LOG = logging.getLogger("orchestrator.wiring")


@frozen
class Peers:
    """The two services that a run talks to."""

    signals: SignalSource
    sink: OrderSink
    positions: PositionSource
    ask_signal_service: Ask
    ask_gateway: Ask


def wire_peers(
    settings: Settings,
    clock: Clock,
    closing: AsyncExitStack,
    latest_order: Callable[[], Awaitable[Inquiry | None]],
) -> Peers:
    """Return the peers that these settings describe; they have not been reached yet.

    Args:
        settings: Where they are, and how long each may take.
        clock: Stamps signatures, and bounds waits.
        closing: Is to close every connection.
        latest_order: Finds the latest order that the gateway acknowledged, if any.
    """
    from orchestrator_adapters.http.client import PeerClient  # noqa: PLC0415 - httpx is slow
    from orchestrator_adapters.http.orders import HttpOrderSink  # noqa: PLC0415
    from orchestrator_adapters.http.positions import HttpPositionSource  # noqa: PLC0415
    from orchestrator_adapters.http.signals import HttpSignalSource  # noqa: PLC0415

    auth = _auth(settings, clock)

    def signal_service(url: str, strategy_id: str) -> HttpSignalSource:
        client = PeerClient(url, clock=clock, auth=auth, headers={"X-Strategy-ID": strategy_id})
        closing.push_async_callback(client.aclose)
        seconds = settings.signal_service_timeout_seconds
        return HttpSignalSource(client, seconds=seconds, probe_seconds=PROBE_SECONDS)

    gateway_client = PeerClient(
        settings.execution_gateway_url,
        clock=clock,
        auth=auth,
        headers={"X-Strategy-ID": settings.strategy_id},
        max_connections=ORDERS_IN_FLIGHT + SPARE_CONNECTIONS,
    )
    closing.push_async_callback(gateway_client.aclose)
    signals = wire_signals(settings, signal_service)
    sink = HttpOrderSink(
        gateway_client,
        clock=clock,
        order_seconds=settings.gateway_timeout_seconds,
        probe_seconds=PROBE_SECONDS,
        max_in_flight=ORDERS_IN_FLIGHT,
        latest=latest_order,
    )
    return Peers(
        signals=signals.source,
        sink=sink,
        positions=HttpPositionSource(gateway_client),
        ask_signal_service=signals.ask,
        ask_gateway=_asking("orders", sink.ready),
    )


def _auth(settings: Settings, clock: Clock) -> "ServiceAuth | None":
    from orchestrator_adapters.http.auth import ServiceAuth  # noqa: PLC0415 - httpx is slow

    secret = settings.token_secret
    if secret is None:
        _LOG.warning("calls to the peers are not signed: INTERNAL_TOKEN_SECRET is unset")
        return None
    return ServiceAuth(secret, clock)


def _asking(port: str, ready: Callable[[], Awaitable[bool]]) -> Ask:
    async def ask() -> None:
        if not await ready():
            raise Unavailable(port, "ready", "does not answer, or says that it is not ready")

    return ask
