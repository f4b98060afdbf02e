"""What a backtest plays the service's peers with, under their ports' suites."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from attrs import define, field

from orchestrator_adapters.conformance.orders import OrderSinkConformance, OrdersStage
from orchestrator_adapters.conformance.positions import PositionSourceConformance, PositionsStage
from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_core.model import Position
from orchestrator_core.ports import OrderSink
from orchestrator_entrypoints.backtests.account import Account
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.gateway import SimulatedGateway
from tests.unit.test_conformance_memory_peers import MemoryOrders


@define
class HeldAccount:
    source: Account = field(factory=lambda: Account(Decimal(0)))

    async def hold(self, positions: Sequence[Position]) -> None:
        # As fills leave it: it holds no position of no shares.
        self.source.shares = {each.symbol: each.qty for each in positions if each.qty}


class TestAccount(PositionSourceConformance):
    @pytest.fixture
    def stage(self) -> PositionsStage:
        return HeldAccount()


def a_gateway() -> SimulatedGateway:
    """Return a gateway at which nothing fills: what is said of an order is then the stage's."""
    clock = VirtualClock(datetime(2026, 3, 2, tzinfo=UTC))
    gateway = SimulatedGateway(FillModel(partial_rate=1, partial_fraction=0), clock)
    gateway.open_day(defaultdict(lambda: Decimal(1)), ())
    return gateway


@define
class SimulatedOrders(MemoryOrders):
    """The ledger behind a simulated gateway, set as that of the memory adapter is."""

    gateway: SimulatedGateway = field(factory=a_gateway)

    def __attrs_post_init__(self) -> None:
        self.memory = self.gateway.ledger

    @property
    def sink(self) -> OrderSink:
        return self.gateway


class TestSimulatedGateway(OrderSinkConformance):
    @pytest.fixture
    def stage(self) -> OrdersStage:
        return SimulatedOrders()
