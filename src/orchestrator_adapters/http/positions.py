"""The account's positions, as the Execution Gateway tells them."""

from collections.abc import Mapping
from typing import Any

from orchestrator_adapters.http.client import PeerClient
from orchestrator_adapters.http.json_fields import (
    NotAsAgreed,
    a_list,
    an_object,
    member,
    parse_json,
    shares_in,
    symbol_in,
)
from orchestrator_adapters.http.replies import OK, read_error, read_path
from orchestrator_core.errors import MalformedReply
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Position

PORT = "positions"


class HttpPositionSource:
    """Reads positions from an Execution Gateway.

    Args:
        client: The peer.
        seconds: Total deadline of a read, repeats included.
    """

    def __init__(self, client: PeerClient, *, seconds: float = 5.0) -> None:
        self._client = client
        self._seconds = seconds

    async def positions(self) -> Mapping[Symbol, Position]:
        reply = await read_path(
            self._client,
            "/api/v1/positions",
            seconds=self._seconds,
            port=PORT,
            operation="positions",
        )
        if reply.status != OK:
            raise read_error(reply, PORT, "positions")
        try:
            return parse_positions(reply.body)
        except NotAsAgreed as problem:
            raise MalformedReply(PORT, "positions", str(problem)) from None


def parse_positions(body: bytes) -> dict[Symbol, Position]:
    """Return the positions that are not zero, from a list or an object that holds one.

    Raises:
        NotAsAgreed: Names the path to the first field that is not as agreed, such as a fraction of
            a share or a symbol given twice.
    """
    document: Any = parse_json(body)
    if isinstance(document, dict):
        document = member(document, "positions", "")
    held: dict[Symbol, Position] = {}
    seen: set[Symbol] = set()
    for index, row in enumerate(a_list(document, "positions")):
        path = f"positions[{index}]"
        fields = an_object(row, path)
        symbol = symbol_in(fields, "symbol", path)
        if symbol in seen:
            raise NotAsAgreed(path, f"{symbol} is given twice")
        seen.add(symbol)
        qty = shares_in(fields, "qty", path)
        if qty != 0:
            held[symbol] = Position(symbol, qty)
    return held
