"""An Execution Gateway for tests whose orders fill, and whose positions are what filled."""

import threading
from collections import Counter
from typing import Any

from attrs import define, field

from tests.servers.peers import GatewayPeer
from tests.servers.wires import Answer, Request


@define
class Broker:
    """A gateway's peer with fills.

    Attributes:
        gateway: Takes the orders.
        fills: Whether each order fills as it is taken; otherwise `fill` does.
        door: Orders wait here until it is set.
        arrived: Set by the first order.
        meeting: Where the first who ask for positions wait for each other.
    """

    gateway: GatewayPeer = field(factory=GatewayPeer)
    fills: bool = True
    door: threading.Event = field(factory=threading.Event)
    arrived: threading.Event = field(factory=threading.Event)
    meeting: threading.Barrier | None = None
    _before: Counter[str] = field(factory=Counter, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self.door.set()

    def handle(self, request: Request) -> Answer:
        if request.method == "POST":
            self.arrived.set()
            assert self.door.wait(20)
        meeting = self.meeting
        if meeting is not None and request.path == "/api/v1/positions":
            meeting.wait(20)
            self.meeting = None
        with self._lock:
            self.gateway.positions = [
                {"symbol": symbol, "qty": str(qty)} for symbol, qty in self.positions().items()
            ]
            given = self.gateway.handle(request)
            if self.fills:
                self._fill_all()
        return given

    def hold(self, symbol: str, qty: int) -> None:
        """Let so many shares be held from before."""
        self._before[symbol] = qty

    def fill(self) -> None:
        """Fill everything that was taken."""
        with self._lock:
            self._fill_all()

    def _fill_all(self) -> None:
        for order in self.gateway.ledger.values():
            if order["status"] == "accepted":
                filled = {"filled_qty": str(order["qty"]), "filled_avg_price": "100"}
                order |= {"status": "filled", **filled}

    def positions(self) -> dict[str, int]:
        """Return the shares held by symbol, below zero when short."""
        held = Counter(self._before)
        for order in self.gateway.ledger.values():
            sign = 1 if order["side"] == "buy" else -1
            held[order["symbol"]] += sign * int(order.get("filled_qty", "0"))
        return {symbol: qty for symbol, qty in held.items() if qty}

    @property
    def orders(self) -> list[tuple[str, str, int]]:
        """What was sent, in its order: symbol, side, shares."""
        sent: list[dict[str, Any]] = [post.json() for post in self.gateway.posts]
        return [(order["symbol"], order["side"], order["qty"]) for order in sent]
