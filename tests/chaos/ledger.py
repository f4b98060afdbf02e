"""The gateway's ledger: one line an event, appended to a file as it happens, never changed."""

import json
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

from attrs import define, field, frozen


class Event(StrEnum):
    """What happened to one POST of an order."""

    ARRIVED = "arrived"
    TAKEN = "taken"
    REFUSED = "refused"
    LOST = "lost"
    REPEATED = "repeated"
    CONTRADICTED = "contradicted"
    SIGNALLED = "signalled"


@frozen
class Entry:
    """One event.

    Attributes:
        at: Monotonic seconds; for an arrival, when the first byte came.
        order_id: The client order id.
        via: Replica that sent it.
        body: The order, for an arrival.
        detail: Trick, or signal.
    """

    at: float
    event: Event
    order_id: str
    via: int
    body: dict[str, Any] | None = None
    detail: str = ""


@define
class LedgerWriter:
    """Appends events; each is in the file when `write` returns."""

    path: Path
    _file: int = field(default=-1, init=False)

    def __attrs_post_init__(self) -> None:
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, entry: Entry) -> None:
        line = [entry.at, entry.event, entry.order_id, entry.via, entry.body, entry.detail]
        os.write(self._file, json.dumps(line).encode() + b"\n")


def read_ledger(path: Path) -> Iterator[Entry]:
    """Yield the events in the order of writing."""
    with path.open() as lines:
        for line in lines:
            at, event, order_id, via, body, detail = json.loads(line)
            yield Entry(at, Event(event), order_id, via, body, detail)
