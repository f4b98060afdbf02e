"""A whole world in memory for runs: every port, with faults that a test may stage."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from attrs import define, evolve, field

from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.memory.kill_switch import MemoryKillSwitch
from orchestrator_adapters.memory.prices import MemoryPriceSource
from orchestrator_adapters.memory.runs import MemoryRunRepository
from orchestrator_core.commits import IdempotencyKey
from orchestrator_core.driver import run_sync
from orchestrator_core.engaging import initialise
from orchestrator_core.identifiers import RunId, StrategyId, Symbol
from orchestrator_core.kill_switch import Disengagement, Engagement
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.limits import Limits
from orchestrator_core.model import OrderIntent, OrderReport, Quote, SafetyFlags, SignalBatch
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import (
    CancelOutcome,
    Inquiry,
    LookUp,
    LookUpKind,
    RunPorts,
    RunRepository,
    SubmitKind,
    SubmitOutcome,
)
from orchestrator_core.requests import RunRequest
from orchestrator_core.runs import Run
from orchestrator_core.workflow import execute_run
from tests.unit.builders import NOW, a_batch, a_request, a_signal

Script = Callable[[OrderIntent], SubmitOutcome | None]

DRY = SafetyFlags(dry_run=True, alpaca_paper=True, circuit_breaker_enabled=True)


def accepted(intent: OrderIntent, *, status: str = "dry_run") -> SubmitOutcome:
    report = OrderReport(status, intent.client_order_id, broker_order_id=f"b-{intent.symbol}")
    return SubmitOutcome(intent.client_order_id, SubmitKind.ACCEPTED, report=report)


def outcome(kind: SubmitKind, **details: object) -> Script:
    def answer(intent: OrderIntent) -> SubmitOutcome:
        return SubmitOutcome(intent.client_order_id, kind, **details)  # type: ignore[arg-type]

    return answer


@define
class ScriptedSink:
    """A gateway that a test scripts by symbol, and that checks what it is given.

    Attributes:
        scripts: What becomes of a symbol's order; a list is used up, its last entry stays.
        waves: What was submitted, wave by wave.
        looks: What a look at a symbol's order brings; used up as scripts are. Otherwise orders that
            were sent are accepted, and others absent.
        look: Asked first, where there is one.
        stuck: Symbols whose orders cannot be canceled.
        before: Called with each wave before it is answered.
    """

    runs: RunRepository
    clock: VirtualClock
    flags: SafetyFlags = DRY
    scripts: dict[str, list[Script]] = field(factory=dict)
    waves: list[tuple[OrderIntent, ...]] = field(factory=list)
    looks: dict[str, list[LookUp]] = field(factory=dict)
    look: Callable[[OrderIntent], LookUp] | None = None
    looked_up: list[OrderIntent] = field(factory=list)
    canceled: list[OrderIntent] = field(factory=list)
    stuck: frozenset[str] = frozenset()
    before: Callable[[], None] = lambda: None
    delay: float = 0.0

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        registered = {
            order.client_order_id
            for order in await self.runs.open_orders()
            if order.state is OrderState.SENDING
        }
        assert {intent.client_order_id for intent in intents} <= registered, "sent unregistered"
        assert self.clock.monotonic() <= deadline
        self.waves.append(tuple(intents))
        self.before()
        self.clock.advance(self.delay)
        return [self._answer(intent) for intent in intents]

    def _answer(self, intent: OrderIntent) -> SubmitOutcome:
        scripts = self.scripts.get(intent.symbol)
        if not scripts:
            return accepted(intent)
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        return script(intent) or accepted(intent)

    async def look_up(self, inquiries: Sequence[Inquiry]) -> Sequence[LookUp]:
        return [self._look_up(inquiry.intent) for inquiry in inquiries]

    def _look_up(self, intent: OrderIntent) -> LookUp:
        id_ = intent.client_order_id
        self.looked_up.append(intent)
        if self.look is not None:
            return self.look(intent)
        answers = self.looks.get(intent.symbol)
        if answers:
            return answers.pop(0) if len(answers) > 1 else answers[0]
        if intent in self.sent:
            return LookUp(id_, LookUpKind.ACCEPTED, report=accepted(intent).report)
        return LookUp(id_, LookUpKind.ABSENT, cause="no such order")

    async def cancel(self, inquiries: Sequence[Inquiry]) -> Sequence[CancelOutcome]:
        self.canceled += [inquiry.intent for inquiry in inquiries]
        return [
            CancelOutcome(
                inquiry.intent.client_order_id, is_requested=inquiry.intent.symbol not in self.stuck
            )
            for inquiry in inquiries
        ]

    async def safety_flags(self) -> SafetyFlags:
        return self.flags

    @property
    def sent(self) -> list[OrderIntent]:
        return [intent for wave in self.waves for intent in wave]


@define
class FixedSignals:
    """Answers one batch, or raises."""

    batch: SignalBatch
    error: Exception | None = None
    asked: int = 0

    async def fetch(self, request: RunRequest) -> SignalBatch:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.batch


@define
class World:
    """Every port in memory, the kill switch initialised, a price for every symbol."""

    weights: Mapping[str, float]
    clock: VirtualClock = field(factory=lambda: VirtualClock(NOW))
    policy: RunPolicy = field(
        default=RunPolicy(
            environment="test",
            strategy_id=StrategyId("alpha"),
            limits=Limits(max_side_weight=Decimal(100)),
            claimed_flags=DRY,
            code_version="test",
        )
    )
    stopping: bool = False
    runs: MemoryRunRepository = field(init=False)
    kill_switch: MemoryKillSwitch = field(factory=MemoryKillSwitch, init=False)
    prices: MemoryPriceSource = field(factory=MemoryPriceSource, init=False)
    signals: FixedSignals = field(init=False)
    sink: ScriptedSink = field(init=False)
    ports: RunPorts = field(init=False)
    _run_count: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.runs = MemoryRunRepository(self.clock)
        self.sink = ScriptedSink(self.runs, self.clock)
        signals = [
            a_signal(symbol, weight, rank=rank)
            for rank, (symbol, weight) in enumerate(self.weights.items(), start=1)
        ]
        self.signals = FixedSignals(a_batch(signals))
        self.ports = RunPorts(
            signals=self.signals,
            prices=self.prices,
            sink=self.sink,
            runs=self.runs,
            kill_switch=self.kill_switch,
            clock=self.clock,
            stopping=lambda: self.stopping,
        )
        self.refresh_prices()
        self.release()

    def refresh_prices(self, price: str = "100") -> None:
        now = self.clock.now()
        self.prices.put(
            Quote(Symbol(symbol), Decimal(price), now, source="test") for symbol in self.weights
        )

    def release(self) -> None:
        run_sync(
            initialise(
                Disengagement("ops", self.clock.now()),
                kill_switch=self.kill_switch,
                runs=self.runs,
            )
        )

    def engage_shared(self) -> None:
        """Engage as another service does: in the shared state alone."""
        engagement = Engagement("other", "odd fills", self.clock.now())
        run_sync(self.kill_switch.engage(engagement, latch_epoch=None))

    def engage_latch(self) -> None:
        """Engage the latch alone, as an engage between a look and a claim would."""
        latch = run_sync(self.runs.read_latch())
        assert latch is not None
        raised = evolve(latch, engaged=True, epoch=latch.epoch + 1, reason="odd fills")
        assert run_sync(self.runs.swap_latch(latch, raised))

    def set_ports(self, **ports: Any) -> None:
        self.ports = evolve(self.ports, **ports)

    def script(self, symbol: str, *scripts: Script) -> None:
        self.sink.scripts[symbol] = list(scripts)

    def request(self, **varied: object) -> RunRequest:
        return a_request(list(self.weights), **varied)  # type: ignore[arg-type]

    def run(self, *, idempotency: IdempotencyKey | None = None, **varied: object) -> Run:
        """Make a run without an event loop."""
        return run_sync(self.start(idempotency=idempotency, **varied))

    async def start(self, *, idempotency: IdempotencyKey | None = None, **varied: object) -> Run:
        return await execute_run(
            self.request(**varied),
            run_id=self.next_run_id(),
            ports=self.ports,
            policy=self.policy,
            idempotency=idempotency,
        )

    def next_run_id(self) -> RunId:
        self._run_count += 1
        return RunId(UUID(int=self._run_count))

    def stored(self, number: int = 1) -> Run:
        run = run_sync(self.runs.get_run(RunId(UUID(int=number))))
        assert run is not None
        return run

    def states(self, number: int = 1) -> dict[str, str]:
        orders = self.stored(number).orders or ()
        return {order.signal.symbol: str(order.state) for order in orders}
