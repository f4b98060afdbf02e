"""The Execution Gateway as a sink of orders.

Theory of operation. A POST of an order is repeated only after an error that proves that nothing was
written; from the first byte on, whatever is not the gateway's own well-formed answer is UNKNOWN.
The first orders of a sink's life go one by one, until an answer shows whether the gateway keeps our
ids; one that answers ids of its own (id-blind) gets one order at a time for ever.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from enum import Enum

from attrs import evolve

from orchestrator_adapters.http.answers import outcome_of_reply, report_of
from orchestrator_adapters.http.client import CallFailed, Fate, PeerClient
from orchestrator_adapters.http.json_fields import NotAsAgreed, an_object, flag_in, parse_json
from orchestrator_adapters.http.replies import OK, read_error, read_path
from orchestrator_core.errors import MalformedReply
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.model import OrderIntent, OrderReport, SafetyFlags
from orchestrator_core.ports import Clock, SubmitKind, SubmitOutcome

PORT = "orders"
NOT_FOUND = 404
FIT_WORDS = frozenset({"healthy", "ok"})
TRIES = 2

logger = logging.getLogger(__name__)

_encode = json.JSONEncoder(separators=(",", ":")).encode


class KeptIds(Enum):
    """Whose order ids the gateway answers under."""

    UNSEEN = "unseen"
    OURS = "ours"
    THEIRS = "theirs"


class HttpOrderSink:
    """Places orders at an Execution Gateway.

    A cancelled `submit` says nothing of its orders: they may have been sent, and their rows stay
    SENDING, for recovery to find out.

    Args:
        client: The peer.
        clock: The one that deadlines were taken from.
        order_seconds: Total deadline of one order, its second try included.
        read_seconds: Total deadline of a read, repeats included.
        probe_seconds: Deadline of a probe.
        max_in_flight: Orders on the wire at once, of all runs together; fewer than the client's
            connections, so that reads find one.
    """

    def __init__(
        self,
        client: PeerClient,
        *,
        clock: Clock,
        order_seconds: float = 15.0,
        read_seconds: float = 5.0,
        probe_seconds: float = 1.5,
        max_in_flight: int = 96,
    ) -> None:
        self._client = client
        self._clock = clock
        self._order_seconds = order_seconds
        self._read_seconds = read_seconds
        self._probe_seconds = probe_seconds
        self._orders = client.url("/api/v1/orders")
        self._health = client.url("/health")
        self._slots = asyncio.Semaphore(max_in_flight)
        self._alone = asyncio.Semaphore(1)
        self._kept_ids = KeptIds.UNSEEN

    @property
    def kept_ids(self) -> KeptIds:
        """Whose ids the gateway has answered under so far."""
        return self._kept_ids

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        outcomes: list[SubmitOutcome] = []
        while len(outcomes) < len(intents):
            rest = intents[len(outcomes) :]
            if self._kept_ids is KeptIds.OURS:
                outcomes += await self._place_all(rest, self._slots, deadline)
                continue
            [outcome] = await self._place_all(rest[:1], self._alone, deadline)
            outcomes.append(outcome)
            if outcome.stops_run or outcome.unreachable or outcome.kind is SubmitKind.DEFERRED:
                outcomes += [_unsent_like(outcome, intent) for intent in rest[1:]]
        return outcomes

    async def look_up(self, client_order_id: ClientOrderId) -> OrderReport | None:
        path = f"/api/v1/orders/{client_order_id}"
        reply = await read_path(
            self._client, path, seconds=self._read_seconds, port=PORT, operation="look_up"
        )
        if reply.status == NOT_FOUND:
            return None
        if reply.status != OK:
            raise read_error(reply, PORT, "look_up")
        try:
            report = report_of(an_object(parse_json(reply.body), "the answer"))
        except NotAsAgreed as problem:
            raise MalformedReply(PORT, "look_up", str(problem)) from None
        if report.gateway_order_id != client_order_id:
            raise MalformedReply(PORT, "look_up", "the answer is about another order")
        return report

    async def safety_flags(self) -> SafetyFlags:
        reply = await read_path(
            self._client,
            "/api/v1/config",
            seconds=self._read_seconds,
            port=PORT,
            operation="safety_flags",
        )
        if reply.status != OK:
            raise read_error(reply, PORT, "safety_flags")
        try:
            fields = an_object(parse_json(reply.body), "the answer")
            return SafetyFlags(
                dry_run=flag_in(fields, "dry_run"),
                alpaca_paper=flag_in(fields, "alpaca_paper"),
                circuit_breaker_enabled=flag_in(fields, "circuit_breaker_enabled"),
            )
        except NotAsAgreed as problem:
            raise MalformedReply(PORT, "safety_flags", str(problem)) from None

    async def ready(self) -> bool:
        """Return whether the gateway says that it is healthy. Never raises."""
        try:
            reply = await self._client.call("GET", self._health, seconds=self._probe_seconds)
            fields = an_object(parse_json(reply.body), "the answer")
        except (CallFailed, NotAsAgreed):
            return False
        word = fields.get("status")
        return reply.status == OK and isinstance(word, str) and word in FIT_WORDS

    async def _place_all(
        self, intents: Sequence[OrderIntent], turnstile: asyncio.Semaphore, deadline: float
    ) -> list[SubmitOutcome]:
        results = await asyncio.gather(
            *(self._place_in_turn(intent, turnstile, deadline) for intent in intents),
            return_exceptions=True,
        )
        return [
            result if isinstance(result, SubmitOutcome) else _unforeseen(intent, result)
            for intent, result in zip(intents, results, strict=True)
        ]

    async def _place_in_turn(
        self, intent: OrderIntent, turnstile: asyncio.Semaphore, deadline: float
    ) -> SubmitOutcome:
        try:
            async with asyncio.timeout(self._seconds_until(deadline, turnstile)):
                await turnstile.acquire()
        except TimeoutError:
            return _dropped(intent)
        try:
            return await self._place(intent, deadline)
        finally:
            turnstile.release()

    def _seconds_until(self, deadline: float, turnstile: asyncio.Semaphore) -> float | None:
        return deadline - self._clock.monotonic() if turnstile.locked() else None

    async def _place(self, intent: OrderIntent, deadline: float) -> SubmitOutcome:
        content = encode_order(intent)
        begun = self._clock.monotonic()
        now, failure = begun, None
        for _ in range(TRIES):
            if now > deadline:
                break
            try:
                reply = await self._client.call(
                    "POST",
                    self._orders,
                    seconds=begun + self._order_seconds - now,
                    content=content,
                )
            except CallFailed as error:
                if error.fate is not Fate.NOT_SENT:
                    return SubmitOutcome(
                        intent.client_order_id, SubmitKind.UNKNOWN, cause=error.cause
                    )
                failure = error
            else:
                return self._learn(outcome_of_reply(intent, reply))
            now = self._clock.monotonic()
        if failure is None:
            return _dropped(intent)
        return SubmitOutcome(
            intent.client_order_id, SubmitKind.NOT_PLACED, cause=failure.cause, unreachable=True
        )

    def _learn(self, outcome: SubmitOutcome) -> SubmitOutcome:
        if outcome.report is not None and self._kept_ids is not KeptIds.THEIRS:
            keeps = outcome.report.gateway_order_id == outcome.client_order_id
            self._kept_ids = KeptIds.OURS if keeps else KeptIds.THEIRS
            if not keeps:
                logger.warning("the gateway ignores our order ids: one order at a time from now on")
        return outcome


def encode_order(intent: OrderIntent) -> bytes:
    """Return the body that places an order: the same intent gives the same bytes."""
    return _encode(
        {
            "symbol": intent.symbol,
            "side": intent.side.value,
            "qty": intent.qty,
            "order_type": intent.order_type.value,
            "time_in_force": intent.time_in_force.value,
            "client_order_id": intent.client_order_id,
        }
    ).encode("ascii")


def _dropped(intent: OrderIntent) -> SubmitOutcome:
    return SubmitOutcome(
        intent.client_order_id, SubmitKind.NOT_PLACED, cause="not sent before its deadline"
    )


def _unsent_like(outcome: SubmitOutcome, intent: OrderIntent) -> SubmitOutcome:
    """Return the outcome of an order not tried, since the one before it met what it would meet."""
    deferred = outcome.kind is SubmitKind.DEFERRED
    return evolve(
        outcome,
        client_order_id=intent.client_order_id,
        kind=SubmitKind.DEFERRED if deferred else SubmitKind.NOT_PLACED,
        report=None,
    )


def _unforeseen(intent: OrderIntent, error: BaseException) -> SubmitOutcome:
    logger.error("an order's sending failed unforeseen", exc_info=error)
    return SubmitOutcome(
        intent.client_order_id,
        SubmitKind.UNKNOWN,
        cause=f"unforeseen {type(error).__name__}",
    )
