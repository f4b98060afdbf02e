"""Two peers that speak Redis's protocol on loopback: one answers by script, one loses answers."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum

from attrs import define

Command = list[bytes]


async def read_command(reader: asyncio.StreamReader) -> Command:
    """Return the next command of a client.

    Raises:
        asyncio.IncompleteReadError: The client has gone.
    """
    count = int((await reader.readuntil(b"\r\n"))[1:])
    command = []
    for _ in range(count):
        length = int((await reader.readuntil(b"\r\n"))[1:])
        command.append((await reader.readexactly(length + 2))[:-2])
    return command


def encoded(command: Command) -> bytes:
    parts = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in command)
    return b"*%d\r\n%b" % (len(command), parts)


@asynccontextmanager
async def scripted_redis(answer: Callable[[Command], bytes]) -> AsyncIterator[int]:
    """Serve `answer` to each command but the greeting; give the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                command = await read_command(reader)
                is_greeting = command[0] in {b"CLIENT", b"AUTH", b"SELECT"}
                writer.write(b"+OK\r\n" if is_greeting else answer(command))
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


class Loss(Enum):
    """What happens to a command that the proxy was told to lose."""

    BEFORE_IT_ARRIVES = "before"
    ITS_ANSWER = "answer"
    SILENTLY = "silently"


@define
class LossyProxy:
    """Passes commands on, until it is told to lose those of a name.

    Attributes:
        lost: Name of the command to lose, such as `EVALSHA`; None passes everything.
        after: Commands of that name that are still passed first.
        times: How many are lost then.
        loss: What becomes of it; the connection ends with it, but for `SILENTLY`.
    """

    upstream_port: int
    port: int = 0
    lost: bytes | None = None
    after: int = 0
    times: int = 1_000
    loss: Loss = Loss.ITS_ANSWER

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, upstream = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                command = await read_command(reader)
                is_lost = self._is_to_be_lost(command)
                if is_lost and self.loss is Loss.SILENTLY:
                    continue
                if is_lost and self.loss is Loss.BEFORE_IT_ARRIVES:
                    break
                upstream.write(encoded(command))
                answer = await _read_answer(answers)
                if is_lost:
                    break
                writer.write(answer)
        upstream.close()
        writer.close()

    def _is_to_be_lost(self, command: Command) -> bool:
        if command[0] != self.lost:
            return False
        self.after -= 1
        return -self.times <= self.after < 0


async def _read_answer(reader: asyncio.StreamReader) -> bytes:
    line = await reader.readuntil(b"\r\n")
    kind, count = line[:1], line[1:-2]
    if kind == b"$" and int(count) >= 0:
        return line + await reader.readexactly(int(count) + 2)
    if kind == b"*":
        return line + b"".join([await _read_answer(reader) for _ in range(int(count))])
    return line


@asynccontextmanager
async def lossy_proxy(upstream_port: int) -> AsyncIterator[LossyProxy]:
    """Stand before a real server."""
    proxy = LossyProxy(upstream_port)
    async with await asyncio.start_server(proxy.serve, "127.0.0.1", 0) as server:
        proxy.port = server.sockets[0].getsockname()[1]
        yield proxy
