"""The least HTTP/1.1 that a floor program and its peers need: no framework, keep-alive, JSON."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

Handler = Callable[[str, str, bytes], Awaitable[tuple[int, Any]]]


async def read_message(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Return the first line and the body of the next message."""
    head = await reader.readuntil(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    length = 0
    for line in rest.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            length = int(line[15:])
    body = await reader.readexactly(length) if length else b""
    return first.decode(), body


async def serve(handler: Handler, host: str, port: int) -> asyncio.Server:
    """Serve `handler(method, path, body) -> (status, json value)`."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                first, body = await read_message(reader)
                method, path, _ = first.split(" ", 2)
                status, value = await handler(method, path, body)
                payload = json.dumps(value, separators=(",", ":")).encode()
                writer.write(
                    b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%s" % (status, len(payload), payload)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return await asyncio.start_server(connected, host, port, backlog=512)


class LeanClient:
    """Keep-alive connections to one host, as many as are in use at once."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: bytes) -> tuple[int, Any]:
        """Send a JSON body; return the status and the JSON answer."""
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return await self._exchange(head.encode() + body)

    async def get(self, path: str) -> tuple[int, Any]:
        """Return the status and the JSON answer."""
        return await self._exchange(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    async def _exchange(self, message: bytes) -> tuple[int, Any]:
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(message)
        first, body = await read_message(reader)
        self._idle.append((reader, writer))
        return int(first.split(" ", 2)[1]), json.loads(body)

    def close(self) -> None:
        """Close all connections."""
        for _, writer in self._idle:
            writer.close()
