"""What the run database remembers of a gateway's ids, over real sockets: how far it is trusted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from attrs import define

from orchestrator_adapters.conformance.orders import an_intent
from orchestrator_adapters.http.kept_ids import KeptIds
from orchestrator_adapters.http.orders import HttpOrderSink
from orchestrator_adapters.http.transport import MakeTransport
from orchestrator_core.errors import Unavailable
from orchestrator_core.model import OrderIntent
from orchestrator_core.ports import Inquiry, LookUpKind, SubmitKind
from tests.integration.http_sinks import (
    AAPL,
    CLOCK,
    MakeSink,
    clients_of,
    learnt,
    look_up,
    place,
    sinks_of,
    submit,
    until,
)
from tests.servers.peers import ServedGateway, Trick, Wire

pytestmark = pytest.mark.anyio

EARLIER = an_intent("EARLIER")
UNDER_OURS = Inquiry(EARLIER, EARLIER.client_order_id)


@define
class Memory:
    """What is stored of the latest order, or why it cannot be read."""

    latest: Inquiry | None = UNDER_OURS
    error: Exception | None = None
    hangs: bool = False
    asked: int = 0

    async def read(self) -> Inquiry | None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error
        return self.latest


@pytest.fixture
async def sink_of(gateway: ServedGateway, make_transport: MakeTransport) -> AsyncIterator[MakeSink]:
    async with clients_of(gateway.server.url, make_transport) as client_of:

        def make(memory: Memory, **options: Any) -> HttpOrderSink:
            return HttpOrderSink(client_of(), clock=CLOCK, latest=memory.read, **options)

        yield make


@pytest.fixture
async def other_sink_of(
    gateway: ServedGateway, make_transport: MakeTransport
) -> AsyncIterator[MakeSink]:
    async with sinks_of(gateway.server.url, make_transport) as make:
        yield make


def a_slow_wave(gateway: ServedGateway, size: int = 8) -> Sequence[OrderIntent]:
    wave = [an_intent(f"S{number}") for number in range(size)]
    for intent in wave:
        gateway.peer.play(intent.symbol, Trick(wire=Wire.SLOW))
    return wave


async def test_the_first_orders_go_together_where_ours_were_kept_before(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    memory = Memory()
    sink = sink_of(memory)
    outcomes = await submit(sink, *a_slow_wave(gateway))
    assert {outcome.kind for outcome in outcomes} == {SubmitKind.ACCEPTED}
    assert gateway.server.most_in_flight > 4
    assert sink.kept_ids is KeptIds.OURS
    await submit(sink, AAPL)
    assert memory.asked == 1


@pytest.mark.parametrize(
    "memory",
    [
        Memory(latest=None),
        Memory(latest=Inquiry(EARLIER, "gw-7")),
        Memory(error=Unavailable("runs", "list_runs", "away")),
        Memory(hangs=True),
    ],
    ids=["none stored", "stored under another id", "away", "hangs"],
)
async def test_without_a_word_that_ours_were_kept_the_first_order_goes_alone(
    sink_of: MakeSink, gateway: ServedGateway, memory: Memory
) -> None:
    deadline = CLOCK.monotonic() + (0.4 if memory.hangs else 10)
    task = asyncio.create_task(sink_of(memory).submit(a_slow_wave(gateway, 3), deadline=deadline))
    await until(lambda: bool(gateway.peer.posts))
    assert len(gateway.peer.posts) == 1
    assert (await task)[0].kind is SubmitKind.ACCEPTED


async def test_what_waits_when_a_gateway_is_found_id_blind_goes_alone(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    gateway.peer.is_id_blind = True
    sink = sink_of(Memory(), max_in_flight=3, order_seconds=1.5)
    gateway.peer.play("D", Trick(wire=Wire.HANG))
    wave = [an_intent(symbol) for symbol in ("A", "B", "C", "D", "E")]
    outcomes = await submit(sink, *wave, deadline=CLOCK.monotonic() + 0.5)
    # Two of three turns are free while D is on the wire; E waits for it, and then it is too late.
    assert [outcome.kind for outcome in outcomes] == [
        *[SubmitKind.ACCEPTED] * 3,
        SubmitKind.UNKNOWN,
        SubmitKind.NOT_PLACED,
    ]
    assert [post.json()["symbol"] for post in gateway.peer.posts][3:] == ["D"]
    assert sink.kept_ids is KeptIds.THEIRS


async def test_no_order_is_absent_at_a_gateway_that_was_not_seen_to_keep_our_ids(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    sink = sink_of(Memory())
    [before] = await look_up(sink, AAPL)
    assert before.kind is LookUpKind.UNCLEAR
    assert before.cause is not None
    assert before.cause.endswith("at a gateway that was not seen to keep our ids")
    await place(sink, an_intent("MSFT"))
    [after] = await look_up(sink, AAPL)
    assert after.kind is LookUpKind.ABSENT


async def test_nothing_is_absent_at_a_gateway_found_id_blind(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    gateway.peer.is_id_blind = True
    sink = sink_of(Memory())
    await place(sink, an_intent("MSFT"))
    assert [each.kind for each in await look_up(sink, AAPL)] == [LookUpKind.UNCLEAR]


async def test_the_latest_order_is_asked_about_before_one_is_called_absent(
    sink_of: MakeSink, other_sink_of: MakeSink, gateway: ServedGateway
) -> None:
    await place(other_sink_of(), EARLIER)
    memory = Memory()
    sink = sink_of(memory)
    assert [each.kind for each in await look_up(sink, AAPL)] == [LookUpKind.ABSENT]
    assert sink.kept_ids is KeptIds.OURS
    assert len(gateway.peer.reads) == 2
    await look_up(sink, AAPL)
    assert (memory.asked, len(gateway.peer.reads)) == (1, 3)


async def test_a_sink_that_remembers_nothing_takes_the_gateway_at_its_word(
    other_sink_of: MakeSink, gateway: ServedGateway
) -> None:
    assert [e.kind for e in await look_up(other_sink_of(), AAPL)] == [LookUpKind.ABSENT]
    assert (await learnt(other_sink_of())).kept_ids is KeptIds.OURS
