"""A trading desk in simulation: stores, gateway, replicas, clients and operators."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import UUID

from attrs import evolve, frozen

from orchestrator_adapters.memory.orders import PAPER, MemoryOrderSink
from orchestrator_adapters.memory.signals import MemorySignalSource
from orchestrator_adapters.simulation import people
from orchestrator_adapters.simulation.checker import Checker, Reach, waits_only_for
from orchestrator_adapters.simulation.faults import FaultKind
from orchestrator_adapters.simulation.interposed import (
    ECHO_SECONDS,
    Boundary,
    InterposedSink,
    InTurn,
    interposed,
)
from orchestrator_adapters.simulation.loop import Actor, Call, Loop, Process, ProcessClock
from orchestrator_adapters.simulation.stores import (
    PRICE,
    LedgerPositions,
    MovingPrices,
    SharedStore,
    SimulatedRuns,
)
from orchestrator_core.commits import IdempotencyKey
from orchestrator_core.driver import run_sync
from orchestrator_core.engaging import disengage, engage, initialise
from orchestrator_core.errors import OrchestratorError
from orchestrator_core.identifiers import RunId, StrategyId, Symbol
from orchestrator_core.kill_switch import Disengagement, Engagement
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.limits import Limits
from orchestrator_core.model import OrderIntent, Signal, SignalBatch
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import RunPorts
from orchestrator_core.requests import RunRequest
from orchestrator_core.resolving import RESOLVABLE, Resolution, resolve_order
from orchestrator_core.sizing import SizingRules
from orchestrator_core.workflow import execute_run

START = datetime(2026, 3, 2, 15, tzinfo=UTC)
TODAY = START.date()
ALPHA = StrategyId("alpha")

# Sells and buys: a run takes two waves.
WEIGHTS = {"A": -0.2, "B": 0.2, "C": 0.15}
CAPITAL = Decimal(100_000)
CAP = Decimal(20_000)

POLICY = RunPolicy(
    environment="simulation",
    strategy_id=ALPHA,
    limits=Limits(),
    claimed_flags=PAPER,
    code_version="simulation",
    send_window_seconds=2.0,
    lease_seconds=20.0,
    persist_seconds=5.0,
    owner_wait_seconds=1.0,
    unresolved_after_seconds=60.0,
)

# Longer than outcomes are tried to be recorded, and over before the price of a resend is stale.
OUTAGE_SECONDS = 15.0
CLOCK_JUMP_SECONDS = 120.0
# The operator who let go in the past had a clock that ran ahead.
FAST_CLOCK = timedelta(hours=1)
RESTART_SECONDS = 5.0
# Recovery's first round comes just after a lease given at the start has ended.
REST_SECONDS = 21.0
FILL_SECONDS = 0.5
DRIFT_SHARES = 30
ENGAGE_WAIT_SECONDS = 3.0

_PORTS_DOWN = {
    FaultKind.DATABASE_DOWN: "runs",
    FaultKind.SHARED_DOWN: "kill_switch",
    FaultKind.GATEWAY_DOWN: "orders",
}


@frozen(eq=False)
class Replica:
    """One process of the service."""

    process: Process
    ports: RunPorts
    policy: RunPolicy


class World:
    """Everything outside the core, on one virtual time.

    Attributes:
        checker: Holds the world to what is promised.
        asked: Requests of clients and orders of operators, as actors.
        replicas: Those alive.
    """

    def __init__(
        self,
        *,
        weights: Mapping[str, float] | None = None,
        policy: RunPolicy = POLICY,
        engage_wait_seconds: float = ENGAGE_WAIT_SECONDS,
        fills: bool = True,
        held: Mapping[str, int] | None = None,
    ) -> None:
        """Lay out the desk; no replica is started yet.

        Args:
            weights: Of each symbol, in every batch of signals.
            policy: How every replica runs.
            engage_wait_seconds: How long an engagement waits for what is on the wire.
            fills: Whether orders fill; else they stand until they are canceled.
            held: Shares of each symbol at first; None where nothing depends on them.
        """
        self.loop = Loop(START, on_kill=self._bury)
        self.policy = policy
        self.engage_wait_seconds = engage_wait_seconds
        self.fills = fills
        self.weights = dict(WEIGHTS if weights is None else weights)
        self.runs = SimulatedRuns(ProcessClock(self.loop, Process("database")))
        self.shared = SharedStore()
        self.gateway = MemoryOrderSink(flags=PAPER)
        self.prices = MovingPrices(self.loop)
        self.account = None if held is None else LedgerPositions(self.gateway, held)
        self.checker = Checker(self.loop, self.runs, self.gateway, self._reach_of())
        self.asked: list[Actor] = []
        self.replicas: list[Replica] = []
        self._down_until: dict[str, float] = {}
        self._names = 0
        self._lay_the_past()

    def _reach_of(self) -> Reach | None:
        """Return what the account may come to: from what is held, to the targets at most."""
        if self.account is None:
            return None
        shares = float(CAPITAL / PRICE)
        ends = {
            Symbol(symbol): (self.account.held.get(symbol, 0), int(weight * shares))
            for symbol, weight in self.weights.items()
        }
        return Reach(self.account, ends, DRIFT_SHARES)

    # Replicas

    def start_replica(
        self, *, strategy: StrategyId = ALPHA, rests_seconds: float = REST_SECONDS
    ) -> Replica:
        """Start a process of the service, its loops included."""
        process = Process(self._next_name("replica"))
        policy = evolve(self.policy, strategy_id=strategy)
        replica = Replica(process, self._ports(process), policy)
        self.replicas.append(replica)
        tending = people.tend(replica.ports, policy, rests_seconds=rests_seconds)
        self.loop.spawn(f"{process.name} tends", process, tending)
        return replica

    def _ports(self, process: Process) -> RunPorts:
        boundary = Boundary(self, process)
        return RunPorts(
            signals=interposed(MemorySignalSource(self._batch_for), "signals", boundary),
            prices=interposed(self.prices, "prices", boundary),
            sink=InterposedSink(self.gateway, boundary),
            runs=interposed(self.runs, "runs", boundary),
            kill_switch=interposed(self.shared.switch, "kill_switch", boundary),
            clock=ProcessClock(self.loop, process),
            together=InTurn(),
            positions=None
            if self.account is None
            else interposed(self.account, "positions", boundary),
        )

    def _batch_for(self, request: RunRequest) -> SignalBatch:
        wanted = set(request.symbols)
        signals = tuple(
            Signal(Symbol(symbol), predicted_return=0.01, rank=rank, target_weight=weight)
            for rank, (symbol, weight) in enumerate(self.weights.items(), start=1)
            if symbol in wanted
        )
        as_of_date = request.as_of_date or TODAY
        return SignalBatch(signals, as_of_date, num_signals=len(signals))

    def _bury(self, process: Process) -> None:
        """Start a process again some time after it died."""
        for dead in [replica for replica in self.replicas if replica.process is process]:
            self.replicas.remove(dead)
            self.loop.later(RESTART_SECONDS, partial(self._restart, dead.policy.strategy_id))

    def _restart(self, strategy: StrategyId) -> None:
        self.start_replica(strategy=strategy, rests_seconds=0.0)

    # Clients and operators

    def ask(
        self,
        replica: Replica,
        *,
        as_of_date: date = TODAY,
        rebalance_key: str = "",
        idempotency: IdempotencyKey | None = None,
    ) -> Actor:
        """Let a client ask a replica for a run."""
        request = a_request(self.weights, as_of_date=as_of_date, rebalance_key=rebalance_key)
        name = self._next_name("run")
        run_id = RunId(UUID(int=self._names))
        running = execute_run(
            request,
            run_id=run_id,
            ports=replica.ports,
            policy=replica.policy,
            idempotency=idempotency,
        )
        actor = self._watch(self.loop.spawn(name, replica.process, running))
        actor.subject = run_id
        return actor

    def engage(self, replica: Replica, *, cancels: bool = False) -> Actor:
        """Let an operator stop trading through a replica, and cancel what is live if told so."""
        name = self._next_name("operator")
        engaging = people.stop_trading(
            name,
            replica.ports,
            self.checker.see_engaged,
            wait_seconds=self.engage_wait_seconds,
            cancels=cancels,
        )
        return self._watch(self.loop.spawn(name, replica.process, engaging))

    def disengage(self, replica: Replica) -> Actor:
        """Let an operator release trading through a replica."""
        name = self._next_name("operator")
        releasing = people.let_trade(name, replica.ports)
        return self._watch(self.loop.spawn(name, replica.process, releasing))

    def _watch(self, actor: Actor) -> Actor:
        self.asked.append(actor)
        return actor

    def _next_name(self, what: str) -> str:
        self._names += 1
        return f"{what} {self._names}"

    # What boundaries need to know

    def is_down(self, port: str) -> bool:
        """Whether the port cannot be reached now."""
        return self.loop.now < self._down_until.get(port, 0.0)

    def note_call(self, process: Process, call: Call, answer: object) -> None:
        """Let the checker, and the broker, see what a call did."""
        self.loop.trace(process.name, call, type(answer).__name__)
        self.checker.see_call(call, answer)
        if call.operation == "submit":
            self.loop.later(FILL_SECONDS, self._fill)

    def begin_post(self, process: Process, intent: OrderIntent) -> None:
        """Let the checker see the bytes of an order leave."""
        self.loop.trace(process.name, "post", intent.client_order_id)
        self.checker.see_post(intent)

    def echo(self, call: Call, perform: Callable[[], Awaitable[object]]) -> None:
        """Let a store be given once more, later, what it was given before."""

        def arrive() -> None:
            self.loop.trace("network", "echo", call)
            # Nobody hears what the store says to it.
            with suppress(OrchestratorError):
                run_sync(_made(perform))

        self.loop.later(ECHO_SECONDS, arrive)

    def deliver_late(self, intent: OrderIntent, seconds: float) -> None:
        """Let an order arrive after that long."""
        self.checker.on_the_way.append(intent.client_order_id)
        self.loop.later(seconds, lambda: self._arrive(intent))

    def _arrive(self, intent: OrderIntent) -> None:
        self.loop.trace("gateway", "late", intent.client_order_id)
        self.checker.on_the_way.remove(intent.client_order_id)
        run_sync(self.gateway.submit([intent], deadline=float("inf")))
        self.checker.see_ledger()
        self.loop.later(FILL_SECONDS, self._fill)

    def _fill(self) -> None:
        for id_, entry in self.gateway.ledger.items():
            if self.fills and entry.report.status == "accepted":
                self.gateway.fill(id_, price=PRICE)

    # World events

    def happen(self, kind: FaultKind, process: Process) -> None:
        """Let a world event happen, in the middle of what a process does."""
        self.loop.trace("world", kind.name)
        match kind:
            case FaultKind.FLUSH:
                self.shared.flush()
            case FaultKind.OLD_COPY:
                self.shared.fall_back()
            case FaultKind.CLOCK_AHEAD:
                process.skew_seconds += CLOCK_JUMP_SECONDS
            case FaultKind.CLOCK_BACK:
                process.skew_seconds -= CLOCK_JUMP_SECONDS
            case FaultKind.ENGAGE:
                self.engage(self.living(but=process))
            case FaultKind.FOREIGN_ENGAGE:
                self.engage_elsewhere()
            case FaultKind.DATABASE_DOWN | FaultKind.SHARED_DOWN | FaultKind.GATEWAY_DOWN:
                self._down_until[_PORTS_DOWN[kind]] = self.loop.now + OUTAGE_SECONDS
            case _:
                raise ValueError(f"{kind.name} is no world event")

    def living(self, *, but: Process | None = None) -> Replica:
        """Return a replica that lives and is another process than that one."""
        others = [replica for replica in self.replicas if replica.process is not but]
        return others[-1] if others else self.start_replica()

    def engage_elsewhere(self) -> None:
        """Let another service stop trading, in the shared store alone."""
        engagement = Engagement("another service", "odd fills", self.loop.time_of_day())
        run_sync(self.shared.switch.engage(engagement, latch_epoch=None))

    # The past, and the end

    def _lay_the_past(self) -> None:
        """Let the desk have a history: an old copy of the switch, and an order of yesterday."""
        ports = self._plain_ports()
        switch, runs, now = self.shared.switch, self.runs, self.loop.time_of_day()
        first = Disengagement("first", now + FAST_CLOCK)
        run_sync(initialise(first, kill_switch=switch, runs=runs))
        self.shared.keep_copy()
        drill = Engagement("earlier", "a drill", now)
        run_sync(engage(drill, kill_switch=switch, runs=runs, clock=ports.clock, wait_seconds=0.0))
        after = Disengagement("earlier", now + FAST_CLOCK)
        run_sync(disengage(after, kill_switch=switch, runs=runs))
        request = a_request(self.weights, as_of_date=TODAY - timedelta(days=1))
        run_id = RunId(UUID(int=0))
        policy = evolve(self.policy, sizing=SizingRules())
        run_sync(execute_run(request, run_id=run_id, ports=ports, policy=policy))
        self._fill()
        if self.account is not None:
            self.account.past.update(self.gateway.ledger)

    def _plain_ports(self) -> RunPorts:
        """Return ports without boundaries: nothing goes wrong there, and no time passes."""
        return RunPorts(
            signals=MemorySignalSource(self._batch_for),
            prices=self.prices,
            sink=self.gateway,
            runs=self.runs,
            kill_switch=self.shared.switch,
            clock=ProcessClock(self.loop, Process("outside")),
            positions=self.account,
        )

    def fingerprint(self) -> str:
        """Return a text that is equal for worlds that no actor can tell apart."""
        ledger = [(e.intent, e.report) for e in self.gateway.ledger.values()]
        return repr(
            (
                self.runs.fingerprint(),
                self.shared.fingerprint(),
                ledger,
                self.checker.on_the_way,
                self.checker.is_fenced,
                self.loop.now,
            )
        )

    def is_settled(self) -> bool:
        """Whether nothing more is to happen but what an operator does."""
        if self.loop.has_timers or not all(actor.is_done for actor in self.asked):
            return False
        if not all(waits_only_for(run, RESOLVABLE) for run in self.runs.all_runs()):
            return False
        return self._fills_are_known()

    def _fills_are_known(self) -> bool:
        known = self.runs.reports()
        for entry in self.gateway.ledger.values():
            report = known.get(entry.intent.client_order_id)
            if report is not None and report.status != entry.report.status:
                return False
        return True

    def close_by_hand(self) -> int:
        """Let an operator close what waits for one, by the gateway's own book; return how many."""
        waiting = [o for o in run_sync(self.runs.open_orders()) if o.state in RESOLVABLE]
        for order in waiting:
            is_placed = order.client_order_id in self.gateway.ledger
            resolution = Resolution(
                order.client_order_id,
                OrderState.ACCEPTED if is_placed else OrderState.NOT_PLACED,
                operator="ops",
                evidence="the broker's statement",
            )
            policy = evolve(self.policy, strategy_id=self.runs.strategy_of(order.run_id))
            run_sync(resolve_order(resolution, ports=self._plain_ports(), policy=policy))
        return len(waiting)


async def _made(perform: Callable[[], Awaitable[object]]) -> object:
    return await perform()


def a_request(
    symbols: Mapping[str, float], *, as_of_date: date, rebalance_key: str = ""
) -> RunRequest:
    """Return a request for all of these symbols."""
    names = tuple(Symbol(symbol) for symbol in symbols)
    return RunRequest(names, as_of_date, CAPITAL, CAP, rebalance_key=rebalance_key)
