"""Servers of a handler's answers on loopback, each with a thread and an event loop of its own.

A client's hanging loop hangs no server. A `RawServer` speaks plain sockets and can misbehave;
`running_app` serves the same handler by Starlette on uvicorn.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn
from attrs import define, field
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response
from starlette.routing import Route

from tests.servers.wires import Handler, Request, put, read_request, reset

START_SECONDS = 10.0


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
                reset(writer)
            else:
                await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_request(reader)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            try:
                goes_on = await put(self.handler(request), writer)
            finally:
                self._in_flight -= 1
            if not goes_on:
                return


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
