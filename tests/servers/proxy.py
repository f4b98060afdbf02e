"""A TCP proxy on loopback that can fall silent: what a dead network looks like to a client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from attrs import define, field

CHUNK = 65536


@define
class SilentProxy:
    """Passes bytes on until told to fall silent; connections stay open.

    Attributes:
        port: On 127.0.0.1.
    """

    target_port: int
    port: int = field(default=0, init=False)
    _voices: asyncio.Event = field(factory=asyncio.Event, init=False)
    _tasks: set["asyncio.Task[None]"] = field(factory=set, init=False)

    def fall_silent(self) -> None:
        self._voices.clear()

    def speak(self) -> None:
        self._voices.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        for passing in (
            self._pass_on(reader, onward_writer),
            self._pass_on(onward_reader, writer),
        ):
            task = asyncio.create_task(passing)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while data := await reader.read(CHUNK):
                    await self._voices.wait()
                    writer.write(data)
                    await writer.drain()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def end(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def silent_proxy(target_port: int) -> AsyncIterator[SilentProxy]:
    """Give a proxy that passes on to a port of 127.0.0.1."""
    proxy = SilentProxy(target_port)
    proxy.speak()
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.end()
