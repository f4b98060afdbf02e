"""A gateway in memory: a ledger of orders by its own ids, and what tests let go wrong with it.

It keeps the gateway's promise: the same id with the same payload is the same order, answered again;
with another payload it is a conflict, and nothing is placed. Told to be id-blind, it breaks the
promise as an older gateway does: each try is a new order under an id of its own.

Nothing happens here by itself: an order's life goes on where a test says so, and the only time is
that of the clock given.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Context, Decimal
from enum import StrEnum
from typing import Any

from attrs import define, evolve, field, frozen

from orchestrator_adapters.gateway_words import look_up_of_record
from orchestrator_core.errors import Unavailable
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import OrderIntent, OrderReport, SafetyFlags
from orchestrator_core.money import WIDE, ZERO, multiply
from orchestrator_core.ports import (
    CancelOutcome,
    Clock,
    Inquiry,
    LookUp,
    LookUpKind,
    SubmitKind,
    SubmitOutcome,
)
from orchestrator_core.tracking import DRY_RUN, has_ended

PAPER = SafetyFlags(dry_run=False, alpaca_paper=True, circuit_breaker_enabled=True)
IS_DOWN = "the gateway is down"
_AVERAGING = Context(prec=28)


class Behaviour(StrEnum):
    """What a gateway does with one try to place an order."""

    TAKE = "take"
    REJECT = "reject"
    REFUSE = "refuse"
    DEFER = "defer"
    STOP = "stop"
    PARK = "park"
    TAKE_AND_LOSE_ANSWER = "take and lose the answer"
    LOSE_ORDER = "lose the order"
    UNREACHABLE = "unreachable"


class Silence(StrEnum):
    """Why a gateway gives no usable answer to one look at an order, or one wish to cancel it."""

    LOSE_ANSWER = "lose the answer"
    PACE = "pace"


@frozen
class LedgerEntry:
    """An order that the gateway holds, and its latest word on it."""

    intent: OrderIntent
    report: OrderReport


def _no_fill(_intent: OrderIntent) -> Decimal | None:
    return None


@define
class MemoryOrderSink:
    """Takes orders into a ledger.

    Attributes:
        flags: The brakes that it says are on; in dry run it places nothing and says `dry_run`.
        fill_price: Account currency per share that an order fills at as it arrives; None leaves
            it standing.
        clock: Judges deadlines; None keeps every one.
        is_id_blind: It answers under ids of its own, and places a new order at each try.
        is_down: Nothing reaches it.
    """

    flags: SafetyFlags = PAPER
    fill_price: Callable[[OrderIntent], Decimal | None] = _no_fill
    clock: Clock | None = None
    is_id_blind: bool = False
    is_down: bool = False
    _records: dict[str, LedgerEntry] = field(factory=dict, init=False)
    _on_the_way: dict[ClientOrderId, OrderIntent] = field(factory=dict, init=False)
    _attempts: dict[ClientOrderId, int] = field(factory=dict, init=False)
    _taken: int = field(default=0, init=False)
    _script: dict[Symbol, deque[Behaviour]] = field(factory=dict, init=False)
    _silences: dict[Symbol, deque[Silence]] = field(factory=dict, init=False)

    @property
    def ledger(self) -> Mapping[ClientOrderId, LedgerEntry]:
        """The orders placed, by the id that it answers under, in the order of their arrival."""
        return {
            ClientOrderId(id_): entry
            for id_, entry in self._records.items()
            if entry.report.status != DRY_RUN
        }

    @property
    def attempts(self) -> Mapping[ClientOrderId, int]:
        """How often an order of this id went out, whatever became of it then."""
        return self._attempts

    @property
    def on_the_way(self) -> tuple[ClientOrderId, ...]:
        """The orders that were lost and may still `arrive`."""
        return tuple(self._on_the_way)

    def script(self, symbol: Symbol, behaviours: Iterable[Behaviour]) -> None:
        """Let the symbol's next tries go so; those after them are taken."""
        self._script.setdefault(symbol, deque()).extend(behaviours)

    def silence(self, symbol: Symbol, silences: Iterable[Silence]) -> None:
        """Let the symbol's next look-ups and cancels go so; those after them are answered."""
        self._silences.setdefault(symbol, deque()).extend(silences)

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        return tuple(self._try(intent, deadline) for intent in intents)

    async def look_up(self, inquiries: Sequence[Inquiry]) -> Sequence[LookUp]:
        return tuple(self._look(inquiry) for inquiry in inquiries)

    async def cancel(self, inquiries: Sequence[Inquiry]) -> Sequence[CancelOutcome]:
        return tuple(self._cancel(inquiry) for inquiry in inquiries)

    async def safety_flags(self) -> SafetyFlags:
        if self.is_down:
            raise Unavailable("orders", "safety_flags", IS_DOWN)
        return self.flags

    # What a test lets happen there. Orders are named by the gateway's id: ours, unless it is blind.

    def arrive(self, client_order_id: ClientOrderId) -> None:
        """Let a lost order reach the gateway after all, long after its sender gave up."""
        self._take(self._on_the_way.pop(client_order_id))

    def fill(self, gateway_order_id: str, *, price: Decimal, qty: int | None = None) -> None:
        """Fill some more shares of an order, at a price per share; None: all that remain."""
        entry = self._records[gateway_order_id]
        before = entry.report
        left = WIDE.subtract(entry.intent.qty, before.filled_qty)
        more = left if qty is None else Decimal(qty)
        filled = WIDE.add(before.filled_qty, more)
        if not 0 < more <= left:
            raise ValueError(f"cannot fill {more} of {entry.intent.qty}, {before.filled_qty} were")
        spent = WIDE.fma(before.filled_qty, before.filled_avg_price or ZERO, multiply(price, more))
        self.say(
            gateway_order_id,
            "filled" if filled == entry.intent.qty else "partially_filled",
            filled_qty=filled,
            filled_avg_price=_AVERAGING.divide(spent, filled),
        )

    def end(self, gateway_order_id: str, status: str = "canceled") -> None:
        """Let the broker end an order with this word; what was filled stays so."""
        self.say(gateway_order_id, status)

    def reject(self, gateway_order_id: str, message: str = "rejected later") -> None:
        """Let the broker reject an order that was taken."""
        self.say(gateway_order_id, "rejected", message=message)

    def say(self, gateway_order_id: str, status: str, **fields: Any) -> None:
        """Let the gateway's word on an order be this, with these fields of its report."""
        entry = self._records[gateway_order_id]
        report = evolve(entry.report, status=status, **fields)
        self._records[gateway_order_id] = evolve(entry, report=report)

    def garble(self, gateway_order_id: str, **fields: Any) -> None:
        """Let the gateway's record be of an order other than the one sent, in these fields."""
        entry = self._records[gateway_order_id]
        self._records[gateway_order_id] = evolve(entry, intent=evolve(entry.intent, **fields))

    def forget(self, gateway_order_id: str) -> None:
        """Let the gateway lose its record: the id is as good as new there."""
        del self._records[gateway_order_id]

    def _try(self, intent: OrderIntent, deadline: float) -> SubmitOutcome:
        id_ = intent.client_order_id
        if self.clock is not None and self.clock.monotonic() > deadline:
            return SubmitOutcome(id_, SubmitKind.NOT_PLACED, cause="not sent before its deadline")
        script = self._script.get(intent.symbol)
        behaviour = script.popleft() if script and not self.is_down else Behaviour.TAKE
        if self.is_down or behaviour is Behaviour.UNREACHABLE:
            cause = IS_DOWN if self.is_down else f"scripted: {behaviour}"
            return SubmitOutcome(id_, SubmitKind.NOT_PLACED, cause=cause, unreachable=True)
        self._attempts[id_] = self._attempts.get(id_, 0) + 1
        match behaviour:
            case Behaviour.TAKE:
                return self._take(intent)
            case Behaviour.TAKE_AND_LOSE_ANSWER:
                self._take(intent)
                return SubmitOutcome(id_, SubmitKind.UNKNOWN, cause="the answer was lost")
            case Behaviour.LOSE_ORDER:
                self._on_the_way[id_] = intent
                return SubmitOutcome(id_, SubmitKind.UNKNOWN, cause=f"scripted: {behaviour}")
            case _:
                return _refusal(id_, behaviour)

    def _take(self, intent: OrderIntent) -> SubmitOutcome:
        id_ = intent.client_order_id
        gateway_id = f"gw-{self._taken + 1}" if self.is_id_blind else id_
        entry = self._records.get(gateway_id)
        if entry is None:
            self._taken += 1
            entry = LedgerEntry(intent, self._first_report(intent, gateway_id))
            self._records[gateway_id] = entry
        elif entry.intent != intent:
            return SubmitOutcome(
                id_, SubmitKind.CONFLICT, cause="the id stands for an order of another payload"
            )
        return SubmitOutcome(id_, SubmitKind.ACCEPTED, report=entry.report)

    def _first_report(self, intent: OrderIntent, gateway_id: str) -> OrderReport:
        if self.flags.dry_run:
            return OrderReport(DRY_RUN, gateway_id)
        price = self.fill_price(intent)
        return OrderReport(
            status="accepted" if price is None else "filled",
            gateway_order_id=gateway_id,
            broker_order_id=f"memory-{self._taken}",
            filled_qty=Decimal(0 if price is None else intent.qty),
            filled_avg_price=price,
        )

    def _look(self, inquiry: Inquiry) -> LookUp:
        id_ = inquiry.intent.client_order_id
        silence = self._silence_on(inquiry)
        if silence is not None:
            return evolve(silence, kind=LookUpKind.UNANSWERED)
        entry = self._record_of(inquiry)
        if entry is None:
            return LookUp(id_, LookUpKind.ABSENT, cause="no such order")
        difference = _difference(inquiry.intent, entry.intent)
        if difference is not None:
            return LookUp(id_, LookUpKind.CONFLICT, cause=difference)
        return look_up_of_record(id_, entry.report)

    def _cancel(self, inquiry: Inquiry) -> CancelOutcome:
        id_ = inquiry.intent.client_order_id
        silence = self._silence_on(inquiry)
        if silence is not None:
            return CancelOutcome(id_, is_requested=False, cause=silence.cause)
        entry = self._record_of(inquiry)
        if entry is None:
            return CancelOutcome(id_, is_requested=False, cause="no such order")
        if not has_ended(entry.report.status):
            self.end(entry.report.gateway_order_id)
        return CancelOutcome(id_, is_requested=True)

    def _record_of(self, inquiry: Inquiry) -> LedgerEntry | None:
        return self._records.get(inquiry.gateway_order_id or inquiry.intent.client_order_id)

    def _silence_on(self, inquiry: Inquiry) -> LookUp | None:
        """Return what keeps the gateway from answering, as a look-up without an answer."""
        unanswered = LookUp(inquiry.intent.client_order_id, LookUpKind.UNANSWERED)
        if self.is_down:
            return evolve(unanswered, cause=IS_DOWN)
        silences = self._silences.get(inquiry.intent.symbol)
        if not silences:
            return None
        silence = silences.popleft()
        retry_after = 1.0 if silence is Silence.PACE else None
        return evolve(unanswered, cause=f"scripted: {silence}", retry_after=retry_after)


def _refusal(id_: ClientOrderId, behaviour: Behaviour) -> SubmitOutcome:
    cause = f"scripted: {behaviour}"
    match behaviour:
        case Behaviour.REJECT:
            report = OrderReport("rejected", id_, message="scripted")
            return SubmitOutcome(
                id_, SubmitKind.REJECTED, report=report, cause="rejected: scripted"
            )
        case Behaviour.REFUSE:
            return SubmitOutcome(id_, SubmitKind.REJECTED, cause=cause)
        case Behaviour.DEFER:
            return SubmitOutcome(id_, SubmitKind.DEFERRED, cause=cause, retry_after=1.0)
        case Behaviour.STOP:
            return SubmitOutcome(id_, SubmitKind.NOT_PLACED, cause=cause, stops_run=True)
        case _:
            return SubmitOutcome(id_, SubmitKind.NOT_PLACED, cause=cause)


def _difference(ours: OrderIntent, theirs: OrderIntent) -> str | None:
    for name in ("symbol", "side", "qty", "order_type"):
        if getattr(theirs, name) != getattr(ours, name):
            return f"{name} is {getattr(theirs, name)}, sent was {getattr(ours, name)}"
    return None
