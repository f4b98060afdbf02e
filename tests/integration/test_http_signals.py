"""The Signal Service source over real sockets, by each wire."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from orchestrator_adapters.event_loop import SystemClock
from orchestrator_adapters.http.auth import ServiceAuth
from orchestrator_adapters.http.client import PeerClient
from orchestrator_adapters.http.retries import RetryPolicy
from orchestrator_adapters.http.signals import HttpSignalSource
from orchestrator_adapters.http.transport import MakeTransport
from orchestrator_core.errors import MalformedReply, PortError, Unavailable
from tests.servers.peers import (
    ServedSignalService,
    Wire,
    a_batch_document,
    answer,
    running_peer,
)
from tests.unit.builders import a_request

pytestmark = pytest.mark.anyio

ROW = {"symbol": "AAPL", "predicted_return": 0.01, "rank": 1, "target_weight": 0.5}
QUICK = RetryPolicy(attempts=3, first_seconds=0.01)
CLOCK = SystemClock()
REQUEST = a_request(["AAPL"])

MakeSource = Callable[..., HttpSignalSource]


@pytest.fixture
async def source_of(
    signal_service: ServedSignalService, make_transport: MakeTransport
) -> AsyncIterator[MakeSource]:
    async with AsyncExitStack() as stack:

        def make(
            *, seconds: float = 5.0, probe_seconds: float = 1.0, **options: Any
        ) -> HttpSignalSource:
            client = PeerClient(
                signal_service.server.url,
                clock=CLOCK,
                headers={"X-Strategy-ID": "alpha_baseline"},
                retries=QUICK,
                make_transport=make_transport,
                connect_seconds=1.0,
                **options,
            )
            stack.push_async_callback(client.aclose)
            return HttpSignalSource(client, seconds=seconds, probe_seconds=probe_seconds)

        yield make


async def failure_of(source: HttpSignalSource) -> PortError:
    with pytest.raises(PortError) as raised:
        await source.fetch(REQUEST)
    assert (raised.value.port, raised.value.operation) == ("signals", "fetch")
    assert raised.value.cause.isprintable()
    return raised.value


async def test_the_strategy_is_named_with_and_without_a_secret(
    source_of: MakeSource, signal_service: ServedSignalService
) -> None:
    await source_of().fetch(REQUEST)
    await source_of(auth=ServiceAuth(secret="s" * 64, clock=CLOCK)).fetch(REQUEST)
    plain, signed = signal_service.peer.seen
    assert plain.headers["x-strategy-id"] == signed.headers["x-strategy-id"] == "alpha_baseline"
    assert "x-internal-token" not in plain.headers
    assert len(signed.headers["x-internal-token"]) == 64


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        (Wire.CLOSE, Unavailable),
        (Wire.RESET, Unavailable),
        (Wire.GARBAGE, Unavailable),
        (Wire.TRUNCATED, Unavailable),
        (Wire.HUGE, MalformedReply),
        (Wire.HUGE_CHUNKED, MalformedReply),
        (Wire.BOMB, MalformedReply),
    ],
)
async def test_each_misbehaviour_is_told_apart(
    source_of: MakeSource, signal_service: ServedSignalService, wire: Wire, kind: type[PortError]
) -> None:
    signal_service.peer.script.extend([answer(200, a_batch_document(ROW), wire=wire)] * 3)
    assert type(await failure_of(source_of())) is kind
    assert len(signal_service.peer.seen) == (3 if kind is Unavailable else 1)


@pytest.mark.parametrize("wire", [Wire.HANG, Wire.DRIP])
async def test_a_service_that_never_ends_its_answer_holds_nobody_beyond_the_deadline(
    source_of: MakeSource, signal_service: ServedSignalService, wire: Wire
) -> None:
    signal_service.peer.script.append(answer(200, a_batch_document(ROW), wire=wire))
    begun = time.monotonic()
    assert type(await failure_of(source_of(seconds=0.3))) is Unavailable
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_passing_trouble_is_tried_again(
    source_of: MakeSource, signal_service: ServedSignalService, status: int
) -> None:
    warming = answer(status, {"detail": "warming up"})
    good = answer(200, a_batch_document(ROW))
    signal_service.peer.script.extend([warming, answer(200, {}, wire=Wire.RESET), good])
    assert (await source_of().fetch(REQUEST)).num_signals == 1
    assert len(signal_service.peer.seen) == 3


@pytest.mark.parametrize(
    ("status", "tries"), [(503, 3), (500, 1), (429, 1), (403, 1), (400, 1), (307, 1)]
)
async def test_other_trouble_is_not_repeated_beyond_its_use(
    source_of: MakeSource, signal_service: ServedSignalService, status: int, tries: int
) -> None:
    signal_service.peer.script.extend([answer(status, {"detail": "no"})] * 5)
    await failure_of(source_of())
    assert len(signal_service.peer.seen) == tries


async def test_pacing_is_passed_on(
    source_of: MakeSource, signal_service: ServedSignalService
) -> None:
    signal_service.peer.script.append(answer(429, {"detail": "slow down"}, retry_after="17"))
    error = await failure_of(source_of())
    assert (type(error), error.retry_after) == (Unavailable, 17.0)


async def test_a_pause_that_does_not_fit_is_passed_on_and_not_waited_for(
    source_of: MakeSource, signal_service: ServedSignalService
) -> None:
    signal_service.peer.script.append(answer(503, {"detail": "warming"}, retry_after="60"))
    begun = time.monotonic()
    error = await failure_of(source_of(seconds=2.0))
    assert (type(error), error.retry_after) == (Unavailable, 60.0)
    assert time.monotonic() - begun < 1
    assert len(signal_service.peer.seen) == 1


async def test_each_try_is_signed_anew(
    source_of: MakeSource, signal_service: ServedSignalService
) -> None:
    signal_service.peer.script.extend([answer(503, {})] * 2)
    await source_of(auth=ServiceAuth(secret="s" * 64, clock=CLOCK)).fetch(REQUEST)
    nonces = {request.headers["x-internal-nonce"] for request in signal_service.peer.seen}
    assert len(nonces) == 3


async def test_a_service_that_is_down_is_unavailable_and_comes_back(
    source_of: MakeSource, signal_service: ServedSignalService
) -> None:
    source = source_of()
    signal_service.server.stop_listening()
    assert type(await failure_of(source)) is Unavailable
    assert not await source.ready()
    signal_service.server.listen_again()
    assert (await source.fetch(REQUEST)).num_signals == 0
    assert await source.ready()


async def test_a_warming_service_is_not_ready(
    source_of: MakeSource, signal_service: ServedSignalService
) -> None:
    source = source_of()
    assert await source.ready()
    signal_service.peer.is_ready = False
    assert not await source.ready()


async def test_a_probe_has_a_short_deadline_of_its_own(make_transport: MakeTransport) -> None:
    with running_peer(lambda _: answer(200, {}, wire=Wire.HANG)) as server:
        client = PeerClient(server.url, clock=CLOCK, make_transport=make_transport)
        begun = time.monotonic()
        assert not await HttpSignalSource(client, probe_seconds=0.2).ready()
        assert time.monotonic() - begun < 1
        await client.aclose()
