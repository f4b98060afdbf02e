"""A lean HTTP/1.1 transport under httpx, for many small calls to one peer.

Why not httpx's own: httpcore costs milliseconds of CPU a call once dozens are in flight. Why not
aiohttp under httpx: `httpx-aiohttp` turns a lost connection and one that was never made into the
same `ConnectTimeout`, so that nobody can tell whether an order left. Here `ConnectError`,
`ConnectTimeout` and `PoolTimeout` are raised only while nothing was written, every other error
only after.

Request bodies are sent whole, with their length; there are no proxies and no HTTP/2. Of httpx's
time-outs `connect` and `pool` are kept; reading and writing are bounded by whoever calls, in total.
Of the events of its `trace` there is one; nothing suspends between it and the request's writing.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx

from orchestrator_adapters.http.connection import Connection

SENDING = "http11.send_request_headers.started"
DEFAULT_PORTS = {"http": 80, "https": 443}


class LeanTransport(httpx.AsyncBaseTransport):
    """A pool of HTTP/1.1 connections.

    Args:
        max_connections: Calls on the wire at once; more wait, for httpx's `pool` time-out.
        keep_alive_seconds: How long a free connection is kept. Shorter than the peer's own time
            spares requests lost to its closing.
        ssl_context: How peers of `https` URLs are verified; None means no such peer is reached.
    """

    def __init__(
        self,
        *,
        max_connections: int,
        keep_alive_seconds: float,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._slots = asyncio.Semaphore(max_connections)
        self._keep_alive_seconds = keep_alive_seconds
        self._ssl_context = ssl_context
        self._free: dict[tuple[str, str, int], list[Connection]] = {}
        self._all: set[Connection] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        message = _head_of(request) + await request.aread()
        timeouts = request.extensions.get("timeout", {})
        trace = request.extensions.get("trace")
        await self._take_slot(timeouts.get("pool"))
        connection = None
        try:
            origin = _origin_of(request.url)
            connection = self._take_free(origin)
            if connection is None:
                connection = await self._connect(origin, timeouts.get("connect"))
            if trace is not None:
                await trace(SENDING, {"request": request})
            status, headers = await connection.exchange(message)
        except BaseException:
            self._slots.release()
            if connection is not None:
                connection.abort()
            raise
        stream: httpx.AsyncByteStream
        if connection.has_whole_body:
            stream = httpx.ByteStream(connection.take_body())
            self._give_back(origin, connection)
        else:
            stream = _Body(self, origin, connection)
        return httpx.Response(status, headers=headers, stream=stream)

    async def aclose(self) -> None:
        """Drop every connection, in use or not."""
        self._free.clear()
        for connection in tuple(self._all):
            connection.abort()

    async def _take_slot(self, seconds: float | None) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no connection became free in time") from None

    def _take_free(self, origin: tuple[str, str, int]) -> Connection | None:
        free = self._free.get(origin, [])
        oldest = asyncio.get_running_loop().time() - self._keep_alive_seconds
        while free:
            connection = free.pop()
            if connection.idle_since >= oldest and connection.is_fit:
                return connection
            connection.abort()
        return None

    async def _connect(self, origin: tuple[str, str, int], seconds: float | None) -> Connection:
        scheme, host, port = origin
        options: dict[str, Any] = {}
        if scheme == "https":
            if self._ssl_context is None:
                raise httpx.ConnectError("no TLS was set up")
            options = {"ssl": self._ssl_context, "server_hostname": host}
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_connection(
                    lambda: Connection(self._all.discard), host, port, **options
                )
        except TimeoutError:
            raise httpx.ConnectTimeout("no connection in time") from None
        except (OSError, UnicodeError) as error:
            raise httpx.ConnectError(type(error).__name__) from error
        if connection.is_open:
            self._all.add(connection)
        return connection

    def _give_back(self, origin: tuple[str, str, int], connection: Connection) -> None:
        self._slots.release()
        if connection.finish():
            connection.idle_since = asyncio.get_running_loop().time()
            self._free.setdefault(origin, []).append(connection)


class _Body(httpx.AsyncByteStream):
    """A response's body, read from its connection as it arrives."""

    def __init__(
        self, transport: LeanTransport, origin: tuple[str, str, int], connection: Connection
    ) -> None:
        self._transport = transport
        self._origin = origin
        self._connection: Connection | None = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._connection is not None:
            async for chunk in self._connection.chunks():
                yield chunk

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._transport._give_back(self._origin, connection)  # noqa: SLF001 - one unit


def _origin_of(url: httpx.URL) -> tuple[str, str, int]:
    if url.scheme not in DEFAULT_PORTS:
        raise httpx.UnsupportedProtocol(f"cannot speak {url.scheme!r}")
    return url.scheme, url.host, url.port or DEFAULT_PORTS[url.scheme]


def _head_of(request: httpx.Request) -> bytes:
    fields = request.headers.raw
    lines = [b"%s %s HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [b"%s: %s" % field for field in fields]
    head = b"\r\n".join(lines)
    line_ends = len(fields)
    if head.count(b"\n") != line_ends or head.count(b"\r") != line_ends or b"\0" in head:
        raise httpx.LocalProtocolError("a control character in the request's head")
    if "transfer-encoding" in request.headers or request.method == "HEAD":
        raise httpx.LocalProtocolError("only whole requests, and answers with their own body")
    return head + b"\r\n\r\n"
