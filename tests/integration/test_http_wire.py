"""One call over a real socket, by each wire that may lie under httpx, on each event loop."""

import asyncio
import hashlib
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import pytest
from attrs import define, field

from orchestrator_adapters.event_loop import SystemClock
from orchestrator_adapters.http.auth import ServiceAuth
from orchestrator_adapters.http.client import PeerClient, Reply
from orchestrator_adapters.http.failures import CallFailed, Fate
from orchestrator_adapters.http.transport import (
    MakeTransport,
    lean_transport,
)
from tests.servers.peers import (
    SLOW_SECONDS,
    Answer,
    RawServer,
    Request,
    Wire,
    answer,
    running_app,
    running_peer,
)

pytestmark = pytest.mark.anyio

SECRET = "s" * 64
CLOCK = SystemClock()


@define
class Echo:
    """Answers each request's path, on the wire that the path names."""

    seen: list[Request] = field(factory=list)
    headers: tuple[tuple[str, str], ...] = ()
    status: int = 200

    def handle(self, request: Request) -> Answer:
        self.seen.append(request)
        wire = Wire[request.path.partition("?")[0].strip("/").split("/")[0]]
        body = json.dumps({"path": request.path}).encode()
        return Answer(self.status, body, self.headers, wire)


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def server(echo: Echo) -> Iterator[RawServer]:
    with running_peer(echo.handle) as running:
        yield running


MakeClient = Callable[..., PeerClient]


@pytest.fixture
async def client_of(server: RawServer, make_transport: MakeTransport) -> AsyncIterator[MakeClient]:
    async with AsyncExitStack() as stack:

        def make(url: str | None = None, **options: Any) -> PeerClient:
            options = {"connect_seconds": 1.0, "keep_alive_seconds": 30.0, **options}
            client = PeerClient(
                url or server.url, clock=CLOCK, make_transport=make_transport, **options
            )
            stack.push_async_callback(client.aclose)
            return client

        yield make


async def get(client: PeerClient, path: str, *, seconds: float = 5.0) -> Reply:
    return await client.call("GET", client.url(path), seconds=seconds)


async def post(client: PeerClient, path: str, *, seconds: float = 5.0) -> Reply:
    return await client.call("POST", client.url(path), seconds=seconds, content=b'{"a":1}')


async def fate_of(call: Any) -> Fate:
    with pytest.raises(CallFailed) as raised:
        await call
    assert raised.value.cause.isprintable()
    return raised.value.fate


def has_seen(echo: Echo, requests: int) -> bool:
    return len(echo.seen) == requests


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        # The server has an event loop of its own.
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


@pytest.mark.parametrize(
    "wire",
    [
        Wire.PLAIN,
        Wire.CHUNKED,
        Wire.UNTIL_CLOSE,
        Wire.AFTER_HINTS,
        Wire.CLOSE_ANNOUNCED,
    ],
)
async def test_each_honest_wire_brings_its_own_answer_and_spoils_no_other(
    client_of: MakeClient, wire: Wire
) -> None:
    client = client_of()
    for number in range(3):
        path = f"/{wire.name}/{number}"
        reply = await get(client, path)
        assert (reply.status, json.loads(reply.body)) == (200, {"path": path})


async def test_a_read_survives_a_peer_that_closes_after_each_answer(
    client_of: MakeClient,
) -> None:
    client = client_of()
    for number in range(10):
        path = f"/CLOSE_AFTER/{number}"
        reply = await client.read("GET", client.url(path), seconds=5.0)
        assert json.loads(reply.body) == {"path": path}


@pytest.mark.parametrize("make_transport", [lean_transport])
async def test_an_answer_behind_the_answer_is_nobodys(client_of: MakeClient) -> None:
    # httpx's own wire gives it to the next request.
    client = client_of()
    for number in range(5):
        path = f"/TRAILING/{number}"
        assert json.loads((await get(client, path)).body) == {"path": path}


@pytest.mark.parametrize("make_transport", [lean_transport])
async def test_a_connection_that_says_something_unasked_is_not_used_again(
    client_of: MakeClient, server: RawServer
) -> None:
    client = client_of()
    await get(client, "/LATE_TRAILING")
    await asyncio.sleep(5 * SLOW_SECONDS)
    assert json.loads((await get(client, "/PLAIN/after")).body) == {"path": "/PLAIN/after"}
    assert server.connections == 2


@pytest.mark.parametrize(
    ("wire", "fate"),
    [
        (Wire.HANG, Fate.LOST),
        (Wire.DRIP, Fate.LOST),
        (Wire.CLOSE, Fate.LOST),
        (Wire.RESET, Fate.LOST),
        (Wire.GARBAGE, Fate.LOST),
        (Wire.TRUNCATED, Fate.LOST),
        (Wire.HUGE_HEAD, Fate.LOST),
        (Wire.HUGE, Fate.UNUSABLE),
        (Wire.HUGE_CHUNKED, Fate.UNUSABLE),
        (Wire.BOMB, Fate.UNUSABLE),
    ],
)
async def test_what_was_received_is_never_called_not_sent(
    client_of: MakeClient, echo: Echo, wire: Wire, fate: Fate
) -> None:
    client = client_of()
    await get(client, "/PLAIN/before")
    begun = time.monotonic()
    seconds = 0.3 if wire in {Wire.HANG, Wire.DRIP} else 10.0
    assert await fate_of(post(client, f"/{wire.name}", seconds=seconds)) is fate
    assert time.monotonic() - begun < 2
    assert [request.path for request in echo.seen] == ["/PLAIN/before", f"/{wire.name}"]
    assert json.loads((await get(client, "/PLAIN/after")).body) == {"path": "/PLAIN/after"}


@pytest.mark.parametrize("make_transport", [lean_transport])
async def test_bytes_beyond_a_lying_length_are_nobodys_answer(client_of: MakeClient) -> None:
    client = client_of()
    with suppress(CallFailed):
        assert len((await get(client, "/LYING_LENGTH")).body) == 2
    assert json.loads((await get(client, "/PLAIN/after")).body) == {"path": "/PLAIN/after"}


async def test_a_peer_that_is_down_got_nothing(client_of: MakeClient, server: RawServer) -> None:
    client = client_of()
    server.stop_listening()
    assert await fate_of(post(client, "/PLAIN")) is Fate.NOT_SENT
    server.listen_again()
    assert (await get(client, "/PLAIN")).status == 200


async def test_a_name_that_is_unknown_got_nothing(client_of: MakeClient) -> None:
    client = client_of("http://no-such-host.invalid:8002")
    assert await fate_of(post(client, "/PLAIN")) is Fate.NOT_SENT


async def test_a_peer_that_never_takes_the_connection_got_nothing(client_of: MakeClient) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            with suppress(BlockingIOError):
                filler.connect(address)
        client = client_of(f"http://127.0.0.1:{address[1]}", connect_seconds=0.2)
        begun = time.monotonic()
        assert await fate_of(post(client, "/PLAIN")) is Fate.NOT_SENT
        assert time.monotonic() - begun < 2
        for filler in fillers:
            filler.close()


async def test_a_call_that_finds_no_free_connection_sends_nothing(
    client_of: MakeClient, echo: Echo
) -> None:
    client = client_of(max_connections=1, connect_seconds=0.2)
    hanging = asyncio.create_task(fate_of(post(client, "/HANG", seconds=1.5)))
    await until(partial(has_seen, echo, 1))
    assert await fate_of(post(client, "/PLAIN")) is Fate.NOT_SENT
    assert await hanging is Fate.LOST
    assert (await get(client, "/PLAIN/after")).status == 200
    assert [request.path for request in echo.seen] == ["/HANG", "/PLAIN/after"]


async def test_a_reset_on_connecting_is_trouble_with_the_connection(
    client_of: MakeClient, server: RawServer, echo: Echo
) -> None:
    client = client_of()
    server.drops = 1
    # It comes before or after our first byte.
    assert await fate_of(post(client, "/PLAIN")) in {Fate.LOST, Fate.NOT_SENT}
    assert echo.seen == []


async def test_connections_are_reused(client_of: MakeClient, server: RawServer) -> None:
    client = client_of()
    for number in range(5):
        await post(client, f"/PLAIN/{number}")
    assert server.connections == 1
    await asyncio.gather(*(get(client, f"/PLAIN/{number}") for number in range(8)))
    connections = server.connections
    assert connections <= 8
    await asyncio.gather(*(get(client, f"/PLAIN/{number}") for number in range(8)))
    assert server.connections == connections


async def test_a_connection_that_the_peer_closed_is_not_used(
    client_of: MakeClient, server: RawServer
) -> None:
    client = client_of()
    for number in range(10):
        await asyncio.gather(*(post(client, f"/PLAIN/{number}") for _ in range(3)))
        # The closing reaches our kernel before our event loop has had a turn.
        server.close_connections()
    assert (await post(client, "/PLAIN/after")).status == 200


async def test_a_connection_is_not_kept_beyond_its_time(
    client_of: MakeClient, server: RawServer
) -> None:
    client = client_of(keep_alive_seconds=0.0)
    await get(client, "/PLAIN")
    await asyncio.sleep(0.01)
    await get(client, "/PLAIN")
    assert server.connections == 2


async def test_no_more_connections_than_allowed_are_opened(
    client_of: MakeClient, server: RawServer
) -> None:
    client = client_of(max_connections=3)
    replies = await asyncio.gather(*(get(client, f"/SLOW/{number}") for number in range(12)))
    assert [json.loads(reply.body)["path"] for reply in replies] == [
        f"/SLOW/{number}" for number in range(12)
    ]
    assert server.most_in_flight == 3


async def test_a_cancelled_call_leaves_the_pool_fit(
    client_of: MakeClient, echo: Echo, server: RawServer
) -> None:
    client = client_of(max_connections=1)
    for number in range(3):
        task = asyncio.create_task(post(client, "/HANG"))
        await until(partial(has_seen, echo, 2 * number + 1))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await get(client, "/PLAIN")).status == 200


async def test_a_redirect_is_not_followed(client_of: MakeClient, echo: Echo) -> None:
    echo.status, echo.headers = 307, (("location", "/PLAIN/elsewhere"),)
    assert (await post(client_of(), "/PLAIN")).status == 307
    assert len(echo.seen) == 1


async def test_a_redirect_to_nowhere_is_not_called_not_sent(
    client_of: MakeClient, echo: Echo
) -> None:
    echo.status = 307
    for location in ("http://[bad", "nope:99999999", "http://x:999999/", "\x7f"):
        echo.headers = (("location", location),)
        with suppress(CallFailed):
            assert (await post(client_of(), "/PLAIN")).status == 307
            continue
        assert await fate_of(post(client_of(), "/PLAIN")) is not Fate.NOT_SENT


async def test_cookies_are_not_kept(client_of: MakeClient, echo: Echo) -> None:
    echo.headers = (("set-cookie", "session=1; Path=/"),)
    client = client_of()
    await get(client, "/PLAIN")
    await get(client, "/PLAIN")
    assert all("cookie" not in request.headers for request in echo.seen)


async def test_the_environments_proxies_are_not_used(
    client_of: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await get(client_of(), "/PLAIN")).status == 200


async def test_a_line_break_in_a_header_sends_nothing(client_of: MakeClient, echo: Echo) -> None:
    client = client_of(headers={"X-Strategy-ID": "a\r\nX-Evil: 1"})
    await fate_of(post(client, "/PLAIN"))
    assert echo.seen == []


async def test_a_closed_client_sends_nothing(client_of: MakeClient, echo: Echo) -> None:
    client = client_of()
    await get(client, "/PLAIN")
    await client.aclose()
    assert await fate_of(post(client, "/PLAIN")) is Fate.NOT_SENT
    assert len(echo.seen) == 1


async def test_no_time_left_sends_nothing(client_of: MakeClient, echo: Echo) -> None:
    assert await fate_of(post(client_of(), "/PLAIN", seconds=0.0)) is Fate.NOT_SENT
    assert echo.seen == []


async def test_a_tls_handshake_that_fails_sent_nothing(
    client_of: MakeClient, server: RawServer, echo: Echo
) -> None:
    client = client_of(server.url.replace("http", "https"), connect_seconds=0.3)
    assert await fate_of(post(client, "/PLAIN")) is Fate.NOT_SENT
    assert echo.seen == []


async def test_what_arrives_is_what_was_signed(client_of: MakeClient, echo: Echo) -> None:
    client = client_of(
        auth=ServiceAuth(secret=SECRET, clock=CLOCK), headers={"X-Strategy-ID": "alpha"}
    )
    await post(client, "/PLAIN/orders?a=1&b=%20x")
    await get(client, "/PLAIN/config")
    nonces = set()
    for request in echo.seen:
        path, _, query = request.path.partition("?")
        headers = request.headers
        assert headers["x-body-hash"] == hashlib.sha256(request.body).hexdigest()
        fields = {
            "service_id": headers["x-service-id"],
            "method": request.method,
            "path": path,
            "query": query,
            "timestamp": headers["x-internal-timestamp"],
            "nonce": headers["x-internal-nonce"],
            "user_id": "",
            "strategy_id": headers["x-strategy-id"],
            "body_hash": headers["x-body-hash"],
        }
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        token = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        assert headers["x-internal-token"] == token
        nonces.add(headers["x-internal-nonce"])
    assert len(nonces) == len(echo.seen) == 2


async def test_without_a_secret_there_is_no_header_of_it(client_of: MakeClient, echo: Echo) -> None:
    await get(client_of(), "/PLAIN")
    assert not any(name.startswith("x-") for name in echo.seen[0].headers)


async def test_a_large_body_within_the_cap_arrives(
    make_transport: MakeTransport, client_of: MakeClient
) -> None:
    text = "x" * (1000 * 1024)
    with running_app(lambda _: answer(200, text)) as url:
        reply = await get(client_of(url), "/")
    assert json.loads(reply.body) == text
