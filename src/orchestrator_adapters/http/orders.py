"""The Execution Gateway as a sink of orders.

Theory of operation. A POST of an order is repeated only after an error that proves that nothing was
written; from the first byte on, whatever is not the gateway's own well-formed answer is UNKNOWN.
Orders go together only to a gateway that keeps our ids, as far as is known (`kept_ids`); one that
answers ids of its own (id-blind) gets one order at a time for ever.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from urllib.parse import quote

from attrs import evolve

from orchestrator_adapters.http.answers import outcome_of_reply
from orchestrator_adapters.http.asking import CALLS_AT_ONCE, ask_all
from orchestrator_adapters.http.client import PeerClient, Reply
from orchestrator_adapters.http.failures import CalledTooLate, CallFailed, Fate
from orchestrator_adapters.http.json_fields import NotAsAgreed, an_object, flag_in, parse_json
from orchestrator_adapters.http.kept_ids import IdKeeping, KeptIds, LatestOrder
from orchestrator_adapters.http.looks import Look, cancel_of, id_at_gateway, look_of
from orchestrator_adapters.http.replies import OK, read_error, read_path
from orchestrator_core.errors import MalformedReply
from orchestrator_core.model import OrderIntent, SafetyFlags
from orchestrator_core.ports import (
    CancelOutcome,
    Clock,
    Inquiry,
    LookUp,
    SubmitKind,
    SubmitOutcome,
)

PORT = "orders"
FIT_WORDS = frozenset({"healthy", "ok"})
TRIES = 2

logger = logging.getLogger(__name__)

_encode = json.JSONEncoder(separators=(",", ":")).encode


class HttpOrderSink:
    """Places orders at an Execution Gateway.

    A cancelled `submit` says nothing of its orders: they may have been sent, and their rows stay
    SENDING, for recovery to find out.

    Args:
        client: The peer.
        clock: The one that deadlines were taken from.
        order_seconds: Total deadline of one order, or one cancel, its second try included.
        read_seconds: Total deadline of a read, such as one order's look-up, repeats included.
        probe_seconds: Deadline of a probe.
        max_in_flight: Orders on the wire at once, of all runs together; fewer than the client's
            connections, so that reads and cancels find one.
        latest: Reads the latest order that is stored as acknowledged; None where nothing is
            remembered.
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
        latest: LatestOrder | None = None,
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
        self._looks = asyncio.Semaphore(CALLS_AT_ONCE)
        self._cancels = asyncio.Semaphore(CALLS_AT_ONCE)
        self._ids = IdKeeping(latest)

    @property
    def kept_ids(self) -> KeptIds:
        """Whose ids the gateway answers under, as far as is known."""
        return self._ids.word

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        outcomes: list[SubmitOutcome] = []
        if self._ids.word is KeptIds.UNSEEN:
            await self._ids.recall(seconds=(deadline - self._clock.monotonic()) / 2)
        while len(outcomes) < len(intents):
            rest = intents[len(outcomes) :]
            if self._ids.lets_go_together:
                outcomes += await self._place_all(rest, self._slots, deadline)
                continue
            [outcome] = await self._place_all(rest[:1], self._alone, deadline)
            outcomes.append(outcome)
            if outcome.stops_run or outcome.unreachable or outcome.kind is SubmitKind.DEFERRED:
                outcomes += [_unsent_like(outcome, intent) for intent in rest[1:]]
        return outcomes

    async def look_up(self, inquiries: Sequence[Inquiry]) -> Sequence[LookUp]:
        looks = await self._look(inquiries)
        if self._ids.doubts(looks):
            known = await self._ids.recall(seconds=self._read_seconds)
            await self._look([] if known is None else [known])
        return [self._ids.weigh(look) for look in looks]

    async def _look(self, inquiries: Sequence[Inquiry]) -> list[Look]:
        heard = await ask_all(inquiries, self._ask_about, self._looks)
        looks = [look_of(inquiry, each) for inquiry, each in zip(inquiries, heard, strict=True)]
        self._ids.learn_of_looks(looks)
        return looks

    async def cancel(self, inquiries: Sequence[Inquiry]) -> Sequence[CancelOutcome]:
        heard = await ask_all(inquiries, self._ask_to_cancel, self._cancels)
        return [cancel_of(inquiry, each) for inquiry, each in zip(inquiries, heard, strict=True)]

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

    async def _ask_about(self, inquiry: Inquiry) -> Reply:
        url = self._client.url(_path_of(inquiry))
        return await self._client.read("GET", url, seconds=self._read_seconds)

    async def _ask_to_cancel(self, inquiry: Inquiry) -> Reply:
        url = self._client.url(f"{_path_of(inquiry)}/cancel")
        ends = self._clock.monotonic() + self._order_seconds
        try:
            return await self._client.call("POST", url, seconds=self._order_seconds)
        except CallFailed as failure:
            if failure.fate is not Fate.NOT_SENT:
                raise
        return await self._client.call("POST", url, seconds=ends - self._clock.monotonic())

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
            if turnstile is self._alone or self._ids.lets_go_together:
                return await self._place(intent, deadline)
        finally:
            turnstile.release()
        # What was learnt of the gateway while this one waited: it goes alone after all.
        return await self._place_in_turn(intent, self._alone, deadline)

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
                    may_send=lambda: self._clock.monotonic() <= deadline,
                )
            except CalledTooLate:
                break
            except CallFailed as error:
                if error.fate is not Fate.NOT_SENT:
                    return SubmitOutcome(
                        intent.client_order_id, SubmitKind.UNKNOWN, cause=error.cause
                    )
                failure = error
            else:
                outcome = outcome_of_reply(intent, reply)
                self._ids.learn_of_answer(outcome)
                return outcome
            now = self._clock.monotonic()
        if failure is None:
            return _dropped(intent)
        return SubmitOutcome(
            intent.client_order_id, SubmitKind.NOT_PLACED, cause=failure.cause, unreachable=True
        )


def _path_of(inquiry: Inquiry) -> str:
    return f"/api/v1/orders/{quote(id_at_gateway(inquiry), safe='')}"


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
