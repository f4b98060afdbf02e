"""A deadline and a size for a request's headers, which uvicorn does not have for all protocols.

Half-sent headers would keep a connection, its buffers and its file descriptor for ever. A request's
body has its bounds where it is read (`orchestrator_entrypoints.bodies`).
"""

import asyncio
from importlib.util import find_spec
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_HEADER_BYTES = 64 * 1024


class HeaderGuard(asyncio.Protocol):
    """Closes a connection that dawdles over a request's headers, or sends too many.

    To stand before one of uvicorn's HTTP protocols in the order of bases.
    """

    seconds: ClassVar[float]
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    cycle: Any
    _timer: asyncio.TimerHandle | None = None
    _received: int = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        super().data_received(data)
        if self._is_serving():
            self._stop()
        elif self._received > MAX_HEADER_BYTES:
            self._give_up()
        elif self._timer is None:
            self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def _is_serving(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start(self) -> None:
        self._timer = self.loop.call_later(self.seconds, self._give_up)

    def _stop(self) -> None:
        self._received = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._stop()
        if not self._is_serving() and not self.transport.is_closing():
            self.transport.close()


def guarded_protocol(seconds: float) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol behind the guard, by httptools where it is installed.

    Args:
        seconds: From the connection, or from a request's first byte, to the end of its headers.
    """
    base: type[asyncio.Protocol] = H11Protocol
    if find_spec("httptools") is not None:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415

        base = HttpToolsProtocol
    return type("GuardedProtocol", (HeaderGuard, base), {"seconds": seconds})
