"""The Execution Gateway sink over real sockets, by each wire."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from itertools import chain
from typing import Any

import httpx
import pytest
from attrs import define

from orchestrator_adapters.conformance.orders import an_intent
from orchestrator_adapters.event_loop import SystemClock
from orchestrator_adapters.http.auth import ServiceAuth
from orchestrator_adapters.http.client import PeerClient
from orchestrator_adapters.http.orders import HttpOrderSink, KeptIds
from orchestrator_adapters.http.positions import HttpPositionSource
from orchestrator_adapters.http.retries import RetryPolicy
from orchestrator_adapters.http.transport import (
    MakeTransport,
    WireOptions,
)
from orchestrator_core.errors import MalformedReply, PortError, Unavailable
from orchestrator_core.model import OrderIntent, Position, SafetyFlags
from orchestrator_core.ports import SubmitKind, SubmitOutcome
from tests.servers.peers import Answer, ServedGateway, Trick, Wire, answer, saying

pytestmark = pytest.mark.anyio

K = SubmitKind
CLOCK = SystemClock()
QUICK = RetryPolicy(attempts=3, first_seconds=0.01)
LATER = math.inf
AAPL = an_intent("AAPL")

MakeSink = Callable[..., HttpOrderSink]


@pytest.fixture
async def client_of(
    gateway: ServedGateway, make_transport: MakeTransport
) -> AsyncIterator[Callable[..., PeerClient]]:
    async with AsyncExitStack() as stack:

        def make(**options: Any) -> PeerClient:
            options = {"connect_seconds": 1.0, "make_transport": make_transport, **options}
            client = PeerClient(gateway.server.url, clock=CLOCK, retries=QUICK, **options)
            stack.push_async_callback(client.aclose)
            return client

        yield make


@pytest.fixture
def sink_of(client_of: Callable[..., PeerClient]) -> MakeSink:
    def make(
        *,
        order_seconds: float = 5.0,
        read_seconds: float = 2.0,
        max_in_flight: int = 96,
        **options: Any,
    ) -> HttpOrderSink:
        return HttpOrderSink(
            client_of(**options),
            clock=CLOCK,
            order_seconds=order_seconds,
            read_seconds=read_seconds,
            probe_seconds=0.5,
            max_in_flight=max_in_flight,
        )

    return make


async def submit(
    sink: HttpOrderSink, *intents: OrderIntent, deadline: float = LATER
) -> list[SubmitOutcome]:
    return list(await sink.submit(intents, deadline=deadline))


async def learnt(sink: HttpOrderSink) -> HttpOrderSink:
    [outcome] = await submit(sink, an_intent("FIRST"))
    assert outcome.kind is K.ACCEPTED
    assert sink.kept_ids is KeptIds.OURS
    return sink


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


async def test_a_wave_is_in_flight_together(sink_of: MakeSink, gateway: ServedGateway) -> None:
    sink = await learnt(sink_of())
    wave = [an_intent(f"S{number}") for number in range(32)]
    for intent in wave:
        gateway.peer.play(intent.symbol, Trick(wire=Wire.SLOW))
    outcomes = await submit(sink, *wave)
    assert [o.kind for o in outcomes] == [K.ACCEPTED] * 32
    assert gateway.server.most_in_flight > 4


async def test_waves_of_several_runs_together_keep_to_the_bound(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    sink = await learnt(sink_of(max_in_flight=4))
    waves = [[an_intent(f"S{n}R{run}") for n in range(6)] for run in range(3)]
    for intent in chain.from_iterable(waves):
        gateway.peer.play(intent.symbol, Trick(wire=Wire.SLOW))
    deadline = CLOCK.monotonic() + 10
    results = await asyncio.gather(*(submit(sink, *wave, deadline=deadline) for wave in waves))
    assert {o.kind for outcomes in results for o in outcomes} == {K.ACCEPTED}
    assert gateway.server.most_in_flight == 4


async def test_an_order_that_gets_no_turn_before_its_deadline_is_not_sent(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    sink = await learnt(sink_of(max_in_flight=1, order_seconds=1.0))
    gateway.peer.play("AAPL", Trick(wire=Wire.HANG))
    begun = time.monotonic()
    hanging, waiting = await submit(sink, AAPL, an_intent("MSFT"), deadline=CLOCK.monotonic() + 0.2)
    assert (hanging.kind, waiting.kind) == (K.UNKNOWN, K.NOT_PLACED)
    assert waiting.cause == "not sent before its deadline"
    assert time.monotonic() - begun < 3
    assert [post.json()["symbol"] for post in gateway.peer.posts] == ["FIRST", "AAPL"]


async def test_the_first_order_goes_alone(sink_of: MakeSink, gateway: ServedGateway) -> None:
    sink = sink_of()
    wave = [an_intent(f"S{number}") for number in range(8)]
    gateway.peer.play("S0", Trick(wire=Wire.SLOW))
    task = asyncio.create_task(submit(sink, *wave))
    async with asyncio.timeout(5):
        while not gateway.peer.posts:  # noqa: ASYNC110 - the server has a loop of its own
            await asyncio.sleep(0.001)
    assert len(gateway.peer.posts) == 1
    assert {o.kind for o in await task} == {K.ACCEPTED}
    assert len(gateway.peer.ledger) == 8


async def test_an_id_blind_gateway_gets_one_order_at_a_time_for_ever(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    gateway.peer.is_id_blind = True
    sink = sink_of()
    waves = [[an_intent(f"S{n}R{run}") for n in range(4)] for run in range(3)]
    for intent in chain.from_iterable(waves):
        gateway.peer.play(intent.symbol, Trick(wire=Wire.SLOW))
    results = await asyncio.gather(
        *(submit(sink, *wave, deadline=CLOCK.monotonic() + 10) for wave in waves)
    )
    outcomes = [o for wave in results for o in wave]
    assert {o.kind for o in outcomes} == {K.ACCEPTED}
    ids = {o.report.gateway_order_id for o in outcomes if o.report is not None}
    assert ids == {f"gw-{number}" for number in range(1, 13)}
    assert sink.kept_ids is KeptIds.THEIRS
    assert gateway.server.most_in_flight == 1


async def test_a_gateway_that_turns_id_blind_is_noticed(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    sink = await learnt(sink_of())
    gateway.peer.is_id_blind = True
    await submit(sink, AAPL)
    gateway.peer.is_id_blind = False
    await submit(sink, an_intent("MSFT"))
    assert sink.kept_ids is KeptIds.THEIRS


@pytest.mark.parametrize(
    ("trick", "kind"),
    [
        (saying(429, "slow down"), K.DEFERRED),
        (saying(503, "kill switch"), K.NOT_PLACED),
        (Trick(changes={"status": "blocked_kill_switch"}), K.NOT_PLACED),
    ],
)
async def test_before_the_gateway_is_known_one_no_to_all_stands_for_the_wave(
    sink_of: MakeSink, gateway: ServedGateway, trick: Trick, kind: SubmitKind
) -> None:
    gateway.peer.play("S0", trick)
    outcomes = await submit(sink_of(), *(an_intent(f"S{number}") for number in range(5)))
    assert {o.kind for o in outcomes[1:]} == {kind}
    assert [o.client_order_id for o in outcomes] == [
        an_intent(f"S{number}").client_order_id for number in range(5)
    ]
    assert all(o.report is None for o in outcomes[1:])
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


async def test_a_deadline_that_passed_sends_nothing(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    outcomes = await submit(sink_of(), AAPL, an_intent("MSFT"), deadline=CLOCK.monotonic() - 0.001)
    assert [o.kind for o in outcomes] == [K.NOT_PLACED] * 2
    assert gateway.peer.posts == []


@define
class StoppableClock:
    """The system's clock, as a process sees it that is stopped for some seconds and goes on."""

    stopped: float = 0.0

    def monotonic(self) -> float:
        return CLOCK.monotonic() + self.stopped

    def now(self) -> datetime:
        return CLOCK.now()

    async def sleep(self, seconds: float) -> None:
        await CLOCK.sleep(seconds)


async def test_an_order_that_gets_its_connection_after_its_deadline_is_not_sent(
    client_of: Callable[..., PeerClient], gateway: ServedGateway, make_transport: MakeTransport
) -> None:
    wants_connection = asyncio.Event()

    class Announcing(httpx.AsyncBaseTransport):
        def __init__(self, options: WireOptions) -> None:
            self.inner = make_transport(options)

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if b"MSFT" in request.content:
                wants_connection.set()
            return await self.inner.handle_async_request(request)

        async def aclose(self) -> None:
            await self.inner.aclose()

    clock = StoppableClock()
    client = client_of(max_connections=1, connect_seconds=5.0, make_transport=Announcing)
    sink = await learnt(HttpOrderSink(client, clock=clock))
    gateway.peer.play("AAPL", Trick(wire=Wire.HANG))
    holding = asyncio.create_task(submit(sink, AAPL))
    async with asyncio.timeout(5):
        while len(gateway.peer.posts) < 2:  # noqa: ASYNC110 - the server has a loop of its own
            await asyncio.sleep(0.001)
    deadline = clock.monotonic() + 10
    waiting = asyncio.create_task(submit(sink, an_intent("MSFT"), deadline=deadline))
    async with asyncio.timeout(5):
        await wants_connection.wait()
    clock.stopped = 60.0
    holding.cancel()
    [outcome] = await waiting
    assert (outcome.kind, outcome.unreachable) == (K.NOT_PLACED, False)
    assert outcome.cause == "not sent before its deadline"
    assert [post.json()["symbol"] for post in gateway.peer.posts] == ["FIRST", "AAPL"]
    assert [o.kind for o in await submit(sink, an_intent("AFTER"))] == [K.ACCEPTED]


async def test_a_cancelled_wave_ends_at_once_and_leaves_the_sink_fit(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    sink = await learnt(sink_of(max_in_flight=2))
    for _ in range(3):
        gateway.peer.play("AAPL", Trick(wire=Wire.HANG))
        task = asyncio.create_task(submit(sink, AAPL, an_intent("MSFT"), an_intent("TSLA")))
        seen = len(gateway.peer.posts)
        async with asyncio.timeout(5):
            while len(gateway.peer.posts) < seen + 3:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [o.kind for o in await submit(sink, an_intent("AFTER"))] == [K.ACCEPTED]


async def test_pacing_says_how_long(sink_of: MakeSink, gateway: ServedGateway) -> None:
    gateway.peer.play("AAPL", Trick(takes=False, instead=answer(429, {}, retry_after="3")))
    [outcome] = await submit(sink_of(), AAPL)
    assert (outcome.kind, outcome.retry_after) == (K.DEFERRED, 3.0)


# Reads


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
    client_of: Callable[..., PeerClient],
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
    client_of: Callable[..., PeerClient], gateway: ServedGateway, document: Any
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
