"""One bounded call to one peer, and what is known when it fails.

A call has one total deadline: the connection, every byte out and every byte in lie within it. What
httpx raises becomes a `CallFailed` here and nowhere else, by the table in `failures`.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
from attrs import frozen

from orchestrator_adapters.http.auth import ServiceAuth
from orchestrator_adapters.http.failures import (
    LEAKED,
    MAPPED,
    CalledTooLate,
    CallFailed,
    Fate,
    call_failed,
)
from orchestrator_adapters.http.retries import RetryPolicy, parse_retry_after
from orchestrator_adapters.http.transport import MakeTransport, WireOptions, choose_transport
from orchestrator_core import __version__
from orchestrator_core.ports import Clock

MAX_BODY_BYTES = 1024 * 1024

# httpx's name for the event between having a connection and writing the request to it.
SENDING = "http11.send_request_headers.started"

# Answers that a second try of a read may better.
PASSING_STATUSES = frozenset({502, 503, 504})


@frozen
class Reply:
    """A whole answer.

    Attributes:
        retry_after: Seconds that the peer asked us to wait.
    """

    status: int
    body: bytes
    retry_after: float | None = None


class PeerClient:
    """Calls to one peer over one pool of connections, kept for the life of the service.

    Construction reaches nothing; the pool is built by the first call.

    Args:
        base_url: `http(s)://host[:port][/prefix]`, without credentials.
        clock: Times deadlines between tries, timestamps and pauses.
        auth: Signs requests; None sends them unsigned.
        headers: Sent with every request.
        connect_seconds: Longest wait for a connection, a free slot included. Shorter than any
            call's deadline, so that a dead peer is known as one that got nothing.
        max_connections: Calls on the wire at once.
        keep_alive_seconds: How long a free connection is kept.
        retries: How reads are repeated.
        jitter: Draws evenly from 0 to 1.
        make_transport: The wire under httpx.

    Raises:
        ValueError: `base_url` is none.
    """

    def __init__(
        self,
        base_url: str,
        *,
        clock: Clock,
        auth: ServiceAuth | None = None,
        headers: Mapping[str, str] | None = None,
        connect_seconds: float = 2.0,
        max_connections: int = 128,
        keep_alive_seconds: float = 2.0,
        retries: RetryPolicy | None = None,
        jitter: Callable[[], float] = random.random,
        make_transport: MakeTransport = choose_transport,
    ) -> None:
        self._base_url = _checked(base_url)
        self._clock = clock
        self._auth = auth
        common = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"orchestrator/{__version__}",
            **(headers or {}),
        }
        self._headers = {
            "GET": httpx.Headers(common),
            "POST": httpx.Headers({**common, "Content-Type": "application/json"}),
        }
        self._extensions = {
            "timeout": {
                "connect": connect_seconds,
                "pool": connect_seconds,
                "read": None,
                "write": None,
            }
        }
        self._retries = retries or RetryPolicy()
        self._jitter = jitter
        self._make_transport = make_transport
        self._options = WireOptions(
            uses_tls=self._base_url.scheme == "https",
            max_connections=max_connections,
            keep_alive_seconds=keep_alive_seconds,
        )
        self._transport: httpx.AsyncBaseTransport | None = None
        self._is_closed = False

    def url(self, path: str) -> httpx.URL:
        """Return the peer's URL for an absolute path."""
        prefix = self._base_url.raw_path.decode("ascii").rstrip("/")
        return self._base_url.copy_with(raw_path=(prefix + path).encode("ascii"))

    async def call(
        self,
        method: str,
        url: httpx.URL,
        *,
        seconds: float,
        content: bytes = b"",
        may_send: Callable[[], bool] | None = None,
    ) -> Reply:
        """Send one request once and return the whole answer, whatever its status.

        Args:
            method: GET or POST.
            url: As `url` gave it.
            seconds: Total deadline.
            content: Body, sent as it is.
            may_send: Asked once there is a connection, right before the first byte: waiting for
                one takes time, and a process may be stopped meanwhile.

        Raises:
            CalledTooLate: `may_send` said no.
            CallFailed: No usable answer; says whether the request can have left.
        """
        if seconds <= 0 or self._is_closed:
            raise CallFailed("no time left to call" if seconds <= 0 else "closed", Fate.NOT_SENT)
        transport = self._transport or self._build()
        request = httpx.Request(
            method,
            url,
            headers=self._headers[method],
            content=content if method == "POST" else None,
            extensions=(
                self._extensions
                if may_send is None
                else {**self._extensions, "trace": _before_sending(may_send)}
            ),
        )
        if self._auth is not None:
            self._auth.sign(request)
        try:
            async with asyncio.timeout(seconds):
                response = await transport.handle_async_request(request)
                try:
                    body = await _whole_body(response)
                finally:
                    await response.aclose()
        except TimeoutError:
            raise CallFailed(f"no whole answer within {seconds:.3g} s", Fate.LOST) from None
        except (*MAPPED, *LEAKED) as error:
            raise call_failed(error) from error
        return Reply(response.status_code, body, self._retry_after(response))

    async def read(
        self, method: str, url: httpx.URL, *, seconds: float, content: bytes = b""
    ) -> Reply:
        """Make a call that is a read, repeated by the policy while it may help.

        Repeated after trouble with the connection and after 502, 503 and 504; never after 429,
        which asks for fewer calls. The deadline holds for all tries and pauses together.

        Raises:
            CallFailed: The last try brought no usable answer.
        """
        ends = self._clock.monotonic() + seconds
        tries = 0
        while True:
            tries += 1
            reply = failure = None
            try:
                left = ends - self._clock.monotonic()
                reply = await self.call(method, url, seconds=left, content=content)
                if reply.status not in PASSING_STATUSES:
                    return reply
            except CallFailed as error:
                if error.fate is Fate.UNUSABLE:
                    raise
                failure = error
            pause = self._retries.pause_after(
                tries,
                jitter=self._jitter(),
                retry_after=None if reply is None else reply.retry_after,
                seconds_left=ends - self._clock.monotonic(),
            )
            if pause is None:
                if reply is not None:
                    return reply
                assert failure is not None  # noqa: S101 - narrows the type
                raise failure
            await self._clock.sleep(pause)

    async def aclose(self) -> None:
        """Drop the connections; later calls fail, sending nothing."""
        self._is_closed = True
        if self._transport is not None:
            await self._transport.aclose()

    def _build(self) -> httpx.AsyncBaseTransport:
        # The transport alone, without httpx's client around it: redirects, cookies, proxies and
        # environment are what we must not have, and cost a third of a call.
        self._transport = self._make_transport(self._options)
        return self._transport

    def _retry_after(self, response: httpx.Response) -> float | None:
        text = response.headers.get("retry-after")
        return None if text is None else parse_retry_after(text, now=self._clock.now())


def _before_sending(may_send: Callable[[], bool]) -> Callable[[str, Any], Awaitable[None]]:
    """Return a tracer, by httpx's extension of that name, that stops a request still unsent."""

    async def trace(event: str, _info: Any) -> None:
        if event == SENDING and not may_send():
            raise CalledTooLate

    return trace


async def _whole_body(response: httpx.Response) -> bytes:
    if response.headers.get("content-encoding", "identity") != "identity":
        raise CallFailed("the answer is compressed, unasked", Fate.UNUSABLE)
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - narrows the type
    body = b""
    async for chunk in response.stream:
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise CallFailed("the answer is larger than 1 MiB", Fate.UNUSABLE)
    return body


def _checked(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        raise ValueError("a peer's URL is malformed") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("a peer's URL must begin with http:// or https:// and name a host")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("a peer's URL holds no credentials, query or fragment")
    return url
