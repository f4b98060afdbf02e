"""Clients and sinks of a gateway on loopback, closed when their test ends."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
from attrs import define

from orchestrator_adapters.conformance.orders import an_intent
from orchestrator_adapters.event_loop import SystemClock
from orchestrator_adapters.http.client import PeerClient
from orchestrator_adapters.http.kept_ids import KeptIds
from orchestrator_adapters.http.orders import HttpOrderSink
from orchestrator_adapters.http.retries import RetryPolicy
from orchestrator_adapters.http.transport import MakeTransport, WireOptions
from orchestrator_core.model import OrderIntent
from orchestrator_core.ports import CancelOutcome, Inquiry, LookUp, SubmitKind, SubmitOutcome

CLOCK = SystemClock()
TRIES = 3
QUICK = RetryPolicy(attempts=TRIES, first_seconds=0.01)
LATER = math.inf
AAPL = an_intent("AAPL")

MakeClient = Callable[..., PeerClient]
MakeSink = Callable[..., HttpOrderSink]


@asynccontextmanager
async def clients_of(url: str, make_transport: MakeTransport) -> AsyncIterator[MakeClient]:
    """Yield what makes clients of a peer; options go over those given here."""
    async with AsyncExitStack() as stack:

        def make(**options: Any) -> PeerClient:
            options = {"connect_seconds": 1.0, "make_transport": make_transport, **options}
            client = PeerClient(url, clock=CLOCK, retries=QUICK, **options)
            stack.push_async_callback(client.aclose)
            return client

        yield make


@asynccontextmanager
async def sinks_of(url: str, make_transport: MakeTransport) -> AsyncIterator[MakeSink]:
    """Yield what makes sinks over a gateway; unknown options go to the client."""
    async with clients_of(url, make_transport) as client_of:

        def make(
            *,
            order_seconds: float = 5.0,
            read_seconds: float = 5.0,
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

        yield make


async def submit(
    sink: HttpOrderSink, *intents: OrderIntent, deadline: float = LATER
) -> list[SubmitOutcome]:
    return list(await sink.submit(intents, deadline=deadline))


async def place(sink: HttpOrderSink, *intents: OrderIntent) -> None:
    outcomes = await submit(sink, *intents)
    assert {outcome.kind for outcome in outcomes} == {SubmitKind.ACCEPTED}


async def learnt(sink: HttpOrderSink) -> HttpOrderSink:
    """Return the sink, once it knows that the gateway keeps our ids."""
    await place(sink, an_intent("FIRST"))
    assert sink.kept_ids is KeptIds.OURS
    return sink


async def look_up(sink: HttpOrderSink, *intents: OrderIntent) -> Sequence[LookUp]:
    return await sink.look_up([Inquiry(intent) for intent in intents])


async def cancel(sink: HttpOrderSink, *intents: OrderIntent) -> Sequence[CancelOutcome]:
    return await sink.cancel([Inquiry(intent) for intent in intents])


async def until(holds: Callable[[], bool]) -> None:
    """Return once it holds; the server has a thread and a loop of its own."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - no event crosses the two loops
            await asyncio.sleep(0.001)


@define
class Counted(httpx.AsyncBaseTransport):
    """Refuses the connection to its first calls; gives the others to the wire."""

    inner: httpx.AsyncBaseTransport
    refusals: float = 0
    calls: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        if self.calls <= self.refusals:
            raise httpx.ConnectError("refused")
        return await self.inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self.inner.aclose()


def counted(make: MakeTransport, refusals: float) -> tuple[MakeTransport, list[Counted]]:
    """Return a wire that refuses first, and where its transports are found once made."""
    made: list[Counted] = []

    def make_counted(options: WireOptions) -> httpx.AsyncBaseTransport:
        made.append(Counted(make(options), refusals))
        return made[-1]

    return make_counted, made
