"""What else is read at the Execution Gateway over real sockets, by each wire."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator_adapters.http.orders import HttpOrderSink
from orchestrator_adapters.http.positions import HttpPositionSource
from orchestrator_adapters.http.transport import MakeTransport
from orchestrator_core.errors import MalformedReply, PortError, Unavailable
from orchestrator_core.model import Position, SafetyFlags
from tests.integration.http_sinks import (
    AAPL,
    CLOCK,
    MakeClient,
    MakeSink,
    clients_of,
    sinks_of,
)
from tests.servers.peers import Answer, ServedGateway, Wire, answer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def sink_of(gateway: ServedGateway, make_transport: MakeTransport) -> AsyncIterator[MakeSink]:
    async with sinks_of(gateway.server.url, make_transport) as make:
        yield make


@pytest.fixture
async def client_of(
    gateway: ServedGateway, make_transport: MakeTransport
) -> AsyncIterator[MakeClient]:
    async with clients_of(gateway.server.url, make_transport) as make:
        yield make


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (answer(500, {}), Unavailable),
        (answer(503, {}), Unavailable),
        (answer(429, {}), Unavailable),
        (answer(403, {}), Unavailable),
        (answer(401, {}), MalformedReply),
        (answer(302, {}), MalformedReply),
        (answer(200, 7), MalformedReply),
        (answer(200, {}), MalformedReply),
        (Answer(200, b"<html>"), MalformedReply),
        (answer(200, {}, wire=Wire.CLOSE), Unavailable),
        (answer(200, {}, wire=Wire.GARBAGE), Unavailable),
        (answer(200, {}, wire=Wire.HANG), Unavailable),
        (answer(200, {}, wire=Wire.HUGE), MalformedReply),
    ],
)
async def test_each_failure_of_a_read_is_told_apart(
    client_of: MakeClient,
    gateway: ServedGateway,
    given: Answer,
    kind: type[PortError],
) -> None:
    sink = HttpOrderSink(client_of(), clock=CLOCK, read_seconds=0.3)
    positions = HttpPositionSource(client_of(), seconds=0.3)
    for operation, read in (
        ("safety_flags", sink.safety_flags),
        ("positions", positions.positions),
    ):
        gateway.peer.read_script.clear()
        gateway.peer.read_script.extend([given] * 3)
        with pytest.raises(PortError) as raised:
            await read()
        assert (type(raised.value), raised.value.operation) == (kind, operation)


async def test_flags_are_read_strictly(sink_of: MakeSink, gateway: ServedGateway) -> None:
    sink = sink_of()
    assert await sink.safety_flags() == SafetyFlags(
        dry_run=False, alpaca_paper=True, circuit_breaker_enabled=True
    )
    good = dict(gateway.peer.flags)
    for name in ("dry_run", "alpaca_paper", "circuit_breaker_enabled"):
        for bad in ("true", 1, None):
            gateway.peer.flags = {**good, name: bad}
            with pytest.raises(MalformedReply, match=name):
                await sink.safety_flags()


@pytest.mark.parametrize("document", [[], {"positions": []}])
async def test_positions_are_read(
    client_of: MakeClient, gateway: ServedGateway, document: Any
) -> None:
    row = {"symbol": "AAPL", "qty": "-3", "avg_entry_price": "1.5"}
    gateway.peer.positions = {"positions": [row]} if isinstance(document, dict) else [row]
    held = await HttpPositionSource(client_of()).positions()
    assert held == {AAPL.symbol: Position(AAPL.symbol, -3)}


@pytest.mark.parametrize(
    ("given", "is_ready"),
    [
        (answer(200, {"status": "healthy"}), True),
        (answer(200, {"status": "ok"}), True),
        (answer(200, {"status": "degraded"}), False),
        (answer(200, {"status": True}), False),
        (answer(200, {"status": ["healthy"]}), False),
        (answer(200, {}), False),
        (answer(200, []), False),
        (answer(503, {"status": "healthy"}), False),
        (Answer(200, b"healthy"), False),
        (answer(200, {}, wire=Wire.HANG), False),
        (answer(200, {}, wire=Wire.RESET), False),
    ],
)
async def test_the_gateway_is_ready_only_if_it_says_so(
    sink_of: MakeSink, gateway: ServedGateway, given: Answer, is_ready: bool
) -> None:
    gateway.peer.read_script.append(given)
    begun = time.monotonic()
    assert await sink_of().ready() == is_ready
    assert time.monotonic() - begun < 2
