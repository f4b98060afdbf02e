"""How answers are put on the wire: honestly, or in each way that a peer can go wrong."""

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any

from attrs import frozen

DRIP_SECONDS = 0.02
SLOW_SECONDS = 0.02


class Wire(Enum):
    """How an answer is put on the wire."""

    PLAIN = "with its length"
    CHUNKED = "in chunks"
    UNTIL_CLOSE = "ended by closing"
    AFTER_HINTS = "after a 103"
    SLOW = "after a moment"
    HANG = "never"
    CLOSE = "closed instead"
    RESET = "reset instead"
    GARBAGE = "no HTTP"
    TRUNCATED = "cut short"
    DRIP = "one byte at a time"
    TRAILING = "with a second answer behind it"
    LATE_TRAILING = "with a second answer a moment later"
    HUGE = "with a body of 2 MiB"
    HUGE_CHUNKED = "with a body of 2 MiB in chunks"
    LYING_LENGTH = "with a length smaller than its body"
    BOMB = "compressed from 16 MiB"
    HUGE_HEAD = "with a head of 1 MiB"
    CLOSE_ANNOUNCED = "with connection: close"
    CLOSE_AFTER = "with its length, closed afterwards unannounced"


@frozen
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@frozen
class Answer:
    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = ()
    wire: Wire = Wire.PLAIN


def answer(status: int, document: Any, *, wire: Wire = Wire.PLAIN, **headers: str) -> Answer:
    fields = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(status, json.dumps(document).encode(), fields, wire)


Handler = Callable[[Request], Answer]


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


async def put(given: Answer, writer: asyncio.StreamWriter) -> bool:
    """Put an answer on the wire; say whether the connection goes on."""
    if given.wire is Wire.SLOW:
        await asyncio.sleep(SLOW_SECONDS)
    if given.wire is Wire.HANG:
        await asyncio.Event().wait()
    if given.wire is Wire.RESET:
        reset(writer)
        return False
    if given.wire is Wire.DRIP:
        for byte in _bytes_of(given) * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)
    writer.write(_bytes_of(given))
    await writer.drain()
    if given.wire is Wire.LATE_TRAILING:
        await asyncio.sleep(SLOW_SECONDS)
        writer.write(_bytes_of(given))
    return given.wire in GOING_ON


def _with_length(given: Answer) -> bytes:
    return _head(given, f"content-length: {len(given.body)}") + given.body


def _chunked(given: Answer) -> bytes:
    half = len(given.body) // 2
    chunks = _chunks(given.body[:half], given.body[half:])
    return _head(given, "transfer-encoding: chunked") + chunks


def _huge(given: Answer) -> bytes:
    return _head(given, f"content-length: {2 << 20}") + b" " * (2 << 20)


@cache
def _compressed() -> bytes:
    return gzip.compress(b" " * (16 << 20), compresslevel=1)


def _bomb(given: Answer) -> bytes:
    bomb = _compressed()
    return _head(given, "content-encoding: gzip", f"content-length: {len(bomb)}") + bomb


GOING_ON = {
    Wire.PLAIN,
    Wire.SLOW,
    Wire.CHUNKED,
    Wire.AFTER_HINTS,
    Wire.TRAILING,
    Wire.LATE_TRAILING,
}
BYTES: dict[Wire, Callable[[Answer], bytes]] = {
    Wire.CLOSE: lambda _: b"",
    Wire.GARBAGE: lambda _: b"\x00\x01 this is no HTTP\r\n\r\n",
    Wire.CHUNKED: _chunked,
    Wire.UNTIL_CLOSE: lambda given: _head(given, "connection: close") + given.body,
    Wire.AFTER_HINTS: lambda given: (
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + _with_length(given)
    ),
    Wire.TRUNCATED: lambda given: (
        _head(given, f"content-length: {len(given.body) + 10}") + given.body
    ),
    Wire.TRAILING: lambda given: _with_length(given) * 2,
    Wire.HUGE: _huge,
    Wire.HUGE_CHUNKED: lambda given: (
        _head(given, "transfer-encoding: chunked") + _chunks(*[b" " * 65536] * 32)
    ),
    Wire.LYING_LENGTH: lambda given: _head(given, "content-length: 2") + given.body,
    Wire.BOMB: _bomb,
    Wire.HUGE_HEAD: lambda given: _head(
        given, "x-padding: " + "x" * (1 << 20), "content-length: 0"
    ),
    Wire.CLOSE_ANNOUNCED: lambda given: (
        _head(given, "connection: close", f"content-length: {len(given.body)}") + given.body
    ),
}


def _bytes_of(given: Answer) -> bytes:
    return BYTES.get(given.wire, _with_length)(given)


def _head(given: Answer, *framing: str) -> bytes:
    fields = [f"{name}: {value}" for name, value in given.headers]
    lines = [f"HTTP/1.1 {given.status} X", "content-type: application/json", *fields, *framing]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _chunks(*chunks: bytes) -> bytes:
    framed = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk]
    return b"".join([*framed, b"0\r\n\r\n"])


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
