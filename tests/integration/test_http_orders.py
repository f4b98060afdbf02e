"""The Execution Gateway sink over real sockets, by each wire: what befalls an order."""

import logging
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from orchestrator_adapters.conformance.orders import an_intent
from orchestrator_adapters.http.auth import ServiceAuth
from orchestrator_adapters.http.transport import MakeTransport, WireOptions
from orchestrator_core.ports import SubmitKind
from tests.integration.http_sinks import (
    AAPL,
    CLOCK,
    MakeSink,
    learnt,
    sinks_of,
    submit,
)
from tests.servers.peers import Answer, ServedGateway, Trick, Wire, answer, saying

pytestmark = pytest.mark.anyio

K = SubmitKind


@pytest.fixture
async def sink_of(gateway: ServedGateway, make_transport: MakeTransport) -> AsyncIterator[MakeSink]:
    async with sinks_of(gateway.server.url, make_transport) as make:
        yield make


@pytest.mark.parametrize("takes", [True, False])
@pytest.mark.parametrize(
    "wire",
    [
        Wire.HANG,
        Wire.DRIP,
        Wire.CLOSE,
        Wire.RESET,
        Wire.GARBAGE,
        Wire.TRUNCATED,
        Wire.LYING_LENGTH,
        Wire.HUGE,
        Wire.HUGE_CHUNKED,
        Wire.HUGE_HEAD,
        Wire.BOMB,
    ],
)
async def test_whatever_befalls_an_order_that_was_read_it_is_unknown_and_sent_once(
    sink_of: MakeSink, gateway: ServedGateway, wire: Wire, takes: bool
) -> None:
    gateway.peer.play("AAPL", Trick(takes=takes, wire=wire))
    begun = time.monotonic()
    seconds = 0.3 if wire in {Wire.HANG, Wire.DRIP} else 10.0
    [outcome] = await submit(sink_of(order_seconds=seconds), AAPL)
    assert time.monotonic() - begun < 5
    assert outcome.kind is K.UNKNOWN
    assert outcome.cause
    assert not outcome.unreachable
    assert len(gateway.peer.posts) == 1
    assert len(gateway.peer.ledger) == takes


@pytest.mark.parametrize(
    ("trick", "kind"),
    [
        (saying(500, "Internal Server Error", takes=True), K.UNKNOWN),
        (saying(502, "bad gateway", takes=True), K.UNKNOWN),
        (saying(503, "Broker connection error", takes=True), K.UNKNOWN),
        (saying(504, "gateway timeout", takes=True), K.UNKNOWN),
        (saying(408, "timeout", takes=True), K.UNKNOWN),
        (Trick(instead=Answer(200, b"<html>It works!</html>")), K.UNKNOWN),
        (Trick(instead=Answer(200, b"")), K.UNKNOWN),
        (Trick(instead=Answer(302, b"", (("location", "/login"),))), K.UNKNOWN),
        (Trick(changes={"qty": 11}), K.UNKNOWN),
        (Trick(changes={"symbol": "MSFT"}), K.UNKNOWN),
        (Trick(changes={"status": "failed"}), K.UNKNOWN),
        (Trick(changes={"status": "pending_new", "broker_order_id": None}), K.UNKNOWN),
        (Trick(changes={"status": "pending_new"}), K.ACCEPTED),
        (Trick(changes={"status": "canceled"}), K.ACCEPTED),
        (Trick(changes={"status": "rejected"}), K.REJECTED),
        (saying(422, "Insufficient buying power"), K.REJECTED),
        (saying(409, "other payload"), K.CONFLICT),
        (saying(503, {"error": "Kill-switch engaged"}), K.NOT_PLACED),
        (saying(503, "quarantined: quarantine"), K.NOT_PLACED),
        (saying(401, "Unauthorized"), K.NOT_PLACED),
    ],
)
async def test_each_answer_has_its_meaning_and_is_asked_for_once(
    sink_of: MakeSink, gateway: ServedGateway, trick: Trick, kind: SubmitKind
) -> None:
    gateway.peer.play("AAPL", trick)
    [outcome] = await submit(sink_of(), AAPL)
    assert outcome.kind is kind
    assert len(gateway.peer.posts) == 1


async def test_a_gateway_that_is_down_is_unreachable_and_comes_back(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    sink = await learnt(sink_of())
    gateway.server.stop_listening()
    for _ in range(2):
        outcomes = await submit(sink, AAPL, an_intent("MSFT"))
        assert [(o.kind, o.unreachable) for o in outcomes] == [(K.NOT_PLACED, True)] * 2
        sink = sink_of()
    gateway.server.listen_again()
    assert [o.kind for o in await submit(sink, AAPL)] == [K.ACCEPTED]


async def test_an_order_is_sent_again_only_if_nothing_was_sent(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    calls: list[httpx.Request] = []
    honest = httpx.AsyncHTTPTransport()

    class FirstRefuses(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            calls.append(request)
            if len(calls) == 1:
                raise httpx.ConnectError("refused")
            return await honest.handle_async_request(request)

        async def aclose(self) -> None:
            await honest.aclose()

    def make(_options: WireOptions) -> httpx.AsyncBaseTransport:
        return FirstRefuses()

    auth = ServiceAuth(secret="s" * 64, clock=CLOCK)
    [outcome] = await submit(sink_of(make_transport=make, auth=auth), AAPL)
    assert outcome.kind is K.ACCEPTED
    assert len(calls) == 2
    assert calls[0].content == calls[1].content
    assert calls[0].headers["X-Internal-Nonce"] != calls[1].headers["X-Internal-Nonce"]
    assert len(gateway.peer.posts) == 1


@pytest.mark.parametrize(
    "error",
    [
        httpx.ReadError("x"),
        httpx.WriteError("x"),
        httpx.ReadTimeout("x"),
        httpx.RemoteProtocolError("x"),
        httpx.UnsupportedProtocol("x"),
        httpx.InvalidURL("x"),
        RuntimeError("a fault of ours"),
        ZeroDivisionError(),
    ],
)
async def test_any_other_error_is_unknown_and_stays_with_its_order(
    sink_of: MakeSink, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    calls = 0
    honest = httpx.AsyncHTTPTransport()

    class OneFails(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal calls
            if b"AAPL" in request.content:
                calls += 1
                raise error
            return await honest.handle_async_request(request)

        async def aclose(self) -> None:
            await honest.aclose()

    sink = await learnt(sink_of(make_transport=lambda _: OneFails()))
    before, failed, after = await submit(sink, an_intent("A"), AAPL, an_intent("Z"))
    assert [o.kind for o in (before, failed, after)] == [K.ACCEPTED, K.UNKNOWN, K.ACCEPTED]
    assert calls == 1


async def test_pacing_says_how_long(sink_of: MakeSink, gateway: ServedGateway) -> None:
    gateway.peer.play("AAPL", Trick(takes=False, instead=answer(429, {}, retry_after="3")))
    [outcome] = await submit(sink_of(), AAPL)
    assert (outcome.kind, outcome.retry_after) == (K.DEFERRED, 3.0)
