"""One HTTP/1.1 connection: a request out, a response in, nothing pipelined.

Parsing is llhttp's, through httptools, in its strict mode. Whatever is odd (bytes that nobody asked
for, a malformed head, a body after the end) fails the exchange and closes the connection, so that
no response can be taken for another's.
"""

import asyncio
import select
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import cast

import httptools
import httpx

# A head, or a chunked body's framing beyond its payload, larger than this is no honest answer.
MAX_OVERHEAD_BYTES = 64 * 1024
# Beyond this much unread body the peer is made to wait.
MAX_UNREAD_BYTES = 64 * 1024

FIRST_FINAL_STATUS = 200


class Connection(asyncio.Protocol):
    """A connection and the one exchange that it is carrying.

    Attributes:
        idle_since: Event loop's time at which it last became free.
    """

    def __init__(self, on_lost: Callable[["Connection"], None]) -> None:
        self.idle_since = 0.0
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._begin()
        self._is_busy = False

    def _begin(self) -> None:
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunks: deque[bytes] = deque()
        self._unread = 0
        self._received = 0
        self._body_bytes = 0
        self._head_is_complete = False
        self._is_complete = False
        self._peer_keeps_it = False
        self._is_paused = False
        self._error: httpx.TransportError | None = None
        self._is_busy = True

    # What the transport asks of it

    @property
    def is_open(self) -> bool:
        """Whether the connection stands, as far as the event loop knows."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def is_fit(self) -> bool:
        """Whether a request may be written: open, and nothing has come unasked.

        The peer's closing may wait in the kernel, not yet seen by the event loop: looking there
        spares a request that would be lost.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        return not _is_readable(transport.get_extra_info("socket").fileno())

    async def exchange(self, request: bytes) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Write the request and return the response's status and headers.

        Raises:
            httpx.TransportError: No usable head came; the request may have been received.
        """
        self._begin()
        if self._transport is None:
            raise httpx.WriteError("the connection is closed")
        self._transport.write(request)
        while not self._head_is_complete:
            await self._wait()
        return self._status, self._headers

    @property
    def has_whole_body(self) -> bool:
        """Whether the response has arrived to its end."""
        return self._is_complete and self._error is None

    def take_body(self) -> bytes:
        """Return what has arrived of the body and was not read yet."""
        body = b"".join(self._chunks)
        self._chunks.clear()
        self._unread = 0
        return body

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            httpx.TransportError: It broke off or was malformed.
        """
        while True:
            if self._chunks:
                chunk = self.take_body()
                if self._is_paused and self._transport is not None:
                    self._is_paused = False
                    self._transport.resume_reading()
                yield chunk
            elif self._is_complete:
                return
            else:
                await self._wait()

    def finish(self) -> bool:
        """End the exchange; say whether the connection can carry another."""
        reusable = (
            self._is_busy
            and self.has_whole_body
            and self._transport is not None
            and not self._transport.is_closing()
            and self._peer_keeps_it
        )
        self._is_busy = False
        if not reusable:
            self.abort()
        return reusable

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, error: httpx.TransportError) -> None:
        if self._error is None and not self._is_complete:
            self._error = error
        self._wake()
        self.abort()

    # What the event loop tells it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._is_busy = False

    def data_received(self, data: bytes) -> None:
        if not self._is_busy or self._is_complete:
            self.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(httpx.RemoteProtocolError("the response is no HTTP/1.1"))
            return
        if self._received - self._body_bytes > MAX_OVERHEAD_BYTES + 16 * self._body_bytes:
            self._fail(httpx.RemoteProtocolError("the response's head is too large"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._is_busy and not self._is_complete:
            if exc is None and self._head_is_complete and self._ends_with_the_connection():
                self._is_complete = True
            elif self._error is None:
                self._error = httpx.ReadError("the connection was lost before the response's end")
        self._wake()
        self._on_lost(self)

    def _ends_with_the_connection(self) -> bool:
        framing = {name.lower() for name, _ in self._headers}
        return not framing & {b"content-length", b"transfer-encoding"}

    # What the parser tells it

    def on_message_begin(self) -> None:
        if self._is_complete:
            raise httptools.HttpParserError("a response that nobody asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_is_complete:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status >= FIRST_FINAL_STATUS:
            self._head_is_complete = True
            self._wake()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)
        self._body_bytes += len(body)
        self._unread += len(body)
        if self._unread > MAX_UNREAD_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        if self._status < FIRST_FINAL_STATUS:
            self._headers = []
            return
        self._is_complete = True
        # llhttp knows it only here.
        self._peer_keeps_it = self._parser.should_keep_alive()
        self._wake()


def _is_readable(descriptor: int) -> bool:
    if not hasattr(select, "poll"):
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
