"""A Signal Service and an Execution Gateway for tests: real HTTP on loopback, told how to behave.

`SignalPeer` and `GatewayPeer` decide what is answered; a `RawServer` puts it on the wire, honestly
or not, and `running_app` serves the same peer by Starlette on uvicorn. Each server has a thread and
an event loop of its own, so that a client's hanging loop hangs no server.
"""

import asyncio
import contextlib
import gzip
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cache
from typing import Any
from urllib.parse import unquote

import uvicorn
from attrs import define, evolve, field, frozen
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response
from starlette.routing import Route

START_SECONDS = 10.0
DRIP_SECONDS = 0.02
SLOW_SECONDS = 0.02


class Wire(Enum):
    """How an answer is put on the wire."""

    PLAIN = "with its length"
    CHUNKED = "in chunks"
    UNTIL_CLOSE = "ended by closing"
    AFTER_HINTS = "after a 103"
    SLOW = "after a moment"
    HANG = "never"
    CLOSE = "closed instead"
    RESET = "reset instead"
    GARBAGE = "no HTTP"
    TRUNCATED = "cut short"
    DRIP = "one byte at a time"
    TRAILING = "with a second answer behind it"
    LATE_TRAILING = "with a second answer a moment later"
    HUGE = "with a body of 2 MiB"
    HUGE_CHUNKED = "with a body of 2 MiB in chunks"
    LYING_LENGTH = "with a length smaller than its body"
    BOMB = "compressed from 16 MiB"
    HUGE_HEAD = "with a head of 1 MiB"
    CLOSE_ANNOUNCED = "with connection: close"
    CLOSE_AFTER = "with its length, closed afterwards unannounced"


@frozen
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@frozen
class Answer:
    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()
    wire: Wire = Wire.PLAIN


def answer(status: int, document: Any, *, wire: Wire = Wire.PLAIN, **headers: str) -> Answer:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(status, json.dumps(document).encode(), fields, wire)


Handler = Callable[[Request], Answer]


def a_batch_document(*signals: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "signals": list(signals),
        "metadata": {
            "as_of_date": "2026-03-02",
            "model_version": "m-1",
            "strategy": "alpha_baseline",
            "num_signals": len(signals),
            "generated_at": "2026-03-02T15:00:00Z",
            "top_n": None,
            "bottom_n": None,
            **metadata,
        },
    }


@define
class SignalPeer:
    """A Signal Service: answers `batch`, or the next of `script`."""

    batch: dict[str, Any] = field(factory=a_batch_document)
    script: deque[Answer] = field(factory=deque)
    seen: list[Request] = field(factory=list)
    is_ready: bool = True

    def handle(self, request: Request) -> Answer:
        self.seen.append(request)
        if request.path == "/ready":
            return answer(200 if self.is_ready else 503, {"ready": self.is_ready})
        if (request.method, request.path) != ("POST", "/api/v1/signals/generate"):
            return answer(404, {"detail": "Not Found"})
        return self.script.popleft() if self.script else answer(200, self.batch)


@frozen
class Trick:
    """What the gateway does with one POST.

    Attributes:
        takes: Whether the order goes into the ledger.
        changes: Put over the fields of the honest answer.
        instead: Answered in place of the honest one.
        wire: How it is put on the wire.
    """

    takes: bool = True
    changes: dict[str, Any] = field(factory=dict)
    instead: Answer | None = None
    wire: Wire = Wire.PLAIN


def saying(status: int, detail: Any, *, takes: bool = False) -> Trick:
    return Trick(takes=takes, instead=answer(status, {"detail": detail}))


ENDED = {"filled", "canceled", "expired", "rejected", "replaced", "dry_run"}


@define
class GatewayPeer:
    """An Execution Gateway with a ledger; each symbol's POSTs may be told to go wrong."""

    ledger: dict[str, dict[str, Any]] = field(factory=dict)
    posts: list[Request] = field(factory=list)
    reads: list[Request] = field(factory=list)
    tricks: dict[str, deque[Trick]] = field(factory=dict)
    flags: dict[str, Any] = field(
        factory=lambda: {
            "service": "execution_gateway",
            "dry_run": False,
            "alpaca_paper": True,
            "circuit_breaker_enabled": True,
        }
    )
    health: dict[str, Any] = field(factory=lambda: {"status": "healthy"})
    positions: Any = field(factory=list)
    read_script: deque[Answer] = field(factory=deque)
    cancels: list[Request] = field(factory=list)
    hushed: dict[str, deque[Answer]] = field(factory=dict)
    is_id_blind: bool = False

    def play(self, symbol: str, *tricks: Trick) -> None:
        self.tricks.setdefault(symbol, deque()).extend(tricks)

    def hush(self, id_: str, *answers: Answer) -> None:
        """Give these in place of the next answers to whatever is asked about one order."""
        self.hushed.setdefault(id_, deque()).extend(answers)

    def handle(self, request: Request) -> Answer:
        if (request.method, request.path) == ("POST", "/api/v1/orders"):
            self.posts.append(request)
            return self._post(request.json())
        id_ = unquote(request.path.removeprefix("/api/v1/orders/").removesuffix("/cancel"))
        if request.method == "POST":
            self.cancels.append(request)
            return self._hushed(id_) or self._cancel(id_)
        self.reads.append(request)
        if self.read_script:
            return self.read_script.popleft()
        if request.path == "/health":
            return answer(200, self.health)
        if request.path == "/api/v1/config":
            return answer(200, self.flags)
        if request.path == "/api/v1/positions":
            return answer(200, self.positions)
        return self._hushed(id_) or self._look(id_)

    def _hushed(self, id_: str) -> Answer | None:
        answers = self.hushed.get(id_)
        return answers.popleft() if answers else None

    def _look(self, id_: str) -> Answer:
        if id_ not in self.ledger:
            return answer(404, {"detail": "Order not found"})
        return answer(200, self.ledger[id_])

    def _cancel(self, id_: str) -> Answer:
        order = self.ledger.get(id_)
        if order is None:
            return answer(404, {"detail": "Order not found"})
        if order["status"] in ENDED:
            return answer(409, {"detail": f"the order is {order['status']}"})
        order["status"] = "canceled"
        return answer(202, order)

    def _post(self, order: dict[str, Any]) -> Answer:
        tricks = self.tricks.get(order["symbol"])
        trick = tricks.popleft() if tricks else Trick()
        honest = self._take(order) if trick.takes else None
        if trick.instead is not None:
            given = trick.instead
        elif honest is None or honest.status != 200:
            given = honest or answer(500, {"detail": "Internal Server Error"})
        else:
            given = answer(200, {**json.loads(honest.body), **trick.changes})
        return given if trick.wire is Wire.PLAIN else evolve(given, wire=trick.wire)

    def _take(self, order: dict[str, Any]) -> Answer:
        number = len(self.ledger) + 1
        id_ = f"gw-{number}" if self.is_id_blind else order["client_order_id"]
        if self.flags["dry_run"] is True:
            return answer(200, _record(order, id_, None) | {"status": "dry_run"})
        held = self.ledger.get(id_)
        if held is None:
            held = self.ledger[id_] = _record(order, id_, f"broker-{number}")
        elif any(held[name] != order[name] for name in ("symbol", "side", "qty", "order_type")):
            return answer(409, {"detail": "client_order_id holds another payload"})
        return answer(200, held)


def _record(order: dict[str, Any], id_: str, broker_id: str | None) -> dict[str, Any]:
    return {
        "client_order_id": id_,
        "status": "accepted",
        "broker_order_id": broker_id,
        "symbol": order["symbol"],
        "side": order["side"],
        "qty": order["qty"],
        "order_type": order["order_type"],
        "limit_price": None,
        "created_at": "2026-03-02T15:00:00Z",
        "message": "Order submitted",
    }


@define
class RawServer:
    """An HTTP/1.1 server over plain sockets that can misbehave; see `running_peer`.

    Attributes:
        connections: How many were accepted.
        drops: How many of the next connections are reset as they are accepted.
        most_in_flight: The most requests that were read and not answered at one time.
    """

    handler: Handler
    port: int = 0
    connections: int = 0
    drops: int = 0
    most_in_flight: int = 0
    _in_flight: int = field(default=0, init=False)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.new_event_loop, init=False)
    _server: asyncio.Server | None = field(default=None, init=False)
    _writers: set[asyncio.StreamWriter] = field(factory=set, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._listen())
        started.set()
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._close())
            self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    def close_connections(self) -> None:
        """Close every connection, as a server does with idle ones; go on listening."""
        self._call(self._drop_connections())

    def stop_listening(self) -> None:
        """Refuse connections from now on."""
        self._call(self._stop_listening())

    def listen_again(self) -> None:
        self._call(self._listen())

    def _call(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._drop_connections()

    async def _drop_connections(self) -> None:
        for writer in tuple(self._writers):
            writer.close()
        for writer in tuple(self._writers):
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        writers = tuple(self._writers)
        for writer in writers:
            writer.transport.abort()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.wait(others)
        for writer in writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        try:
            if self.drops > 0:
                self.drops -= 1
                _reset(writer)
            else:
                await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await _read_request(reader)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            try:
                goes_on = await _put(self.handler(request), writer)
            finally:
                self._in_flight -= 1
            if not goes_on:
                return


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


async def _put(given: Answer, writer: asyncio.StreamWriter) -> bool:
    """Put an answer on the wire; say whether the connection goes on."""
    if given.wire is Wire.SLOW:
        await asyncio.sleep(SLOW_SECONDS)
    if given.wire is Wire.HANG:
        await asyncio.Event().wait()
    if given.wire is Wire.RESET:
        _reset(writer)
        return False
    if given.wire is Wire.DRIP:
        for byte in _bytes_of(given) * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)
    writer.write(_bytes_of(given))
    await writer.drain()
    if given.wire is Wire.LATE_TRAILING:
        await asyncio.sleep(SLOW_SECONDS)
        writer.write(_bytes_of(given))
    return given.wire in GOING_ON


def _with_length(given: Answer) -> bytes:
    return _head(given, f"content-length: {len(given.body)}") + given.body


def _chunked(given: Answer) -> bytes:
    half = len(given.body) // 2
    chunks = _chunks(given.body[:half], given.body[half:])
    return _head(given, "transfer-encoding: chunked") + chunks


def _huge(given: Answer) -> bytes:
    return _head(given, f"content-length: {2 << 20}") + b" " * (2 << 20)


@cache
def _compressed() -> bytes:
    return gzip.compress(b" " * (16 << 20), compresslevel=1)


def _bomb(given: Answer) -> bytes:
    bomb = _compressed()
    return _head(given, "content-encoding: gzip", f"content-length: {len(bomb)}") + bomb


GOING_ON = {
    Wire.PLAIN,
    Wire.SLOW,
    Wire.CHUNKED,
    Wire.AFTER_HINTS,
    Wire.TRAILING,
    Wire.LATE_TRAILING,
}
BYTES: dict[Wire, Callable[[Answer], bytes]] = {
    Wire.CLOSE: lambda _: b"",
    Wire.GARBAGE: lambda _: b"\x00\x01 this is no HTTP\r\n\r\n",
    Wire.CHUNKED: _chunked,
    Wire.UNTIL_CLOSE: lambda given: _head(given, "connection: close") + given.body,
    Wire.AFTER_HINTS: lambda given: (
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + _with_length(given)
    ),
    Wire.TRUNCATED: lambda given: (
        _head(given, f"content-length: {len(given.body) + 10}") + given.body
    ),
    Wire.TRAILING: lambda given: _with_length(given) * 2,
    Wire.HUGE: _huge,
    Wire.HUGE_CHUNKED: lambda given: (
        _head(given, "transfer-encoding: chunked") + _chunks(*[b" " * 65536] * 32)
    ),
    Wire.LYING_LENGTH: lambda given: _head(given, "content-length: 2") + given.body,
    Wire.BOMB: _bomb,
    Wire.HUGE_HEAD: lambda given: _head(
        given, "x-padding: " + "x" * (1 << 20), "content-length: 0"
    ),
    Wire.CLOSE_ANNOUNCED: lambda given: (
        _head(given, "connection: close", f"content-length: {len(given.body)}") + given.body
    ),
}


def _bytes_of(given: Answer) -> bytes:
    return BYTES.get(given.wire, _with_length)(given)


def _head(given: Answer, *framing: str) -> bytes:
    fields = [f"{name}: {value}" for name, value in given.headers]
    lines = [f"HTTP/1.1 {given.status} X", "content-type: application/json", *fields, *framing]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _chunks(*chunks: bytes) -> bytes:
    framed = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk]
    return b"".join([*framed, b"0\r\n\r\n"])


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.contextmanager
def running_peer(handler: Handler) -> Iterator[RawServer]:
    """Serve a handler over plain sockets, on a free port."""
    server = RawServer(handler)
    started = threading.Event()
    thread = threading.Thread(target=server.run, args=(started,), daemon=True)
    thread.start()
    assert started.wait(START_SECONDS)
    try:
        yield server
    finally:
        server.stop()
        thread.join(START_SECONDS)


@frozen
class ServedSignalService:
    peer: SignalPeer
    server: RawServer


@frozen
class ServedGateway:
    peer: GatewayPeer
    server: RawServer


@contextlib.contextmanager
def running_signal_service() -> Iterator[ServedSignalService]:
    peer = SignalPeer()
    with running_peer(peer.handle) as server:
        yield ServedSignalService(peer, server)


@contextlib.contextmanager
def running_gateway() -> Iterator[ServedGateway]:
    peer = GatewayPeer()
    with running_peer(peer.handle) as server:
        yield ServedGateway(peer, server)


@contextlib.contextmanager
def running_app(handler: Handler) -> Iterator[str]:
    """Serve a handler's plain answers by Starlette on uvicorn; yield the URL."""

    async def endpoint(request: StarletteRequest) -> Response:
        headers = dict(request.headers)
        given = handler(Request(request.method, request.url.path, headers, await request.body()))
        return Response(given.body, given.status, dict(given.headers), "application/json")

    app = Starlette(routes=[Route("/{path:path}", endpoint, methods=["GET", "POST"])])
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + START_SECONDS
    while not server.started:
        assert time.monotonic() < until
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)
