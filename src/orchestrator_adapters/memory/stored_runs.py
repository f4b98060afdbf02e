"""All runs in memory: their rows, and what finds them.

An order's id is held by one run; runs that adopted the order point at it, and are read with its
word as it stands.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from operator import itemgetter

from attrs import define, evolve, field

from orchestrator_adapters.memory.stored_run import StoredRun
from orchestrator_adapters.run_rules import close
from orchestrator_core.commits import EarlierRun, IdempotencyKey, PlanRecord
from orchestrator_core.errors import Conflict
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId
from orchestrator_core.lifecycle import HOLDS_ID, OrderState, advance
from orchestrator_core.orders import Order, Owner, order_of
from orchestrator_core.runs import Run, RunFailure


@define
class StoredRuns:
    """Runs by id, in the order of their opening, by idempotency key, and by the ids they hold."""

    _all: dict[RunId, StoredRun] = field(factory=dict, init=False)
    _running: dict[RunId, StoredRun] = field(factory=dict, init=False)
    _keys: dict[tuple[StrategyId, str], StoredRun] = field(factory=dict, init=False)
    _holders: dict[ClientOrderId, StoredRun] = field(factory=dict, init=False)
    _adopters: dict[RunId, list[StoredRun]] = field(factory=dict, init=False)

    def __len__(self) -> int:
        """Return how many runs there are."""
        return len(self._all)

    def __iter__(self) -> Iterator[StoredRun]:
        """Go through all runs, the earliest opened first."""
        return iter(self._all.values())

    def __reversed__(self) -> Iterator[StoredRun]:
        """Go through all runs, the latest opened first."""
        return reversed(self._all.values())

    @property
    def running(self) -> Iterable[StoredRun]:
        """Runs that are not completed."""
        return self._running.values()

    @property
    def holders(self) -> Mapping[ClientOrderId, StoredRun]:
        """The run that holds an order's id, by that id."""
        return self._holders

    def __getitem__(self, run_id: RunId) -> StoredRun:
        """Return a run that is known."""
        return self._all[run_id]

    def get(self, run_id: RunId) -> StoredRun | None:
        """Return the run; None if unknown."""
        return self._all.get(run_id)

    def takable(
        self, strategy_id: StrategyId, run_id: RunId | None, now: datetime
    ) -> StoredRun | None:
        """Return the strategy's run that is due the longest; or that one, if nobody holds it."""
        candidates = [s for s in self.running if s.run.strategy_id == strategy_id]
        if run_id is not None:
            free = (
                s for s in candidates if s.lease_expires_at is None or s.lease_expires_at <= now
            )
            return next((s for s in free if s.run.run_id == run_id), None)
        due = [(s.due_at, s) for s in candidates if s.due_at is not None and s.due_at <= now]
        return min(due, key=itemgetter(0))[1] if due else None

    def add(self, stored: StoredRun) -> None:
        """Store a run that was opened, findable by its key."""
        self._all[stored.run.run_id] = self._running[stored.run.run_id] = stored
        if stored.key is not None:
            self._keys[stored.run.strategy_id, stored.key.key] = stored

    def answer_of_key(self, strategy_id: StrategyId, key: IdempotencyKey) -> EarlierRun | None:
        """Return the finished run that the key stands for; None if it is free.

        Raises:
            Conflict: It stands for another request, or for a run still going.
        """
        earlier = self._keys.get((strategy_id, key.key))
        if earlier is None or earlier.key is None:
            return None
        if earlier.key.fingerprint != key.fingerprint:
            raise Conflict("other_request", earlier.run.run_id)
        if earlier.run.completed_at is None:
            raise Conflict("still_running", earlier.run.run_id)
        return EarlierRun(earlier.run.run_id)

    def free_key(self, stored: StoredRun) -> None:
        """Let the run's idempotency key be used again."""
        if stored.key is not None:
            self._keys.pop((stored.run.strategy_id, stored.key.key), None)
            stored.key = None

    def add_plan(self, stored: StoredRun, record: PlanRecord) -> None:
        """Store a run's plan; an order whose id another run holds is ADOPTED."""
        batch = record.snapshot.batch
        stored.record = record
        stored.run = evolve(
            stored.run,
            as_of_date=batch.as_of_date,
            num_signals=len(batch.signals),
            signal_metadata=dict(batch.metadata),
        )
        for place, decision in enumerate(record.plan.decisions):
            order = order_of(decision)
            if order.intent is not None:
                id_ = order.intent.client_order_id
                stored.places[id_] = place
                if order.state in HOLDS_ID:
                    order = self._hold_or_adopt(stored, id_, order)
            stored.orders.append(order)

    def _hold_or_adopt(self, stored: StoredRun, id_: ClientOrderId, order: Order) -> Order:
        holder = self._holders.setdefault(id_, stored)
        if holder is stored:
            return order
        adopters = self._adopters.setdefault(holder.run.run_id, [])
        if stored not in adopters:
            adopters.append(stored)
        owner = Owner(holder.run.run_id, holder.order(id_).state)
        return evolve(order, state=advance(order.state, OrderState.ADOPTED), owner=owner)

    def let_go_of_id(self, stored: StoredRun, id_: ClientOrderId) -> None:
        """Let another run's order have the id, if this run's holds it."""
        if self._holders.get(id_) is stored:
            del self._holders[id_]

    def leave(self, stored: StoredRun, *, failure: RunFailure | None, at: datetime) -> Run:
        """Complete the run at that time unless something is open; return it as it stands then."""
        stored.run = evolve(close(self.as_it_stands(stored), failure=failure, at=at), orders=None)
        if stored.run.completed_at is not None:
            self._running.pop(stored.run.run_id, None)
        return self.as_it_stands(stored)

    def waiting_adopters(self, owner: StoredRun) -> list[StoredRun]:
        """Return the runs that nobody holds and that have adopted an order of this one."""
        adopters = self._adopters.get(owner.run.run_id, ())
        return [adopter for adopter in adopters if adopter.lease_expires_at is None]

    def as_it_stands(self, stored: StoredRun) -> Run:
        """Return the run with its orders, if it has a plan, adopted ones as their owners stand."""
        if stored.record is None:
            return stored.run
        return evolve(stored.run, orders=self.orders_of(stored))

    def orders_of(self, stored: StoredRun) -> tuple[Order, ...]:
        """Return the run's orders, adopted ones as their owners stand."""
        return tuple(
            order if order.owner is None else self._with_owner_now(order, order.owner)
            for order in stored.orders
        )

    def _with_owner_now(self, order: Order, owner: Owner) -> Order:
        if order.intent is None:
            return order
        now = self._all[owner.run_id].order(order.intent.client_order_id)
        return evolve(
            order,
            owner=Owner(
                owner.run_id,
                state=now.state,
                reason=now.reason,
                report=now.report,
                canceled_on_arrival=now.canceled_on_arrival,
            ),
        )
