"""Canceling orders at the Execution Gateway over real sockets, by each wire."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from orchestrator_adapters.conformance.orders import an_intent
from orchestrator_adapters.http.asking import CALLS_AT_ONCE
from orchestrator_adapters.http.transport import MakeTransport
from tests.integration.http_sinks import (
    AAPL,
    MakeSink,
    cancel,
    counted,
    look_up,
    place,
    sinks_of,
    until,
)
from tests.servers.peers import Answer, ServedGateway, Wire, answer

pytestmark = pytest.mark.anyio

MANY = [an_intent(f"S{number}") for number in range(40)]


@pytest.fixture
async def sink_of(gateway: ServedGateway, make_transport: MakeTransport) -> AsyncIterator[MakeSink]:
    async with sinks_of(gateway.server.url, make_transport) as make:
        yield make


async def test_a_cancel_is_sent_again_only_if_nothing_was_sent(
    sink_of: MakeSink, gateway: ServedGateway, make_transport: MakeTransport
) -> None:
    await place(sink_of(), AAPL)
    make, made = counted(make_transport, refusals=1)
    [outcome] = await cancel(sink_of(make_transport=make), AAPL)
    assert outcome.is_requested
    assert made[0].calls == 2
    assert len(gateway.peer.cancels) == 1


@pytest.mark.parametrize(
    "given",
    [
        answer(500, {}),
        answer(502, {}),
        answer(503, {}),
        answer(429, {}),
        answer(401, {}),
        answer(302, {}),
        Answer(200, b"<html>"),
        answer(200, {}, wire=Wire.CLOSE),
        answer(200, {}, wire=Wire.GARBAGE),
        answer(200, {}, wire=Wire.HANG),
        answer(200, {}, wire=Wire.HUGE),
    ],
)
async def test_a_cancel_that_was_read_is_sent_once(
    sink_of: MakeSink, gateway: ServedGateway, given: Answer
) -> None:
    sink = sink_of(order_seconds=0.3 if given.wire is Wire.HANG else 5.0)
    await place(sink, AAPL)
    gateway.peer.hush(AAPL.client_order_id, given)
    [outcome] = await cancel(sink, AAPL)
    assert not outcome.is_requested
    assert outcome.cause
    assert len(gateway.peer.cancels) == 1


async def test_few_cancels_are_on_the_wire_at_once(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    for intent in MANY:
        slow = Answer(204, b"", wire=Wire.SLOW)
        gateway.peer.hush(intent.client_order_id, slow)
    outcomes = await cancel(sink_of(), *MANY)
    assert all(outcome.is_requested for outcome in outcomes)
    assert len(gateway.peer.cancels) == len(MANY)
    assert gateway.server.most_in_flight == CALLS_AT_ONCE


async def test_a_cancel_does_not_wait_for_looks(sink_of: MakeSink, gateway: ServedGateway) -> None:
    sink = sink_of(read_seconds=60.0)
    await place(sink, AAPL)
    for intent in MANY:
        gateway.peer.hush(intent.client_order_id, answer(200, {}, wire=Wire.HANG))
    looks = asyncio.create_task(look_up(sink, *MANY))
    await until(lambda: len(gateway.peer.reads) >= CALLS_AT_ONCE)
    async with asyncio.timeout(5):
        [outcome] = await cancel(sink, AAPL)
    assert outcome.is_requested
    assert not looks.done()
    looks.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looks


async def test_cancels_that_are_paced_leave_the_gateway_alone(
    sink_of: MakeSink, gateway: ServedGateway
) -> None:
    for intent in MANY:
        gateway.peer.hush(intent.client_order_id, answer(429, {"detail": "slow down"}))
    outcomes = await cancel(sink_of(), *MANY)
    assert not any(outcome.is_requested for outcome in outcomes)
    assert all(outcome.cause is not None and "slow down" in outcome.cause for outcome in outcomes)
    assert len(gateway.peer.cancels) <= CALLS_AT_ONCE
