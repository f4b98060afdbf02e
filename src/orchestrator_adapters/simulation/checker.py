"""What is promised, checked while a simulated world goes on, and at its end.

A violation is kept, not raised: the core must not be able to swallow it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from attrs import define, field, frozen

from orchestrator_adapters.memory.orders import LedgerEntry, MemoryOrderSink
from orchestrator_adapters.simulation.loop import Actor, Call, Loop
from orchestrator_adapters.simulation.stores import LedgerPositions, SimulatedRuns
from orchestrator_core.commits import ClaimAnswer, PlanCommit
from orchestrator_core.engaging import EngageAnswer
from orchestrator_core.errors import OrchestratorError
from orchestrator_core.identifiers import ClientOrderId, RunId, Symbol
from orchestrator_core.kill_switch import KillSwitchState, SwitchState
from orchestrator_core.lifecycle import HOLDS_ID, OPEN, OrderState, RunStatus, run_status
from orchestrator_core.model import OrderIntent
from orchestrator_core.orders import Order
from orchestrator_core.ports import SwitchChange
from orchestrator_core.runs import Run, basket_refusal

# Orders that the gateway must not have.
NEVER_PLACED = frozenset({OrderState.NOT_PLACED, OrderState.HALTED, OrderState.SKIPPED})
# What a client was told and may hold us to.
FINAL = frozenset(
    {OrderState.ACCEPTED, OrderState.REJECTED, OrderState.NOT_PLACED, OrderState.HALTED}
)


@frozen
class Reach:
    """How far an account may come.

    Attributes:
        account: What is held, and may still be filled.
        ends: The shares of each symbol at first, and those wanted at most; below zero when short.
        drift: Shares that a moving price may take off again.
    """

    account: LedgerPositions
    ends: Mapping[Symbol, tuple[int, int]]
    drift: int


@define
class Checker:
    """Watches one world.

    Attributes:
        reach: How far the account may come; None where nobody counts.
        violations: What was broken, in words.
        on_the_way: Orders that have left and not arrived.
        fence: Epoch of the latest engagement that answered that it had drained.
    """

    loop: Loop
    runs: SimulatedRuns
    gateway: MemoryOrderSink
    reach: Reach | None = None
    violations: list[str] = field(factory=list, init=False)
    on_the_way: list[ClientOrderId] = field(factory=list, init=False)
    fence: int | None = field(default=None, init=False)
    _released: set[int] = field(factory=set, init=False)
    posts: int = field(default=0, init=False)
    _said_active: set[Actor] = field(factory=set, init=False)
    _last_claims: dict[Actor, ClaimAnswer] = field(factory=dict, init=False)
    _told_unsent: set[RunId] = field(factory=set, init=False)
    _told: list[Run] = field(factory=list, init=False)

    def see_call(self, call: Call, answer: object) -> None:
        """Judge a call that had its effect."""
        actor = self.loop.current
        if actor is None:
            return
        if call.port == "kill_switch" and call.operation == "read":
            is_active = isinstance(answer, KillSwitchState) and answer.state is SwitchState.ACTIVE
            (self._said_active.add if is_active else self._said_active.discard)(actor)
        if call.operation == "disengage" and isinstance(answer, SwitchChange) and answer.changed:
            self._released.add(answer.state.latch_epoch or 0)
        claim = answer.answer if isinstance(answer, PlanCommit) else answer
        if isinstance(claim, ClaimAnswer) and claim.claimed:
            self._see_claim(actor, claim)
        if call.operation == "submit":
            self.see_ledger()

    def _see_claim(self, actor: Actor, claim: ClaimAnswer) -> None:
        # A claim whose answer was lost is repeated as it was, and asks nobody anew.
        if self._last_claims.get(actor) == claim:
            return
        self._last_claims[actor] = claim
        if actor not in self._said_active:
            self._find(f"{actor.name} claimed a wave on no fresh ACTIVE of the kill switch")
        self._said_active.discard(actor)
        latch = self.runs.latch
        if latch is None or latch.engaged:
            self._find("a wave was claimed under an engaged latch")

    def see_post(self, intent: OrderIntent) -> None:
        """Judge an order's bytes as they leave."""
        self.posts += 1
        state = self.runs.states().get(intent.client_order_id)
        if state is not OrderState.SENDING:
            self._find(f"order {intent.symbol} left while its row was {state}")
        if self.is_fenced:
            self._find(f"order {intent.symbol} left after an engagement had drained")

    def see_ledger(self) -> None:
        """Judge the gateway's ledger: one order a decision and symbol, each with a row."""
        rows = self._rows_by_id()
        decided: Counter[tuple[object, ...]] = Counter()
        for entry in self.gateway.ledger.values():
            row = rows.get(entry.intent.client_order_id)
            if row is None:
                self._find(f"order {entry.intent.symbol} is at the gateway and in no row")
                continue
            run, _ = row
            intent = entry.intent
            key = run.request.rebalance_key
            decided[run.strategy_id, run.as_of_date, key, intent.symbol, intent.leg] += 1
        for decision, placed in decided.items():
            if placed > 1:
                self._find(f"{placed} orders for one decision: {decision}")
        if self.reach is not None:
            self._see_account(self.reach)

    def _see_account(self, reach: Reach) -> None:
        """Judge what all orders come to: never more than was wanted."""
        for symbol, qty in reach.account.reach().items():
            first, wanted = reach.ends.get(symbol, (0, 0))
            if not min(first, wanted) <= qty <= max(first, wanted):
                self._find(f"{symbol} comes to {qty}, from {first} to {wanted} was wanted")
        for id_, entry in self.gateway.ledger.items():
            intent = entry.intent
            first, wanted = reach.ends.get(intent.symbol, (0, 0))
            is_away = (intent.signed_qty > 0) is not (wanted > first)
            if id_ not in reach.account.past and is_away and intent.qty > reach.drift:
                self._find(f"{intent.signed_qty} of {intent.symbol} leads away from {wanted}")

    def see_engaged(self, answer: EngageAnswer) -> None:
        """Judge what an operator was told; from now on nothing may leave, if it had drained."""
        if not answer.drained or answer.latch is None:
            return
        self.fence = answer.latch.epoch
        for id_ in self.on_the_way:
            if id_ not in self.gateway.ledger and id_ in self._in_flight():
                self._find(f"drained while {id_} was on its way")

    def _in_flight(self) -> set[ClientOrderId]:
        waiting = {OrderState.UNRESOLVED}
        return {id_ for id_, state in self.runs.states().items() if state not in waiting}

    @property
    def is_fenced(self) -> bool:
        """Whether a drained engagement stands that no person has let go of.

        Whoever lets go names the epoch that he saw: an earlier one lets go of nothing later.
        """
        return self.fence is not None and all(epoch < self.fence for epoch in self._released)

    def see_answer(self, actor: Actor) -> None:
        """Note what a client was told."""
        if isinstance(actor.result, Run):
            self._told.append(actor.result)
        elif isinstance(actor.error, OrchestratorError) and actor.subject is not None:
            self._told_unsent.add(actor.subject)
        elif actor.error is not None and not isinstance(actor.error, OrchestratorError):
            self._find(f"{actor.name} broke: {actor.error!r}")

    # At the end

    def judge_end(self) -> None:
        """Judge the world once faults have ceased and everything had its time."""
        self.see_ledger()
        runs = self.runs.all_runs()
        for run in runs:
            self._judge_run(run)
        self._judge_orders(runs)
        for told in self._told:
            self._judge_promise(told)
        for run in runs:
            if run.run_id in self._told_unsent:
                self._judge_unsent(run)

    def _judge_run(self, run: Run) -> None:
        if run.status is RunStatus.RUNNING:
            self._find(f"run {run.run_id} is still running: {_states(run)}")
        if (run.completed_at is None) != (run.status is RunStatus.RUNNING):
            self._find(f"run {run.run_id} is {run.status} and completed at {run.completed_at}")
        orders = run.orders or ()
        is_judged_by_orders = run.orders is not None and basket_refusal(orders) is None
        if is_judged_by_orders and run.status is not run_status(run.tally):
            self._find(f"run {run.run_id} is {run.status}, its orders say otherwise")

    def _judge_orders(self, runs: Iterable[Run]) -> None:
        holders: dict[ClientOrderId, list[Order]] = defaultdict(list)
        for order in (order for run in runs for order in run.orders or ()):
            if order.intent is not None and order.owner is None and order.state in HOLDS_ID:
                holders[order.intent.client_order_id].append(order)
        placed = {e.intent.client_order_id: e for e in self.gateway.ledger.values()}
        for id_, orders in holders.items():
            if len(orders) > 1:
                self._find(f"{id_} is held {len(orders)} times")
            if orders[0].state is OrderState.ACCEPTED and id_ not in placed:
                self._find(f"{id_} is accepted here and not at the gateway")
        for id_, entry in placed.items():
            self._judge_placed(entry, holders.get(id_))

    def _judge_placed(self, entry: LedgerEntry, held: list[Order] | None) -> None:
        symbol = entry.intent.symbol
        if not held:
            self._find(f"order {symbol} is at the gateway, and its row lets go")
            return
        order = held[0]
        if order.intent != entry.intent:
            self._find(f"order {symbol} has other bytes than its row")
        if order.state is not OrderState.ACCEPTED:
            self._find(f"order {symbol} is at the gateway and {order.state} here")
        elif order.order_status != entry.report.status:
            self._find(f"order {symbol} is {entry.report.status} there, {order.order_status} here")

    def _judge_promise(self, told: Run) -> None:
        """A client that was told something final finds it so."""
        now = {run.run_id: run for run in self.runs.all_runs()}.get(told.run_id)
        if now is None:
            self._find(f"run {told.run_id} was answered and is gone")
            return
        if told.status is not RunStatus.RUNNING and now.status is not told.status:
            self._find(f"run {told.run_id} was answered {told.status} and is {now.status}")
        for before, after in zip(told.orders or (), now.orders or (), strict=False):
            state = before.standing.state
            if state in FINAL and after.standing.state is not state:
                self._find(f"an order was answered {state} and is {after.standing.state}")

    def _judge_unsent(self, run: Run) -> None:
        """A client that was refused was told that no order was sent: none is, ever."""
        for order in run.orders or ():
            if order.owner is None and order.state in HOLDS_ID:
                self._find(f"{order.signal.symbol} is {order.state}, and its client was refused")

    def _rows_by_id(self) -> dict[ClientOrderId, tuple[Run, Order]]:
        rows: dict[ClientOrderId, tuple[Run, Order]] = {}
        for run in self.runs.all_runs():
            for order in run.orders or ():
                if order.intent is not None and order.owner is None:
                    id_ = order.intent.client_order_id
                    if id_ not in rows or order.state not in NEVER_PLACED:
                        rows[id_] = (run, order)
        return rows

    def _find(self, what: str) -> None:
        if what not in self.violations:
            self.violations.append(what)


def _states(run: Run) -> str:
    return ", ".join(f"{o.signal.symbol} {o.standing.state}" for o in run.orders or ())


def waits_only_for(run: Run, states: frozenset[OrderState]) -> bool:
    """Whether a run is completed, or has orders in these states and nothing else open."""
    if run.completed_at is not None:
        return True
    still_open = {order.standing.state for order in run.orders or ()} & OPEN
    return bool(still_open) and still_open <= states
