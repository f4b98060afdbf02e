"""TCP proxies on loopback: what a slow, cut or dead network looks like to a client."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from attrs import define, field

CHUNK = 65536
HELD_LOOK_SECONDS = 0.05


@define
class TcpProxy:
    """Passes bytes on until told otherwise.

    What was held back when a connection ends is lost with it, as packets are that never arrived.

    Attributes:
        port: On 127.0.0.1.
        delay_seconds: Added to each chunk on its way, in either direction.
        answers_to_lose: How many of the next chunks from the target are swallowed; the connection
            is reset with each.
    """

    target_port: int
    port: int = field(default=0, init=False)
    delay_seconds: float = field(default=0.0, init=False)
    answers_to_lose: int = field(default=0, init=False)
    _refuses: bool = field(default=False, init=False)
    _voices: asyncio.Event = field(factory=asyncio.Event, init=False)
    _links: set["asyncio.Task[None]"] = field(factory=set, init=False)

    def fall_silent(self) -> None:
        """Hold everything back; connections stay open, and are still taken."""
        self._voices.clear()

    def speak(self) -> None:
        """Pass on what was held back, and what comes."""
        self._voices.set()

    def cut(self) -> None:
        """Reset every connection, and each new one."""
        self._refuses = True
        self.reset()

    def reset(self) -> None:
        """Reset every connection; new ones are passed on."""
        for link in tuple(self._links):
            link.cancel()

    def mend(self) -> None:
        """Pass everything on at once again."""
        self._refuses = False
        self.delay_seconds = 0.0
        self.answers_to_lose = 0
        self.speak()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Link a client's connection with one to the target, until either ends."""
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        try:
            await self._link(reader, writer)
        except OSError:
            pass
        except asyncio.CancelledError:
            _reset(writer)
        finally:
            self._links.discard(task)
            await _close(writer)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            _reset(writer)
            return
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        there = asyncio.create_task(self._pass_on(reader, onward_writer))
        back = asyncio.create_task(self._pass_on(onward_reader, writer, answers=True))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            if not there.done() or not back.done():
                # What the other side said before it heard of the end is still on its way.
                await asyncio.wait({there, back}, timeout=2 * self.delay_seconds + 0.05)
        finally:
            for task in (there, back):
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            await _close(onward_writer)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if not self._voices.is_set():
                    data += await self._hold(reader)
                if answers and self.answers_to_lose > 0:
                    self.answers_to_lose -= 1
                    _reset(writer)
                    return
                writer.write(data)
                await writer.drain()
        except OSError:
            return

    async def _hold(self, reader: asyncio.StreamReader) -> bytes:
        """Wait until bytes pass again, and return what came meanwhile.

        Raises:
            ConnectionResetError: The sender gave up meanwhile.
        """
        held = b""
        while not self._voices.is_set():
            with suppress(TimeoutError):
                more = await asyncio.wait_for(reader.read(CHUNK), HELD_LOOK_SECONDS)
                if not more:
                    raise ConnectionResetError("the sender has gone")
                held += more
        return held

    async def end(self) -> None:
        """End every connection."""
        links = tuple(self._links)
        self.reset()
        await asyncio.gather(*links, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()


@asynccontextmanager
async def tcp_proxy(target_port: int) -> AsyncIterator[TcpProxy]:
    """Give a proxy that passes on to a port of 127.0.0.1."""
    proxy = TcpProxy(target_port)
    proxy.speak()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, backlog=256)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()


silent_proxy = tcp_proxy
