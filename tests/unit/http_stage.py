"""The HTTP service over parts in memory, and ways to let each part fail or hang."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import httpx
from attrs import define, field

from orchestrator_adapters.event_loop import SystemClock, at_once
from orchestrator_adapters.memory.breaker import MemoryCircuitBreaker
from orchestrator_adapters.memory.kill_switch import MemoryKillSwitch
from orchestrator_adapters.memory.orders import MemoryOrderSink
from orchestrator_adapters.memory.positions import MemoryPositionSource
from orchestrator_adapters.memory.prices import MemoryPriceSource
from orchestrator_adapters.memory.runs import MemoryRunRepository
from orchestrator_adapters.memory.signals import MemorySignalSource
from orchestrator_core.driver import run_sync
from orchestrator_core.engaging import initialise
from orchestrator_core.errors import PortError, Unavailable
from orchestrator_core.identifiers import Symbol
from orchestrator_core.kill_switch import Disengagement
from orchestrator_core.model import Quote, Signal, SignalBatch
from orchestrator_core.ports import RunPorts
from orchestrator_core.requests import RunRequest
from orchestrator_entrypoints.app import create_app
from orchestrator_entrypoints.metrics import Metrics
from orchestrator_entrypoints.observed import (
    ObservedKillSwitch,
    ObservedPositions,
    ObservedPrices,
    ObservedRuns,
    ObservedSignals,
    ObservedSink,
)
from orchestrator_entrypoints.orchestrator import Orchestrator, StopFlag
from orchestrator_entrypoints.policies import request_policy, run_policy
from orchestrator_entrypoints.settings import read_settings
from tests.unit.builders import TODAY

RUN = "/api/v1/orchestration/run"
RUNS = "/api/v1/orchestration/runs"
ENGAGE = "/api/v1/kill-switch/engage"
DISENGAGE = "/api/v1/kill-switch/disengage"
STATUS = "/api/v1/kill-switch/status"
HISTORY = "/api/v1/kill-switch/history"
CONTROLS = "/api/v1/controls"
REDUCE_ONLY = "/api/v1/controls/reduce-only"
REARM = "/api/v1/controls/rearm"


@define(eq=False)
class Faulty:
    """A part, with what goes wrong at its next calls.

    Attributes:
        inner: The part itself.
        error: Raised by every call of an operation in `only`; of every operation where that is
            empty.
        hangs: Every such call waits for ever.
        gate: Every such call waits for it first.
    """

    inner: Any
    error: BaseException | None = None
    hangs: bool = False
    gate: asyncio.Event | None = None
    only: frozenset[str] = frozenset()
    _reached: dict[str, asyncio.Event] = field(factory=dict, init=False)

    def __getattr__(self, name: str) -> Any:
        part = getattr(self.inner, name)
        if not asyncio.iscoroutinefunction(part):
            return part

        async def call(*args: Any, **named: Any) -> Any:
            self._call_of(name).set()
            if not self.only or name in self.only:
                if self.gate is not None:
                    await self.gate.wait()
                if self.hangs:
                    await asyncio.Event().wait()
                if self.error is not None:
                    raise self.error
            return await part(*args, **named)

        return call

    def _call_of(self, name: str) -> asyncio.Event:
        return self._reached.setdefault(name, asyncio.Event())

    async def called(self, name: str) -> None:
        """Return once the operation was called."""
        async with asyncio.timeout(5):
            await self._call_of(name).wait()

    def works(self) -> None:
        self.error, self.hangs, self.gate, self.only = None, False, None, frozenset()


def answer_signals(weights: Mapping[str, float]) -> Callable[[RunRequest], SignalBatch]:
    def answer(request: RunRequest) -> SignalBatch:
        signals = tuple(
            Signal(symbol, 0.01, rank, weights.get(symbol, 0.05))
            for rank, symbol in enumerate(request.symbols, start=1)
        )
        day = request.as_of_date or TODAY
        return SignalBatch(signals, day, len(signals), {"model_version": "m1"})

    return answer


@define(eq=False)
class Stage:
    """One service and its parts.

    Attributes:
        sink: The gateway's ledger and script.
        peers: Whether the Signal Service and the gateway say that they are ready.
    """

    orchestrator: Orchestrator
    client: httpx.AsyncClient
    sink: MemoryOrderSink
    switch: MemoryKillSwitch
    prices: MemoryPriceSource
    positions: MemoryPositionSource
    breaker: MemoryCircuitBreaker
    faulty_runs: Faulty
    faulty_switch: Faulty
    faulty_signals: Faulty
    faulty_prices: Faulty
    faulty_positions: Faulty
    faulty_sink: Faulty
    faulty_peers: dict[str, Faulty]

    async def run(self, *symbols: str, **fields: Any) -> httpx.Response:
        headers = fields.pop("headers", {})
        body = {"symbols": symbols or ("AAPL", "MSFT"), **fields}
        return await self.client.post(RUN, json=body, headers=headers)

    async def engage(self, reason: str = "drill", operator: str = "ann") -> httpx.Response:
        return await self.client.post(ENGAGE, json={"reason": reason, "operator": operator})

    async def disengage(self, operator: str = "bob") -> httpx.Response:
        return await self.client.post(DISENGAGE, json={"operator": operator})

    async def stored(self) -> int:
        self.faulty_runs.works()
        total = (await self.client.get(RUNS)).json()["total"]
        assert isinstance(total, int)
        return total

    async def settled(self) -> dict[str, Any]:
        """Return the only run, once it is no longer running."""
        async with asyncio.timeout(5):
            while True:
                [row] = (await self.client.get(RUNS)).json()["runs"]
                if row["status"] != "running":
                    shown: dict[str, Any] = (
                        await self.client.get(f"{RUNS}/{row['run_id']}")
                    ).json()
                    return shown
                await asyncio.sleep(0.005)

    def count(self, sample: str, **labels: str) -> float:
        return self.orchestrator.metrics.registry.get_sample_value(sample, labels) or 0.0


class Peer:
    async def ask(self) -> None:
        return


SWIFT = {"KILL_SWITCH_DRAIN_SECONDS": "0.2", "REQUEST_RECEIVE_SECONDS": "0.2"}


@asynccontextmanager
async def a_stage(
    weights: Mapping[str, float] | None = None, **environ: str
) -> AsyncIterator[Stage]:
    settings = read_settings({**SWIFT, "ALPACA_PAPER": "true", "DRY_RUN": "false", **environ})
    clock, metrics, stop = SystemClock(), Metrics(), StopFlag()
    runs, switch = MemoryRunRepository(clock), MemoryKillSwitch()
    run_sync(initialise(Disengagement("setup", clock.now()), kill_switch=switch, runs=runs))
    prices, sink, breaker = MemoryPriceSource(), MemoryOrderSink(), MemoryCircuitBreaker()
    prices.put(
        Quote(Symbol(symbol), Decimal(100), clock.now(), "test") for symbol in ("AAPL", "MSFT")
    )
    faulty_runs, faulty_switch, faulty_sink = Faulty(runs), Faulty(switch), Faulty(sink)
    faulty_signals = Faulty(MemorySignalSource(answer_signals(weights or {})))
    positions = MemoryPositionSource()
    faulty_prices, faulty_positions = Faulty(prices), Faulty(positions)
    peers = {"signals": Faulty(Peer()), "gateway": Faulty(Peer())}

    async def nothing() -> None:
        return

    orchestrator = Orchestrator(
        settings=settings,
        ports=RunPorts(
            signals=ObservedSignals(faulty_signals, metrics),
            prices=ObservedPrices(faulty_prices, metrics),
            sink=ObservedSink(faulty_sink, metrics),
            runs=ObservedRuns(faulty_runs, metrics),
            kill_switch=ObservedKillSwitch(faulty_switch, metrics),
            clock=clock,
            breaker=breaker,
            positions=ObservedPositions(faulty_positions, metrics),
            together=at_once,
            stopping=lambda: stop.is_set,
        ),
        policy=run_policy(settings),
        request_policy=request_policy(settings),
        metrics=metrics,
        stop=stop,
        ask_signal_service=peers["signals"].ask,
        ask_gateway=peers["gateway"].ask,
        prepare=nothing,
        aclose=nothing,
    )
    transport = httpx.ASGITransport(create_app(orchestrator))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield Stage(
            orchestrator=orchestrator,
            client=client,
            sink=sink,
            switch=switch,
            prices=prices,
            positions=positions,
            breaker=breaker,
            faulty_runs=faulty_runs,
            faulty_switch=faulty_switch,
            faulty_signals=faulty_signals,
            faulty_prices=faulty_prices,
            faulty_positions=faulty_positions,
            faulty_sink=faulty_sink,
            faulty_peers=peers,
        )


def unavailable(port: str = "runs", cause: str = "connection refused") -> PortError:
    return Unavailable(port, "anything", cause)
