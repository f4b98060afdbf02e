"""The memory adapters of signals, orders and positions under their ports' suites."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field

from orchestrator_adapters.conformance.orders import (
    OrderSinkConformance,
    OrdersStage,
    an_intent,
)
from orchestrator_adapters.conformance.positions import PositionSourceConformance, PositionsStage
from orchestrator_adapters.conformance.signals import SignalSourceConformance, SignalsStage
from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.memory.orders import Behaviour, MemoryOrderSink, Silence
from orchestrator_adapters.memory.positions import MemoryPositionSource
from orchestrator_adapters.memory.signals import MemorySignalSource
from orchestrator_core.driver import run_sync
from orchestrator_core.errors import PortError, Unavailable
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import (
    OrderIntent,
    OrderReport,
    Position,
    SafetyFlags,
    Side,
    SignalBatch,
)
from orchestrator_core.ports import (
    Inquiry,
    LookUp,
    LookUpKind,
    OrderSink,
    SubmitKind,
    SubmitOutcome,
)
from orchestrator_core.requests import RunRequest


@define
class MemorySignals:
    source: MemorySignalSource = field(init=False)
    _answer: SignalBatch | type[PortError] = field(default=PortError, init=False)
    _requests: list[tuple[tuple[str, ...], date | None]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.source = MemorySignalSource(self._give)

    def _give(self, request: RunRequest) -> SignalBatch:
        self._requests.append((request.symbols, request.as_of_date))
        if isinstance(self._answer, SignalBatch):
            return self._answer
        raise self._answer("signals", "fetch", "staged")

    async def answer(self, batch: SignalBatch) -> None:
        self._answer = batch

    async def fail(self, kind: type[PortError]) -> None:
        self._answer = kind

    async def requests(self) -> list[tuple[tuple[str, ...], date | None]]:
        return self._requests


class TestMemorySignalSource(SignalSourceConformance):
    @pytest.fixture
    def stage(self) -> SignalsStage:
        return MemorySignals()


@define
class MemoryPositions:
    source: MemoryPositionSource = field(factory=MemoryPositionSource)

    async def hold(self, positions: Sequence[Position]) -> None:
        before = run_sync(self.source.positions())
        self.source.put([Position(symbol, 0) for symbol in before])
        self.source.put(positions)


class TestMemoryPositionSource(PositionSourceConformance):
    @pytest.fixture
    def stage(self) -> PositionsStage:
        return MemoryPositions()


@define
class MemoryOrders:
    memory: MemoryOrderSink = field(
        factory=lambda: MemoryOrderSink(clock=VirtualClock(datetime(2026, 3, 2, tzinfo=UTC)))
    )
    late: float = -math.inf

    @property
    def sink(self) -> OrderSink:
        return self.memory

    async def script(self, symbol: Symbol, behaviours: Sequence[Behaviour]) -> None:
        self.memory.script(symbol, behaviours)

    async def ledger(self) -> Mapping[ClientOrderId, tuple[Symbol, Side, int]]:
        entries = self.memory.ledger.items()
        return {
            ClientOrderId(id_): (e.intent.symbol, e.intent.side, e.intent.qty) for id_, e in entries
        }

    async def claim(self, flags: SafetyFlags) -> None:
        self.memory.flags = flags

    async def go_blind(self) -> None:
        self.memory.is_id_blind = True

    async def say(self, report: OrderReport) -> None:
        self.memory.say(
            report.gateway_order_id,
            report.status,
            broker_order_id=report.broker_order_id,
            filled_qty=report.filled_qty,
            filled_avg_price=report.filled_avg_price,
            message=report.message,
        )

    async def garble(self, gateway_order_id: str, **fields: Any) -> None:
        self.memory.garble(gateway_order_id, **fields)

    async def forget(self, gateway_order_id: str) -> None:
        self.memory.forget(gateway_order_id)

    async def silence(self, intent: OrderIntent, silences: Sequence[Silence]) -> None:
        self.memory.silence(intent.symbol, silences)

    async def vanish(self) -> None:
        self.memory.is_down = True


class TestMemoryOrderSink(OrderSinkConformance):
    @pytest.fixture
    def stage(self) -> OrdersStage:
        return MemoryOrders()


IN_TIME = math.inf
APPLE = an_intent("AAPL", qty=10)
ID = APPLE.client_order_id


def try_to_place(sink: MemoryOrderSink, intent: OrderIntent = APPLE) -> SubmitOutcome:
    [outcome] = run_sync(sink.submit([intent], deadline=IN_TIME))
    return outcome


def record_of(sink: MemoryOrderSink, intent: OrderIntent = APPLE) -> LookUp:
    [answer] = run_sync(sink.look_up([Inquiry(intent)]))
    return answer


def report_of(sink: MemoryOrderSink) -> OrderReport:
    report = record_of(sink).report
    assert report is not None
    return report


def test_an_order_in_memory_is_filled_bit_by_bit() -> None:
    sink = MemoryOrderSink()
    try_to_place(sink)
    sink.fill(ID, qty=4, price=Decimal(3))
    sink.fill(ID, qty=2, price=Decimal(6))
    report = report_of(sink)
    assert (report.status, report.filled_qty) == ("partially_filled", Decimal(6))
    assert report.filled_avg_price == Decimal(4)
    for qty in (0, -1, 5):
        with pytest.raises(ValueError, match="cannot fill"):
            sink.fill(ID, qty=qty, price=Decimal(1))
    sink.fill(ID, price=Decimal(9))
    report = report_of(sink)
    assert (report.status, report.filled_qty) == ("filled", Decimal(10))
    assert report.filled_avg_price == Decimal(6)


def test_what_was_filled_of_an_order_in_memory_outlives_its_end() -> None:
    sink = MemoryOrderSink()
    try_to_place(sink)
    sink.fill(ID, qty=4, price=Decimal(3))
    sink.end(ID, "expired")
    assert (report_of(sink).status, report_of(sink).filled_qty) == ("expired", Decimal(4))
    sink.reject(ID)
    assert record_of(sink).kind is LookUpKind.REJECTED


def test_an_order_lost_on_its_way_may_arrive_later_and_is_still_one() -> None:
    sink = MemoryOrderSink()
    sink.script(APPLE.symbol, [Behaviour.LOSE_ORDER])
    try_to_place(sink)
    assert record_of(sink).kind is LookUpKind.ABSENT
    assert sink.on_the_way == (ID,)
    assert try_to_place(sink).kind is SubmitKind.ACCEPTED
    before = sink.ledger
    sink.arrive(ID)
    assert sink.ledger == before
    assert not sink.on_the_way
    assert sink.attempts == {ID: 2}


def test_a_blind_gateway_in_memory_takes_the_late_one_too() -> None:
    sink = MemoryOrderSink(is_id_blind=True)
    sink.script(APPLE.symbol, [Behaviour.LOSE_ORDER])
    try_to_place(sink)
    try_to_place(sink)
    sink.arrive(ID)
    assert [entry.intent for entry in sink.ledger.values()] == [APPLE, APPLE]


@pytest.mark.parametrize("behaviour", list(Behaviour))
def test_every_try_that_goes_out_is_counted(behaviour: Behaviour) -> None:
    sink = MemoryOrderSink()
    sink.script(APPLE.symbol, [behaviour])
    try_to_place(sink)
    assert sink.attempts.get(ID, 0) == (behaviour is not Behaviour.UNREACHABLE)


def test_what_reaches_no_gateway_in_memory_uses_up_no_script() -> None:
    sink = MemoryOrderSink(is_down=True)
    sink.script(APPLE.symbol, [Behaviour.REFUSE])
    outcome = try_to_place(sink)
    assert (outcome.kind, outcome.unreachable) == (SubmitKind.NOT_PLACED, True)
    with pytest.raises(Unavailable):
        run_sync(sink.safety_flags())
    sink.is_down = False
    assert try_to_place(sink).kind is SubmitKind.REJECTED


def test_a_dry_run_in_memory_is_on_record_and_in_no_ledger() -> None:
    sink = MemoryOrderSink(
        flags=SafetyFlags(dry_run=True, alpaca_paper=True, circuit_breaker_enabled=True)
    )
    try_to_place(sink)
    assert report_of(sink).status == "dry_run"
    assert not sink.ledger


def test_a_record_that_was_lost_lets_its_id_be_taken_again() -> None:
    sink = MemoryOrderSink()
    first = try_to_place(sink).report
    sink.forget(ID)
    second = try_to_place(sink).report
    assert first is not None
    assert second is not None
    assert first.broker_order_id != second.broker_order_id


def test_memory_positions_follow_fills() -> None:
    held = MemoryPositionSource()
    held.put([Position(Symbol("AAPL"), 5)])
    held.apply(an_intent("AAPL", qty=3))
    held.apply(an_intent("MSFT", qty=2, side=Side.SELL))
    positions = run_sync(held.positions())
    assert {symbol: position.qty for symbol, position in positions.items()} == {
        "AAPL": 8,
        "MSFT": -2,
    }
