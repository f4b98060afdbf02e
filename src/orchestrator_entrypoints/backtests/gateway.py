"""The simulated gateway: the ledger of the one in memory, a market that fills, and staged faults.

It is asked at a decision, and answers what the next price makes of each order. An order is filled
once, when the gateway first takes it: a resent one is answered from the ledger.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from attrs import define, evolve, field

from orchestrator_adapters.memory.orders import Behaviour, MemoryOrderSink
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import OrderIntent, SafetyFlags
from orchestrator_core.ports import (
    CancelOutcome,
    Clock,
    Inquiry,
    LookUp,
    SubmitKind,
    SubmitOutcome,
)
from orchestrator_entrypoints.backtests.fills import Fault, FaultKind, Fill, FillModel

EXPIRED = "expired"

_BEHAVIOURS = {
    FaultKind.TIME_OUT: Behaviour.TAKE_AND_LOSE_ANSWER,
    FaultKind.LOST: Behaviour.LOSE_ORDER,
    FaultKind.REJECT: Behaviour.REJECT,
}
_TAKING = frozenset({Behaviour.TAKE, Behaviour.TAKE_AND_LOSE_ANSWER})


class Crashed(BaseException):
    """The service dies here: nothing of it may go on, so that no handler of errors sees it."""


@define
class SimulatedGateway:
    """Takes orders, fills them at the next price, and fails where it is told to.

    Attributes:
        model: How orders fill.
        fills: What was filled since the day was opened, in the order of filling.
        befallen: The day's faults that something met.
        ledger: What takes orders and answers for them.
    """

    model: FillModel
    clock: Clock
    fills: list[Fill] = field(factory=list, init=False)
    befallen: set[Fault] = field(factory=set, init=False)
    ledger: MemoryOrderSink = field(init=False)
    _market: Mapping[Symbol, Decimal] = field(factory=dict, init=False)
    _faults: tuple[Fault, ...] = field(default=(), init=False)
    _tried: set[ClientOrderId] = field(factory=set, init=False)
    _filled: set[ClientOrderId] = field(factory=set, init=False)
    _standing: set[ClientOrderId] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self.ledger = MemoryOrderSink(clock=self.clock)

    def open_day(self, market: Mapping[Symbol, Decimal], faults: Iterable[Fault]) -> None:
        """Let orders from now on meet this market, and these faults.

        Args:
            market: Price that each symbol trades at next, account currency per share.
            faults: What goes wrong.
        """
        self._market, self._faults = market, tuple(faults)
        self.fills, self.befallen = [], set()
        self.ledger.is_down = self.befalls(FaultKind.GATEWAY_DOWN)

    def come_back(self) -> None:
        """Let the gateway be reached, and nothing more go wrong."""
        self.ledger.is_down = False
        self._faults = ()

    def end_day(self) -> None:
        """Let what has not filled end."""
        for id_ in sorted(self._standing):
            self.ledger.end(id_, EXPIRED)
        self._standing.clear()

    def forget(self) -> None:
        """Let go of the orders of past days: nothing asks about them again."""
        self.ledger = MemoryOrderSink(clock=self.clock)
        self._tried.clear()
        self._filled.clear()

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        outcomes = [await self._place(intent, deadline) for intent in intents]
        if self.befalls(FaultKind.CRASH):
            self._faults = ()
            raise Crashed
        return outcomes

    async def look_up(self, inquiries: Sequence[Inquiry]) -> Sequence[LookUp]:
        return await self.ledger.look_up(inquiries)

    async def cancel(self, inquiries: Sequence[Inquiry]) -> Sequence[CancelOutcome]:
        return await self.ledger.cancel(inquiries)

    async def safety_flags(self) -> SafetyFlags:
        return await self.ledger.safety_flags()

    def befalls(self, kind: FaultKind, symbol: Symbol | None = None) -> bool:
        """Whether a fault of that kind meets the symbol's order, or the day; it is put down."""
        met = [
            fault for fault in self._faults if fault.kind is kind and fault.symbol in (None, symbol)
        ]
        self.befallen.update(met)
        return bool(met)

    async def _place(self, intent: OrderIntent, deadline: float) -> SubmitOutcome:
        id_ = intent.client_order_id
        behaviour = self._behaviour(intent)
        if behaviour is not Behaviour.TAKE:
            self.ledger.script(intent.symbol, [behaviour])
        (outcome,) = await self.ledger.submit([intent], deadline=deadline)
        is_sent = outcome.kind not in {SubmitKind.NOT_PLACED, SubmitKind.CONFLICT}
        if not is_sent or behaviour not in _TAKING or id_ in self._filled:
            return outcome
        self._fill(intent)
        if outcome.report is None:
            return outcome
        # The word it stands under now, where the ledger knows it by our id.
        (look,) = await self.ledger.look_up([Inquiry(intent)])
        return outcome if look.report is None else evolve(outcome, report=look.report)

    def _behaviour(self, intent: OrderIntent) -> Behaviour:
        """Return what becomes of a try; only the first one goes wrong."""
        if self.ledger.is_down or intent.client_order_id in self._tried:
            return Behaviour.TAKE
        self._tried.add(intent.client_order_id)
        if self.model.is_rejected(intent):
            return Behaviour.REJECT
        for kind, behaviour in _BEHAVIOURS.items():
            if self.befalls(kind, intent.symbol):
                return behaviour
        return Behaviour.TAKE

    def _fill(self, intent: OrderIntent) -> None:
        id_ = intent.client_order_id
        self._filled.add(id_)
        is_partial = self.befalls(FaultKind.PARTIAL, intent.symbol) or self.model.is_partial(intent)
        fill = self.model.fill(intent, self._market[intent.symbol], is_partial=is_partial)
        if fill.qty:
            self.ledger.fill(id_, price=fill.price, qty=fill.qty)
            self.fills.append(fill)
        if not fill.is_whole:
            self._standing.add(id_)
