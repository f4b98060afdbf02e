"""A Signal Service and an Execution Gateway for tests: real HTTP on loopback, told how to behave.

`SignalPeer` and `GatewayPeer` decide what is answered; `wires` says how it is put on the wire, and
`raw_server` serves it.
"""

import contextlib
import json
from collections import deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from attrs import define, evolve, field, frozen

from tests.servers.raw_server import RawServer, running_app, running_peer
from tests.servers.wires import SLOW_SECONDS, Answer, Handler, Request, Wire, answer

__all__ = [
    "SLOW_SECONDS",
    "Answer",
    "GatewayPeer",
    "Handler",
    "RawServer",
    "Request",
    "ServedGateway",
    "ServedSignalService",
    "SignalPeer",
    "Trick",
    "Wire",
    "a_batch_document",
    "answer",
    "running_app",
    "running_gateway",
    "running_peer",
    "running_signal_service",
    "saying",
]


def a_batch_document(*signals: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "signals": list(signals),
        "metadata": {
            "as_of_date": "2026-03-02",
            "model_version": "m-1",
            "strategy": "alpha_baseline",
            "num_signals": len(signals),
            "generated_at": "2026-03-02T15:00:00Z",
            "top_n": None,
            "bottom_n": None,
            **metadata,
        },
    }


@define
class SignalPeer:
    """A Signal Service: answers `batch`, or the next of `script`."""

    batch: dict[str, Any] = field(factory=a_batch_document)
    script: deque[Answer] = field(factory=deque)
    seen: list[Request] = field(factory=list)
    is_ready: bool = True

    def handle(self, request: Request) -> Answer:
        self.seen.append(request)
        if request.path == "/ready":
            return answer(200 if self.is_ready else 503, {"ready": self.is_ready})
        if (request.method, request.path) != ("POST", "/api/v1/signals/generate"):
            return answer(404, {"detail": "Not Found"})
        return self.script.popleft() if self.script else answer(200, self.batch)


@frozen
class Trick:
    """What the gateway does with one POST.

    Attributes:
        takes: Whether the order goes into the ledger.
        changes: Put over the fields of the honest answer.
        instead: Answered in place of the honest one.
        wire: How it is put on the wire.
    """

    takes: bool = True
    changes: dict[str, Any] = field(factory=dict)
    instead: Answer | None = None
    wire: Wire = Wire.PLAIN


def saying(status: int, detail: Any, *, takes: bool = False) -> Trick:
    return Trick(takes=takes, instead=answer(status, {"detail": detail}))


ENDED = {"filled", "canceled", "expired", "rejected", "replaced", "dry_run"}


@define
class GatewayPeer:
    """An Execution Gateway with a ledger; each symbol's POSTs may be told to go wrong."""

    ledger: dict[str, dict[str, Any]] = field(factory=dict)
    posts: list[Request] = field(factory=list)
    reads: list[Request] = field(factory=list)
    tricks: dict[str, deque[Trick]] = field(factory=dict)
    flags: dict[str, Any] = field(
        factory=lambda: {
            "service": "execution_gateway",
            "dry_run": False,
            "alpaca_paper": True,
            "circuit_breaker_enabled": True,
        }
    )
    health: dict[str, Any] = field(factory=lambda: {"status": "healthy"})
    positions: Any = field(factory=list)
    read_script: deque[Answer] = field(factory=deque)
    cancels: list[Request] = field(factory=list)
    hushed: dict[str, deque[Answer]] = field(factory=dict)
    is_id_blind: bool = False

    def play(self, symbol: str, *tricks: Trick) -> None:
        self.tricks.setdefault(symbol, deque()).extend(tricks)

    def hush(self, id_: str, *answers: Answer) -> None:
        """Give these in place of the next answers to whatever is asked about one order."""
        self.hushed.setdefault(id_, deque()).extend(answers)

    def handle(self, request: Request) -> Answer:
        if (request.method, request.path) == ("POST", "/api/v1/orders"):
            self.posts.append(request)
            return self._post(request.json())
        id_ = unquote(request.path.removeprefix("/api/v1/orders/").removesuffix("/cancel"))
        if request.method == "POST":
            self.cancels.append(request)
            return self._hushed(id_) or self._cancel(id_)
        self.reads.append(request)
        if self.read_script:
            return self.read_script.popleft()
        if request.path == "/health":
            return answer(200, self.health)
        if request.path == "/api/v1/config":
            return answer(200, self.flags)
        if request.path == "/api/v1/positions":
            return answer(200, self.positions)
        return self._hushed(id_) or self._look(id_)

    def _hushed(self, id_: str) -> Answer | None:
        answers = self.hushed.get(id_)
        return answers.popleft() if answers else None

    def _look(self, id_: str) -> Answer:
        if id_ not in self.ledger:
            return answer(404, {"detail": "Order not found"})
        return answer(200, self.ledger[id_])

    def _cancel(self, id_: str) -> Answer:
        order = self.ledger.get(id_)
        if order is None:
            return answer(404, {"detail": "Order not found"})
        if order["status"] in ENDED:
            return answer(409, {"detail": f"the order is {order['status']}"})
        order["status"] = "canceled"
        return answer(202, order)

    def _post(self, order: dict[str, Any]) -> Answer:
        tricks = self.tricks.get(order["symbol"])
        trick = tricks.popleft() if tricks else Trick()
        honest = self._take(order) if trick.takes else None
        if trick.instead is not None:
            given = trick.instead
        elif honest is None or honest.status != 200:
            given = honest or answer(500, {"detail": "Internal Server Error"})
        else:
            given = answer(200, {**json.loads(honest.body), **trick.changes})
        return given if trick.wire is Wire.PLAIN else evolve(given, wire=trick.wire)

    def _take(self, order: dict[str, Any]) -> Answer:
        number = len(self.ledger) + 1
        id_ = f"gw-{number}" if self.is_id_blind else order["client_order_id"]
        if self.flags["dry_run"] is True:
            return answer(200, _record(order, id_, None) | {"status": "dry_run"})
        held = self.ledger.get(id_)
        if held is None:
            held = self.ledger[id_] = _record(order, id_, f"broker-{number}")
        elif any(held[name] != order[name] for name in ("symbol", "side", "qty", "order_type")):
            return answer(409, {"detail": "client_order_id holds another payload"})
        return answer(200, held)


def _record(order: dict[str, Any], id_: str, broker_id: str | None) -> dict[str, Any]:
    return {
        "client_order_id": id_,
        "status": "accepted",
        "broker_order_id": broker_id,
        "symbol": order["symbol"],
        "side": order["side"],
        "qty": order["qty"],
        "order_type": order["order_type"],
        "limit_price": None,
        "created_at": "2026-03-02T15:00:00Z",
        "message": "Order submitted",
    }


@frozen
class ServedSignalService:
    peer: SignalPeer
    server: RawServer


@frozen
class ServedGateway:
    peer: GatewayPeer
    server: RawServer


@contextlib.contextmanager
def running_signal_service() -> Iterator[ServedSignalService]:
    peer = SignalPeer()
    with running_peer(peer.handle) as server:
        yield ServedSignalService(peer, server)


@contextlib.contextmanager
def running_gateway() -> Iterator[ServedGateway]:
    peer = GatewayPeer()
    with running_peer(peer.handle) as server:
        yield ServedGateway(peer, server)
