"""The memory adapters of signals, orders and positions under their ports' suites."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
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
from orchestrator_core.errors import PortError
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import (
    OrderIntent,
    OrderReport,
    Position,
    SafetyFlags,
    Side,
    SignalBatch,
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
        self.source.put(positions)


class TestMemoryPositionSource(PositionSourceConformance):
    @pytest.fixture
    def stage(self) -> PositionsStage:
        return MemoryPositions()


@define
class MemoryOrders:
    sink: MemoryOrderSink = field(
        factory=lambda: MemoryOrderSink(clock=VirtualClock(datetime(2026, 3, 2, tzinfo=UTC)))
    )
    late: float = -math.inf

    async def script(self, symbol: Symbol, behaviours: Sequence[Behaviour]) -> None:
        self.sink.script(symbol, behaviours)

    async def ledger(self) -> Mapping[ClientOrderId, tuple[Symbol, Side, int]]:
        entries = self.sink.ledger.items()
        return {
            ClientOrderId(id_): (e.intent.symbol, e.intent.side, e.intent.qty) for id_, e in entries
        }

    async def claim(self, flags: SafetyFlags) -> None:
        self.sink.flags = flags

    async def go_blind(self) -> None:
        self.sink.is_id_blind = True

    async def say(self, report: OrderReport) -> None:
        self.sink.say(
            report.gateway_order_id,
            report.status,
            broker_order_id=report.broker_order_id,
            filled_qty=report.filled_qty,
            filled_avg_price=report.filled_avg_price,
            message=report.message,
        )

    async def garble(self, gateway_order_id: str, **fields: Any) -> None:
        self.sink.garble(gateway_order_id, **fields)

    async def forget(self, gateway_order_id: str) -> None:
        self.sink.forget(gateway_order_id)

    async def silence(self, intent: OrderIntent, silences: Sequence[Silence]) -> None:
        self.sink.silence(intent.symbol, silences)

    async def vanish(self) -> None:
        self.sink.is_down = True


class TestMemoryOrderSink(OrderSinkConformance):
    @pytest.fixture
    def stage(self) -> OrdersStage:
        return MemoryOrders()


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
