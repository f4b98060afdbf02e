"""Waves of orders over real sockets, by each wire: how many at once, and until when."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import chain

import httpx
import pytest
from attrs import define

from orchestrator_adapters.conformance.orders import an_intent
from orchestrator_adapters.http.kept_ids import KeptIds
from orchestrator_adapters.http.orders import HttpOrderSink
from orchestrator_adapters.http.transport import MakeTransport, WireOptions
from orchestrator_core.ports import SubmitKind
from tests.integration.http_sinks import (
    AAPL,
    CLOCK,
    MakeClient,
    MakeSink,
    clients_of,
    learnt,
    sinks_of,
    submit,
    until,
)
from tests.servers.peers import ServedGateway, Trick, Wire, saying

pytestmark = pytest.mark.anyio

K = SubmitKind


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
    await until(lambda: bool(gateway.peer.posts))
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
    client_of: MakeClient, gateway: ServedGateway, make_transport: MakeTransport
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
    await until(lambda: len(gateway.peer.posts) >= 2)
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
        gateway.peer.posts.clear()
        gateway.peer.play("AAPL", Trick(wire=Wire.HANG))
        task = asyncio.create_task(submit(sink, AAPL, an_intent("MSFT"), an_intent("TSLA")))
        await until(lambda: len(gateway.peer.posts) == 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [o.kind for o in await submit(sink, an_intent("AFTER"))] == [K.ACCEPTED]


async def test_a_deadline_that_passed_sends_nothing(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    outcomes = await submit(sink_of(), AAPL, an_intent("MSFT"), deadline=CLOCK.monotonic() - 0.001)
    assert [o.kind for o in outcomes] == [K.NOT_PLACED] * 2
    assert gateway.peer.posts == []
