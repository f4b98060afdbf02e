"""Looking orders up at the Execution Gateway over real sockets, by each wire."""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from urllib.parse import unquote

import httpx
import pytest

from orchestrator_adapters.conformance.orders import an_intent
from orchestrator_adapters.http.asking import CALLS_AT_ONCE
from orchestrator_adapters.http.auth import ServiceAuth
from orchestrator_adapters.http.kept_ids import KeptIds
from orchestrator_adapters.http.transport import MakeTransport
from orchestrator_core.ports import Inquiry, LookUpKind
from tests.integration.http_sinks import (
    AAPL,
    CLOCK,
    TRIES,
    Counted,
    MakeSink,
    counted,
    look_up,
    place,
    sinks_of,
    until,
)
from tests.servers.peers import Answer, ServedGateway, Trick, Wire, answer

pytestmark = pytest.mark.anyio

K = LookUpKind
MANY = [an_intent(f"S{number}") for number in range(40)]


@pytest.fixture
async def sink_of(gateway: ServedGateway, make_transport: MakeTransport) -> AsyncIterator[MakeSink]:
    async with sinks_of(gateway.server.url, make_transport) as make:
        yield make


def asked_for(gateway: ServedGateway) -> list[str]:
    return [request.path.rsplit("/", 1)[1] for request in gateway.peer.reads]


async def test_what_became_of_an_order_is_read(sink_of: MakeSink, gateway: ServedGateway) -> None:
    sink = sink_of()
    await place(sink, AAPL)
    held = gateway.peer.ledger[AAPL.client_order_id]
    held |= {"status": "filled", "filled_qty": "10", "filled_avg_price": 189.25, "message": None}
    [found] = await look_up(sink, AAPL)
    assert found.kind is K.ACCEPTED
    assert found.report is not None
    assert (found.report.status, found.report.filled_qty) == ("filled", Decimal(10))
    assert found.report.filled_avg_price == Decimal("189.25")


@pytest.mark.parametrize(
    "given",
    [
        answer(500, {}),
        answer(503, {}),
        answer(401, {}),
        answer(403, {}),
        answer(302, {}),
        answer(200, 7),
        answer(200, {}),
        Answer(200, b"<html>"),
        Answer(404, b"<html>404 Not Found</html>"),
        answer(200, {}, wire=Wire.CLOSE),
        answer(200, {}, wire=Wire.RESET),
        answer(200, {}, wire=Wire.GARBAGE),
        answer(200, {}, wire=Wire.TRUNCATED),
        answer(200, {}, wire=Wire.HANG),
        answer(200, {}, wire=Wire.DRIP),
        answer(200, {}, wire=Wire.HUGE),
        answer(200, {}, wire=Wire.BOMB),
    ],
)
async def test_whatever_befalls_a_look_it_says_nothing_and_soon(
    sink_of: MakeSink, gateway: ServedGateway, given: Answer
) -> None:
    seconds = 0.3 if given.wire in {Wire.HANG, Wire.DRIP} else 5.0
    sink = sink_of(read_seconds=seconds)
    await place(sink, AAPL)
    gateway.peer.hush(AAPL.client_order_id, *[given] * TRIES)
    begun = time.monotonic()
    [found] = await look_up(sink, AAPL)
    assert time.monotonic() - begun < 2
    assert (found.kind, found.report) == (K.UNANSWERED, None)
    assert found.cause


async def test_a_look_is_repeated_where_that_may_help(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    sink = sink_of()
    await place(sink, AAPL)
    gateway.peer.hush(AAPL.client_order_id, answer(502, {}), answer(200, {}, wire=Wire.CLOSE))
    [found] = await look_up(sink, AAPL)
    assert found.kind is K.ACCEPTED
    assert len(gateway.peer.reads) == TRIES


async def test_few_looks_are_on_the_wire_at_once(sink_of: MakeSink, gateway: ServedGateway) -> None:
    sink = sink_of()
    for intent in MANY:
        slow = answer(404, {"detail": "Order not found"}, wire=Wire.SLOW)
        gateway.peer.hush(intent.client_order_id, slow)
    first, second = await asyncio.gather(look_up(sink, *MANY[::2]), look_up(sink, *MANY[1::2]))
    assert {found.kind for found in (*first, *second)} == {K.ABSENT}
    assert gateway.server.most_in_flight == CALLS_AT_ONCE


async def test_a_gateway_that_paces_us_is_left_alone(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    paced = answer(429, {"detail": "slow down"}, retry_after="7")
    gateway.peer.hush(MANY[0].client_order_id, paced)
    for intent in MANY[1:]:
        absent = answer(404, {"detail": "Order not found"}, wire=Wire.SLOW)
        gateway.peer.hush(intent.client_order_id, absent)
    found = await look_up(sink_of(), *MANY)
    asked = asked_for(gateway)
    assert len(asked) == len(set(asked)) <= CALLS_AT_ONCE
    assert [each.client_order_id for each in found] == [each.client_order_id for each in MANY]
    for each in found:
        if each.client_order_id in asked[1:]:
            assert each.kind is K.ABSENT
        else:
            assert (each.kind, each.retry_after) == (K.UNANSWERED, 7.0)
            assert each.cause is not None
            assert "slow down" in each.cause
    # The next batch asks again.
    assert {each.kind for each in await look_up(sink_of(), *MANY)} == {K.ABSENT}


async def test_a_gateway_that_cannot_be_reached_is_not_asked_again_and_again(
    sink_of: MakeSink, make_transport: MakeTransport
) -> None:
    make, made = counted(make_transport, refusals=math.inf)
    sink = sink_of(make_transport=make)
    found = await look_up(sink, *MANY)
    assert {each.kind for each in found} == {K.UNANSWERED}
    assert all(each.cause for each in found)
    assert made[0].calls <= CALLS_AT_ONCE * TRIES


async def test_a_gateway_that_hangs_is_not_waited_for_by_each_order(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    for intent in MANY:
        gateway.peer.hush(intent.client_order_id, answer(200, {}, wire=Wire.HANG))
    begun = time.monotonic()
    found = await look_up(sink_of(read_seconds=0.3), *MANY)
    assert {each.kind for each in found} == {K.UNANSWERED}
    assert time.monotonic() - begun < 2
    assert len(gateway.peer.reads) < 2 * CALLS_AT_ONCE


async def test_a_fault_of_ours_leaves_the_other_looks_theirs(
    sink_of: MakeSink, make_transport: MakeTransport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("CRITICAL")

    class OneFails(Counted):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if AAPL.client_order_id in request.url.path:
                raise ZeroDivisionError
            return await super().handle_async_request(request)

    sink = sink_of(make_transport=lambda options: OneFails(make_transport(options)))
    before, failed, after = await look_up(sink, MANY[0], AAPL, MANY[1])
    assert [each.kind for each in (before, failed, after)] == [K.ABSENT, K.UNANSWERED, K.ABSENT]


async def test_a_look_shows_whether_the_gateway_keeps_our_ids(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    await place(sink_of(), AAPL)
    sink = sink_of()
    learnt = []
    for intent in (an_intent("MSFT"), AAPL):
        await look_up(sink, intent)
        learnt.append(sink.kept_ids)
    assert learnt == [KeptIds.UNSEEN, KeptIds.OURS]
    for intent in MANY:
        gateway.peer.play(intent.symbol, Trick(wire=Wire.SLOW))
    await place(sink, *MANY)
    assert gateway.server.most_in_flight > 4


async def test_no_look_makes_an_id_blind_gateway_keep_ids(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    await place(sink_of(), AAPL)
    gateway.peer.is_id_blind = True
    sink = sink_of()
    await place(sink, an_intent("MSFT"))
    await look_up(sink, AAPL)
    assert sink.kept_ids is KeptIds.THEIRS


async def test_a_gateways_id_goes_into_the_path_as_it_is(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    auth = ServiceAuth(secret="s" * 64, clock=CLOCK)
    sink = sink_of(auth=auth)
    await place(sink, AAPL)
    strange = "a/b?c=d #%41"
    gateway.peer.ledger[strange] = gateway.peer.ledger.pop(AAPL.client_order_id)
    gateway.peer.ledger[strange]["client_order_id"] = strange
    inquiry = Inquiry(AAPL, strange)
    [found] = await sink.look_up([inquiry])
    [canceled] = await sink.cancel([inquiry])
    assert (found.kind, canceled.is_requested) == (K.ACCEPTED, True)
    [read], [request] = gateway.peer.reads, gateway.peer.cancels
    assert unquote(read.path) == f"/api/v1/orders/{strange}"
    assert request.path == f"{read.path}/cancel"
    assert request.headers["x-body-hash"] == hashlib.sha256(b"").hexdigest()
    assert request.headers["content-length"] == "0"


async def test_a_cancelled_batch_ends_at_once_and_leaves_the_sink_fit(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    sink = sink_of(read_seconds=60.0)
    for intent in MANY:
        gateway.peer.hush(intent.client_order_id, answer(200, {}, wire=Wire.HANG))
    task = asyncio.create_task(look_up(sink, *MANY))
    await until(lambda: len(gateway.peer.reads) >= CALLS_AT_ONCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(gateway.peer.reads) == CALLS_AT_ONCE
    assert [each.kind for each in await look_up(sink, AAPL)] == [K.ABSENT]
