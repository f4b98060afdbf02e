"""A small HTTP/1.1 server that notes when a request's first byte came, and may answer badly."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
from typing import Any

from attrs import field, frozen

DRIP_SECONDS = 0.25


class How(StrEnum):
    """How an answer is put on the wire."""

    PLAIN = "plain"
    RESET = "reset instead"
    GARBAGE = "no HTTP"
    DRIP = "a byte at a time"
    HANG = "never"
    TWICE = "with a second answer behind it"


@frozen
class Request:
    """One request.

    Attributes:
        begun_at: Monotonic seconds when its first byte came.
        via: Which of the server's ports it came by.
    """

    method: str
    path: str
    body: bytes
    begun_at: float
    via: int

    def json(self) -> Any:
        return json.loads(self.body)


@frozen
class Answer:
    """What is answered, and how."""

    status: int
    document: Any
    how: How = How.PLAIN
    headers: dict[str, str] = field(factory=dict)

    def encoded(self) -> bytes:
        body = json.dumps(self.document).encode()
        fields = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} X", *(f"{n}: {v}" for n, v in fields.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


Handler = Callable[[Request], Awaitable[Answer]]


async def listen(handler: Handler, *, via: int = 0, port: int = 0) -> tuple[asyncio.Server, int]:
    """Serve a handler on loopback; return the server and its port."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _serve(handler, reader, writer, via)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(accept, "127.0.0.1", port, backlog=512)
    return server, server.sockets[0].getsockname()[1]


async def _serve(
    handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, via: int
) -> None:
    while True:
        first = await reader.readexactly(1)
        begun_at = time.monotonic()
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.rstrip("\r\n").split("\r\n")
        method, path, _ = line.split(" ")
        headers = {n.lower(): v.strip() for n, _, v in (text.partition(":") for text in fields)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        answer = await handler(Request(method, path, body, begun_at, via))
        if not await _put(answer, reader, writer):
            return


async def _put(answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Put an answer on the wire; say whether the connection goes on."""
    content = answer.encoded()
    match answer.how:
        case How.RESET:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            return False
        case How.HANG:
            await reader.read()
            return False
        case How.GARBAGE:
            writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")
            await writer.drain()
            return False
        case How.DRIP:
            for place in range(len(content)):
                writer.write(content[place : place + 1])
                await writer.drain()
                await asyncio.sleep(DRIP_SECONDS)
        case How.TWICE:
            writer.write(content * 2)
            await writer.drain()
            return False
        case How.PLAIN:
            writer.write(content)
            await writer.drain()
    return True
