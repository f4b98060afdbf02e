"""Random worlds: many runs, a misbehaving gateway, moving prices, two hands on the switch."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.memory.kill_switch import MemoryKillSwitch
from orchestrator_adapters.memory.orders import Behaviour, MemoryOrderSink
from orchestrator_adapters.memory.prices import MemoryPriceSource
from orchestrator_adapters.memory.runs import MemoryRunRepository
from orchestrator_core.driver import run_sync
from orchestrator_core.engaging import AlreadyInState, disengage, engage, initialise
from orchestrator_core.errors import TradingHalted
from orchestrator_core.halting import follow, read_switch
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId, Symbol
from orchestrator_core.kill_switch import FIRST_EPOCH, Disengagement, Engagement
from orchestrator_core.lifecycle import HOLDS_ID, OPEN, OrderState, RunStatus, run_status
from orchestrator_core.limits import Limits
from orchestrator_core.model import Quote, SafetyFlags, SignalBatch
from orchestrator_core.orders import Order
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import RunPorts
from orchestrator_core.requests import RunRequest
from orchestrator_core.runs import Run, RunFilter
from orchestrator_core.workflow import execute_run
from tests.unit.builders import NOW, a_batch, a_signal

PAPER = SafetyFlags(dry_run=False, alpaca_paper=True, circuit_breaker_enabled=True)
SYMBOLS = [Symbol(name) for name in ("A", "B", "C", "D")]
CAP = Decimal(20_000)

POLICY = RunPolicy(
    environment="test",
    strategy_id=StrategyId("alpha"),
    limits=Limits(max_order_qty=500),
    claimed_flags=PAPER,
    code_version="test",
    max_in_flight_orders=2,
    owner_wait_seconds=0.1,
)

PRICES = ["99.99", "100", "50", "20000.01"]

weights = st.dictionaries(
    st.sampled_from(SYMBOLS), st.sampled_from([0.25, -0.25, 0.2, 0.0]), min_size=1
)


class Signals:
    """Answers what the machine drew for this run."""

    def __init__(self) -> None:
        self.batch = a_batch([])

    async def fetch(self, request: RunRequest) -> SignalBatch:
        return self.batch


class Desk(RuleBasedStateMachine):
    """One service over memory, driven by whatever a desk's days bring."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = VirtualClock(NOW)
        self.runs = MemoryRunRepository(self.clock)
        self.kill_switch = MemoryKillSwitch()
        self.prices = MemoryPriceSource()
        self.sink = MemoryOrderSink(flags=PAPER, clock=self.clock)
        self.signals = Signals()
        self.count = 0
        self.halted = False
        self.ports = RunPorts(
            signals=self.signals,
            prices=self.prices,
            sink=self.sink,
            runs=self.runs,
            kill_switch=self.kill_switch,
            clock=self.clock,
        )
        run_sync(initialise(self._letting_go(), kill_switch=self.kill_switch, runs=self.runs))
        self.first_active = self.kill_switch.get_text()

    def _letting_go(self) -> Disengagement:
        return Disengagement("ops", self.clock.now())

    @rule(seconds=st.sampled_from([1, 20, 40]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(
        symbol=st.sampled_from(SYMBOLS),
        behaviours=st.lists(st.sampled_from(Behaviour), min_size=1, max_size=3),
    )
    def the_gateway_will_misbehave(self, symbol: Symbol, behaviours: list[Behaviour]) -> None:
        self.sink.script(symbol, behaviours)

    @rule(
        weights=weights,
        day=st.integers(0, 1),
        key=st.sampled_from(["", "noon"]),
        prices=st.none() | st.lists(st.sampled_from(PRICES), min_size=4, max_size=4),
        dry_run=st.sampled_from([False, False, False, True]),
    )
    def a_run_is_asked_for(
        self,
        weights: dict[Symbol, float],
        day: int,
        key: str,
        prices: list[str] | None,
        dry_run: bool,
    ) -> None:
        for symbol, price in zip(SYMBOLS, prices or (), strict=prices is not None):
            self.prices.put([Quote(symbol, Decimal(price), self.clock.now(), source="test")])
        date = NOW.date() + timedelta(days=day)
        signals = [a_signal(symbol, weight) for symbol, weight in weights.items()]
        self.signals.batch = a_batch(signals, as_of_date=date)
        request = RunRequest(tuple(SYMBOLS), date, Decimal(100_000), CAP, dry_run, key)
        self.count += 1
        placed = len(self.sink.ledger)
        run_id = RunId(UUID(int=self.count))
        try:
            run = run_sync(execute_run(request, run_id=run_id, ports=self.ports, policy=POLICY))
        except TradingHalted:
            assert self.halted
            assert len(self.sink.ledger) == placed
        else:
            assert not self.halted
            assert run == run_sync(self.runs.get_run(run_id))
            if dry_run:
                assert len(self.sink.ledger) == placed

    @rule(again=st.booleans())
    def an_operator_engages(self, again: bool) -> None:
        if self.halted and not again:
            return
        engagement = Engagement("ops", "odd fills", self.clock.now())
        try:
            answer = run_sync(
                engage(
                    engagement,
                    kill_switch=self.kill_switch,
                    runs=self.runs,
                    clock=self.clock,
                    wait_seconds=0.1,
                )
            )
        except AlreadyInState:
            assert self.halted
        else:
            assert answer.durable
            assert answer.shared
            assert answer.drained == (not self._states({OrderState.SENDING, OrderState.UNKNOWN}))
        self.halted = True

    @rule()
    def another_service_engages(self) -> None:
        engagement = Engagement("other", "odd fills", self.clock.now())
        run_sync(self.kill_switch.engage(engagement, latch_epoch=None))
        run_sync(self._look_between_runs())
        self.halted = True

    async def _look_between_runs(self) -> None:
        reading = await read_switch(self.kill_switch, self.runs)
        await follow(reading, self.kill_switch, self.runs, self.clock)

    @precondition(lambda self: self.halted)
    @rule()
    def an_operator_disengages(self) -> None:
        run_sync(disengage(self._letting_go(), kill_switch=self.kill_switch, runs=self.runs))
        self.halted = False

    @precondition(lambda self: self.halted)
    @rule()
    def the_shared_state_is_flushed(self) -> None:
        self.kill_switch.put_text(None)

    @rule()
    def the_shared_state_falls_back_to_an_old_copy(self) -> None:
        self.kill_switch.put_text(self.first_active)
        latch = run_sync(self.runs.read_latch())
        assert latch is not None
        self.halted = self.halted or latch.epoch != FIRST_EPOCH

    def _all_runs(self) -> list[Run]:
        listed = run_sync(self.runs.list_runs(RunFilter(), limit=1_000, offset=0)).runs
        found = [run_sync(self.runs.get_run(summary.run_id)) for summary in listed]
        return [run for run in found if run is not None]

    def _orders(self) -> list[Order]:
        return [order for run in self._all_runs() for order in run.orders or ()]

    def _states(self, states: set[OrderState]) -> list[Order]:
        return [order for order in self._orders() if order.state in states]

    @invariant()
    def every_id_is_held_once_and_the_ledger_agrees(self) -> None:
        holders: dict[ClientOrderId, Order] = {}
        for order in self._orders():
            if order.intent is not None and order.state in HOLDS_ID:
                assert order.intent.client_order_id not in holders
                holders[order.intent.client_order_id] = order
        for id_, entry in self.sink.ledger.items():
            assert holders[id_].intent == entry.intent
            assert holders[id_].state in {OrderState.ACCEPTED, OrderState.UNKNOWN}

    @invariant()
    def a_decision_has_one_order_a_symbol(self) -> None:
        decided = [
            (run.as_of_date, run.request.rebalance_key, order.signal.symbol)
            for run in self._all_runs()
            for order in run.orders or ()
            if order.intent is not None
            and order.owner is None
            and order.intent.client_order_id in self.sink.ledger
            and order.state in HOLDS_ID
        ]
        assert len(decided) == len(set(decided))

    @invariant()
    def nothing_exceeds_its_cap(self) -> None:
        for order in self._orders():
            if order.intent is not None and order.state is OrderState.ACCEPTED:
                assert order.intent.qty <= 500
                assert order.intent.qty * Decimal(50) <= CAP

    @invariant()
    def every_status_is_true(self) -> None:
        for run in self._all_runs():
            if run.orders is None:
                continue
            assert run.status is run_status(run.tally)
            is_open = any(order.standing.state in OPEN for order in run.orders)
            assert (run.status is RunStatus.RUNNING) == is_open
            assert (run.completed_at is None) == is_open


TestDesk = Desk.TestCase
TestDesk.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
