"""A gateway in memory: a ledger of orders by client order id, and what tests let go wrong with it.

It keeps the gateway's promise: the same id with the same payload is the same order, answered again;
with another payload it is a conflict, and nothing is placed.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum

from attrs import define, field, frozen

from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import OrderIntent, OrderReport, SafetyFlags
from orchestrator_core.ports import Clock, SubmitKind, SubmitOutcome

PAPER = SafetyFlags(dry_run=False, alpaca_paper=True, circuit_breaker_enabled=True)


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
    """

    flags: SafetyFlags = PAPER
    fill_price: Callable[[OrderIntent], Decimal | None] = _no_fill
    clock: Clock | None = None
    _ledger: dict[ClientOrderId, LedgerEntry] = field(factory=dict, init=False)
    _script: dict[Symbol, deque[Behaviour]] = field(factory=dict, init=False)

    @property
    def ledger(self) -> Mapping[ClientOrderId, LedgerEntry]:
        """The orders placed, in the order of their arrival."""
        return self._ledger

    def script(self, symbol: Symbol, behaviours: Iterable[Behaviour]) -> None:
        """Let the symbol's next tries go so; those after them are taken."""
        self._script.setdefault(symbol, deque()).extend(behaviours)

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        return tuple(self._try(intent, deadline) for intent in intents)

    async def look_up(self, client_order_id: ClientOrderId) -> OrderReport | None:
        entry = self._ledger.get(client_order_id)
        return None if entry is None else entry.report

    async def safety_flags(self) -> SafetyFlags:
        return self.flags

    def _try(self, intent: OrderIntent, deadline: float) -> SubmitOutcome:
        id_ = intent.client_order_id
        if self.clock is not None and self.clock.monotonic() > deadline:
            return SubmitOutcome(id_, SubmitKind.NOT_PLACED, cause="not sent before its deadline")
        script = self._script.get(intent.symbol)
        behaviour = script.popleft() if script else Behaviour.TAKE
        match behaviour:
            case Behaviour.TAKE:
                return self._take(intent)
            case Behaviour.REJECT:
                report = OrderReport("rejected", id_, message="scripted")
                return SubmitOutcome(
                    id_, SubmitKind.REJECTED, report=report, cause="rejected: scripted"
                )
            case Behaviour.TAKE_AND_LOSE_ANSWER:
                self._take(intent)
                return SubmitOutcome(id_, SubmitKind.UNKNOWN, cause="the answer was lost")
            case _:
                return _without_order(id_, behaviour)

    def _take(self, intent: OrderIntent) -> SubmitOutcome:
        id_ = intent.client_order_id
        entry = self._ledger.get(id_)
        if entry is None:
            entry = LedgerEntry(intent, self._first_report(intent))
            if not self.flags.dry_run:
                self._ledger[id_] = entry
        elif entry.intent != intent:
            return SubmitOutcome(
                id_, SubmitKind.CONFLICT, cause="the id stands for an order of another payload"
            )
        return SubmitOutcome(id_, SubmitKind.ACCEPTED, report=entry.report)

    def _first_report(self, intent: OrderIntent) -> OrderReport:
        id_ = intent.client_order_id
        if self.flags.dry_run:
            return OrderReport("dry_run", id_)
        price = self.fill_price(intent)
        return OrderReport(
            status="accepted" if price is None else "filled",
            gateway_order_id=id_,
            broker_order_id=f"memory-{len(self._ledger) + 1}",
            filled_qty=Decimal(0 if price is None else intent.qty),
            filled_avg_price=price,
        )


def _without_order(id_: ClientOrderId, behaviour: Behaviour) -> SubmitOutcome:
    cause = f"scripted: {behaviour}"
    match behaviour:
        case Behaviour.REFUSE:
            return SubmitOutcome(id_, SubmitKind.REJECTED, cause=cause)
        case Behaviour.DEFER:
            return SubmitOutcome(id_, SubmitKind.DEFERRED, cause=cause, retry_after=1.0)
        case Behaviour.STOP:
            return SubmitOutcome(id_, SubmitKind.NOT_PLACED, cause=cause, stops_run=True)
        case Behaviour.PARK:
            return SubmitOutcome(id_, SubmitKind.NOT_PLACED, cause=cause)
        case Behaviour.UNREACHABLE:
            return SubmitOutcome(id_, SubmitKind.NOT_PLACED, cause=cause, unreachable=True)
        case _:
            return SubmitOutcome(id_, SubmitKind.UNKNOWN, cause=cause)
