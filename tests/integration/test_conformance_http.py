"""The HTTP adapters under their ports' suites: over plain sockets and over uvicorn."""

import json
import math
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from typing import Any

import pytest
from attrs import frozen

from orchestrator_adapters.conformance.orders import OrderSinkConformance, OrdersStage
from orchestrator_adapters.conformance.positions import PositionSourceConformance, PositionsStage
from orchestrator_adapters.conformance.signals import SignalSourceConformance, SignalsStage
from orchestrator_adapters.event_loop import SystemClock
from orchestrator_adapters.http.client import PeerClient
from orchestrator_adapters.http.orders import HttpOrderSink
from orchestrator_adapters.http.positions import HttpPositionSource
from orchestrator_adapters.http.retries import RetryPolicy
from orchestrator_adapters.http.signals import HttpSignalSource
from orchestrator_adapters.http.transport import MakeTransport
from orchestrator_adapters.memory.orders import Behaviour, Silence
from orchestrator_core.errors import MalformedReply, PortError, Refused, Unavailable
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import (
    OrderIntent,
    OrderReport,
    Position,
    SafetyFlags,
    Side,
    SignalBatch,
)
from tests.servers.peers import (
    GatewayPeer,
    Handler,
    SignalPeer,
    Trick,
    answer,
    running_app,
    running_peer,
    saying,
)

CLOCK = SystemClock()
QUICK = RetryPolicy(attempts=2, first_seconds=0.01)


@frozen
class Service:
    client: PeerClient
    vanish: Callable[[], None]


class Serving:
    """Brings a peer up for one test, on the server that a subclass names."""

    on_uvicorn = False

    @pytest.fixture
    async def stack(self) -> AsyncIterator[ExitStack]:
        with ExitStack() as stack:
            yield stack

    def serve(self, handler: Handler, make: MakeTransport, stack: ExitStack) -> Service:
        if self.on_uvicorn:
            url, vanish = stack.enter_context(running_app(handler)), stack.close
        else:
            server = stack.enter_context(running_peer(handler))
            url, vanish = server.url, server.stop_listening
        return Service(
            PeerClient(
                url, clock=CLOCK, retries=QUICK, make_transport=make, keep_alive_seconds=30.0
            ),
            vanish,
        )


@frozen
class HttpSignals:
    source: HttpSignalSource
    peer: SignalPeer

    async def answer(self, batch: SignalBatch) -> None:
        rows = [
            {
                "symbol": signal.symbol,
                "predicted_return": signal.predicted_return,
                "rank": signal.rank,
                "target_weight": signal.target_weight,
            }
            for signal in batch.signals
        ]
        self.peer.script.clear()
        self.peer.batch = {"signals": rows, "metadata": dict(batch.metadata)}

    async def fail(self, kind: type[PortError]) -> None:
        status = {Unavailable: 500, Refused: 422, MalformedReply: 418}[kind]
        self.peer.script.append(answer(status, {"detail": "staged"}))

    async def requests(self) -> list[tuple[tuple[str, ...], date | None]]:
        bodies = [json.loads(request.body) for request in self.peer.seen]
        return [
            (
                tuple(body["symbols"]),
                date.fromisoformat(body["as_of_date"]) if "as_of_date" in body else None,
            )
            for body in bodies
        ]


class TestHttpSignalSource(Serving, SignalSourceConformance):
    @pytest.fixture
    async def stage(
        self, make_transport: MakeTransport, stack: ExitStack
    ) -> AsyncIterator[SignalsStage]:
        peer = SignalPeer()
        service = self.serve(peer.handle, make_transport, stack)
        yield HttpSignals(HttpSignalSource(service.client), peer)
        await service.client.aclose()


class TestHttpSignalSourceOverUvicorn(TestHttpSignalSource):
    on_uvicorn = True


@frozen
class HttpPositions:
    source: HttpPositionSource
    peer: GatewayPeer

    async def hold(self, positions: Sequence[Position]) -> None:
        self.peer.positions = [{"symbol": p.symbol, "qty": str(p.qty)} for p in positions]


class TestHttpPositionSource(Serving, PositionSourceConformance):
    @pytest.fixture
    async def stage(
        self, make_transport: MakeTransport, stack: ExitStack
    ) -> AsyncIterator[PositionsStage]:
        peer = GatewayPeer()
        service = self.serve(peer.handle, make_transport, stack)
        yield HttpPositions(HttpPositionSource(service.client), peer)
        await service.client.aclose()


TRICKS = {
    Behaviour.TAKE: Trick(),
    Behaviour.REJECT: Trick(takes=False, instead=answer(422, {"detail": "scripted"})),
    Behaviour.REFUSE: saying(400, "scripted"),
    Behaviour.DEFER: saying(429, "scripted"),
    Behaviour.STOP: saying(503, "Kill-switch engaged"),
    Behaviour.PARK: saying(503, "quarantine"),
    Behaviour.TAKE_AND_LOSE_ANSWER: saying(500, "scripted", takes=True),
    Behaviour.LOSE_ORDER: saying(500, "scripted"),
}

SILENCES = {
    Silence.LOSE_ANSWER: answer(500, {"detail": "scripted"}),
    Silence.PACE: answer(429, {"detail": "scripted"}, retry_after="1"),
}


@frozen
class HttpOrders:
    sink: HttpOrderSink
    peer: GatewayPeer
    service: Service
    late: float = -math.inf

    async def script(self, symbol: Symbol, behaviours: Sequence[Behaviour]) -> None:
        for behaviour in behaviours:
            if behaviour is Behaviour.UNREACHABLE:
                self.service.vanish()
            else:
                self.peer.play(symbol, TRICKS[behaviour])

    async def ledger(self) -> Mapping[ClientOrderId, tuple[Symbol, Side, int]]:
        return {
            ClientOrderId(id_): (Symbol(held["symbol"]), Side(held["side"]), held["qty"])
            for id_, held in self.peer.ledger.items()
        }

    async def claim(self, flags: SafetyFlags) -> None:
        self.peer.flags = {
            "dry_run": flags.dry_run,
            "alpaca_paper": flags.alpaca_paper,
            "circuit_breaker_enabled": flags.circuit_breaker_enabled,
        }

    async def go_blind(self) -> None:
        self.peer.is_id_blind = True

    async def say(self, report: OrderReport) -> None:
        price = report.filled_avg_price
        self.peer.ledger[report.gateway_order_id] |= {
            "status": report.status,
            "broker_order_id": report.broker_order_id,
            "filled_qty": str(report.filled_qty),
            "filled_avg_price": None if price is None else str(price),
            "error_message": report.message,
        }

    async def garble(self, gateway_order_id: str, **fields: Any) -> None:
        self.peer.ledger[gateway_order_id] |= fields

    async def forget(self, gateway_order_id: str) -> None:
        del self.peer.ledger[gateway_order_id]

    async def silence(self, intent: OrderIntent, silences: Sequence[Silence]) -> None:
        self.peer.hush(intent.client_order_id, *(SILENCES[silence] for silence in silences))

    async def vanish(self) -> None:
        self.service.vanish()


class TestHttpOrderSink(Serving, OrderSinkConformance):
    @pytest.fixture
    async def stage(
        self, make_transport: MakeTransport, stack: ExitStack
    ) -> AsyncIterator[OrdersStage]:
        peer = GatewayPeer()
        service = self.serve(peer.handle, make_transport, stack)
        yield HttpOrders(HttpOrderSink(service.client, clock=CLOCK), peer, service)
        await service.client.aclose()


class TestHttpOrderSinkOverUvicorn(TestHttpOrderSink):
    on_uvicorn = True
