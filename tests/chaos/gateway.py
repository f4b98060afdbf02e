"""An Execution Gateway that keeps a ledger, and misbehaves as it is told.

It holds one order an id, as the contract says; every POST's arrival, taking and answer goes into
the ledger. Its control port arms signals (`kill -9` of a replica at the moment of its POST), turns
storms on, and makes the faults cease.
"""

import asyncio
import os
import signal
import time
from collections import Counter
from typing import Any

from attrs import define, field, frozen

from tests.chaos.faults import Faults, PostFault, ReadTrick, Trick
from tests.chaos.ledger import Entry, Event, LedgerWriter
from tests.chaos.orders import Contradiction, HeldOrder, OrderBook
from tests.chaos.wire import Answer, How, Request

ORDERS = "/api/v1/orders"
FLAGS = {
    "service": "execution_gateway",
    "dry_run": False,
    "alpaca_paper": True,
    "circuit_breaker_enabled": True,
}
SLOW_SECONDS = 1.0
# Long enough for the answer's bytes to have left.
AFTER_ANSWER_SECONDS = 0.003

REFUSALS = {
    Trick.REFUSED_422: (422, "the order is not valid"),
    Trick.PACED: (429, "Too many requests"),
    Trick.GATED: (503, "Trading halted: kill-switch engaged"),
    Trick.PARKED: (503, "Symbol in quarantine"),
    Trick.LOST_500: (500, "Internal Server Error"),
}
LOST = frozenset({Trick.LOST_RESET, Trick.LOST_500})
SPOILED: dict[Trick, Answer] = {
    Trick.TAKEN_RESET: Answer(200, {}, How.RESET),
    Trick.TAKEN_500: Answer(500, {"detail": "Internal Server Error"}),
    Trick.TAKEN_BROKER: Answer(503, {"detail": "Broker connection error"}),
    Trick.TAKEN_GARBAGE: Answer(200, {}, How.GARBAGE),
}


@frozen
class Armed:
    """A signal for a replica, sent at a point of one of its POSTs.

    Attributes:
        posts: POSTs of that replica to let pass first.
    """

    pid: int
    number: int
    point: Event | None
    posts: int = 0


@define
class Gateway:
    """The gateway.

    Attributes:
        latency: Seconds that each POST takes at least.
    """

    ledger: LedgerWriter
    faults: Faults
    latency: float = 0.0
    book: OrderBook = field(factory=OrderBook)
    _posts: Counter[str] = field(factory=Counter)
    _reads: Counter[str] = field(factory=Counter)
    _storms: dict[str, float] = field(factory=dict)
    _armed: dict[int, Armed] = field(factory=dict)
    _tasks: set["asyncio.Task[None]"] = field(factory=set)

    async def handle(self, request: Request) -> Answer:
        """Answer one request of a replica."""
        if (request.method, request.path) == ("POST", ORDERS):
            return await self._post(request)
        if request.path == "/api/v1/config":
            return Answer(200, FLAGS)
        if request.path == "/health":
            return Answer(200, {"status": "healthy"})
        if request.path.startswith(f"{ORDERS}/"):
            id_, _, verb = request.path.removeprefix(f"{ORDERS}/").partition("/")
            return await (self._cancel(id_) if verb == "cancel" else self._look_up(id_))
        return Answer(404, {"detail": "Not Found"})

    # Orders

    async def _post(self, request: Request) -> Answer:
        body = request.json()
        id_, via = body["client_order_id"], request.via
        self._write(Event.ARRIVED, id_, via, at=request.begun_at, body=body)
        self._fire(Event.ARRIVED, id_, via)
        self._posts[id_] += 1
        fault = self._fault(id_)
        await asyncio.sleep(fault.pause + self.latency)
        answer = await self._deal(body, via, fault)
        if self._armed:
            loop = asyncio.get_running_loop()
            loop.call_later(AFTER_ANSWER_SECONDS, self._fire, None, id_, via)
        return answer

    def _fault(self, id_: str) -> PostFault:
        if self._is_on("paced"):
            return PostFault(Trick.PACED)
        if self._is_on("gated"):
            return PostFault(Trick.GATED)
        return self.faults.of_post(id_, self._posts[id_], is_live=id_ in self.book.held)

    async def _deal(self, body: dict[str, Any], via: int, fault: PostFault) -> Answer:
        id_, trick = body["client_order_id"], fault.trick
        if trick in LOST:
            self._write(Event.LOST, id_, via, detail=trick)
            return Answer(500, {}, How.RESET) if trick is Trick.LOST_RESET else _refuse(trick)
        if trick in REFUSALS:
            self._write(Event.REFUSED, id_, via, detail=trick)
            return _refuse(trick)
        if trick is Trick.TAKEN_LATE:
            self.book.late.add(id_)
            self._later(self._take_late(body, via, fault.late))
            return Answer(200, {}, How.HANG)
        order = self._take(body, via, trick)
        if isinstance(order, Contradiction):
            return Answer(409, {"detail": "this client_order_id holds another order"})
        if trick in SPOILED:
            return SPOILED[trick]
        how = How.DRIP if trick is Trick.TAKEN_DRIP else How.PLAIN
        return Answer(200, order.document(time.monotonic()), how)

    def _take(self, body: dict[str, Any], via: int, trick: Trick) -> HeldOrder | Contradiction:
        id_ = body["client_order_id"]
        order, is_new = self.book.take(body, self.faults.destiny(id_), time.monotonic())
        event = Event.TAKEN if is_new else Event.REPEATED
        if isinstance(order, Contradiction):
            event = Event.CONTRADICTED
        self._write(event, id_, via, detail=trick)
        self._fire(Event.TAKEN, id_, via)
        return order

    async def _take_late(self, body: dict[str, Any], via: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._take(body, via, Trick.TAKEN_LATE)
        self.book.late.discard(body["client_order_id"])

    async def _look_up(self, id_: str) -> Answer:
        self._reads[id_] += 1
        trick = self.faults.of_read(id_, self._reads[id_])
        if trick is ReadTrick.FAILS or self._is_on("deaf"):
            return Answer(500, {"detail": "Internal Server Error"})
        if trick is ReadTrick.SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        held = self.book.held.get(id_)
        if held is None:
            return Answer(404, {"detail": "Order not found"})
        how = {
            ReadTrick.RESET: How.RESET,
            ReadTrick.TWICE: How.TWICE,
            ReadTrick.DRIP: How.DRIP,
        }.get(trick, How.PLAIN)
        return Answer(200, held.document(time.monotonic()), how)

    async def _cancel(self, id_: str) -> Answer:
        held, now = self.book.held.get(id_), time.monotonic()
        if held is None:
            return Answer(404, {"detail": "Order not found"})
        held.cancel(now)
        return Answer(200, held.document(now))

    # Control

    async def control(self, request: Request) -> Answer:
        """Do what the driver says."""
        match request.path:
            case "/orders":
                now = time.monotonic()
                held = {id_: order.document(now) for id_, order in self.book.held.items()}
                return Answer(200, {"held": held, "late": sorted(self.book.late)})
            case "/arm":
                asked = request.json()
                point = asked["point"]
                self._armed[asked["via"]] = Armed(
                    asked["pid"],
                    asked["signal"],
                    None if point is None else Event(point),
                    asked.get("posts", 0),
                )
            case "/disarm":
                self._armed.pop(request.json()["via"], None)
            case "/storm":
                asked = request.json()
                self._storms[asked["kind"]] = time.monotonic() + asked["seconds"]
            case "/calm":
                self.faults = Faults(self.faults.seed, share=0.0)
                self._storms.clear()
                self._armed.clear()
            case _:
                return Answer(404, {})
        return Answer(200, {})

    def _is_on(self, storm: str) -> bool:
        return self._storms.get(storm, 0.0) > time.monotonic()

    def _fire(self, point: Event | None, id_: str, via: int) -> None:
        armed = self._armed.get(via)
        if armed is None or armed.point is not point:
            return
        if armed.posts > 0:
            self._armed[via] = Armed(armed.pid, armed.number, armed.point, armed.posts - 1)
            return
        del self._armed[via]
        try:
            os.kill(armed.pid, armed.number)
        except ProcessLookupError:
            return
        self._write(Event.SIGNALLED, id_, via, detail=signal.Signals(armed.number).name)

    def _write(
        self,
        event: Event,
        id_: str,
        via: int,
        *,
        at: float | None = None,
        body: dict[str, Any] | None = None,
        detail: str = "",
    ) -> None:
        self.ledger.write(
            Entry(time.monotonic() if at is None else at, event, id_, via, body, detail)
        )

    def _later(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _refuse(trick: Trick) -> Answer:
    status, detail = REFUSALS[trick]
    headers = {"retry-after": "1"} if trick is Trick.PACED else {}
    return Answer(status, {"detail": detail}, headers=headers)
