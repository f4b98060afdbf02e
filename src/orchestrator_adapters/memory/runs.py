"""The run database in memory: the same rules as the durable ones, no durability.

No method suspends, so each is atomic among the tasks of one event loop.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from attrs import define, evolve, field

from orchestrator_adapters.run_rows import (
    FIRST_LEASE_EPOCH,
    REGISTERED_OPEN,
    close,
    settle_once,
    summarise,
)
from orchestrator_core.errors import Conflict, IllegalTransition, LeaseLost
from orchestrator_core.identifiers import ClientOrderId, RunId
from orchestrator_core.kill_switch import Latch
from orchestrator_core.lifecycle import HOLDS_ID, OrderState, RunStatus, advance
from orchestrator_core.ports import Clock
from orchestrator_core.commits import (
    ClaimAnswer,
    EarlierRun,
    IdempotencyKey,
    Lease,
    OpenOrder,
    PlanCommit,
    PlanRecord,
    RunClosing,
    RunOpening,
    WaveClaim,
)
from orchestrator_core.orders import Order, Owner, Settlement, order_of
from orchestrator_core.runs import Run, RunFilter, RunPage, RunSummary


@define(eq=False)
class _StoredRun:
    """One run's row and its orders' rows.

    Attributes:
        run: As first opened, with its plan's columns; its orders stand in `orders`.
        places: Where each order id stands among the orders.
        claims: Under which lease epoch and number an order was last claimed.
        last_claim: Lease epoch and number of the last claim that was not halted.
        lease_expires_at: None once the lease was given back.
    """

    run: Run
    key: IdempotencyKey | None
    lease_expires_at: datetime | None
    lease_epoch: int = FIRST_LEASE_EPOCH
    record: PlanRecord | None = None
    orders: list[Order] = field(factory=list)
    places: dict[ClientOrderId, int] = field(factory=dict)
    claims: dict[ClientOrderId, tuple[int, int]] = field(factory=dict)
    last_claim: tuple[int, int] = (0, 0)

    def order(self, id_: ClientOrderId) -> Order:
        """Return one of this run's orders.

        Raises:
            IllegalTransition: The run has none of that id.
        """
        place = self.places.get(id_)
        if place is None:
            raise IllegalTransition(f"run {self.run.run_id} has no order {id_}")
        return self.orders[place]


class MemoryRunRepository:
    """Runs, plans, orders and the latch, for as long as the process lives."""

    def __init__(self, clock: Clock, *, latch: Latch | None = None) -> None:
        """Hold nothing.

        Args:
            clock: Tells when a lease ends.
            latch: The latch to begin with.
        """
        self._clock = clock
        self._latch = latch
        self._runs: dict[RunId, _StoredRun] = {}
        self._running: dict[RunId, _StoredRun] = {}
        self._keys: dict[tuple[str, str], _StoredRun] = {}
        self._holders: dict[ClientOrderId, _StoredRun] = {}
        self._adopters: dict[RunId, list[_StoredRun]] = {}

    async def open_run(self, opening: RunOpening) -> Lease | EarlierRun:
        lease = Lease(opening.run_id, FIRST_LEASE_EPOCH, opening.lease_seconds)
        earlier = self._runs.get(opening.run_id)
        if earlier is not None:
            self._require_lease(lease)
            if earlier.run.request != opening.request:
                raise IllegalTransition(f"run {opening.run_id} was opened with another request")
            return lease
        key = opening.idempotency
        if key is not None:
            answer = _answer_of_key(self._keys.get((opening.strategy_id, key.key)), key)
            if answer is not None:
                return answer
        stored = _StoredRun(
            run=Run(
                run_id=opening.run_id,
                strategy_id=opening.strategy_id,
                as_of_date=opening.as_of_date,
                request=opening.request,
                started_at=opening.started_at,
            ),
            key=key,
            lease_expires_at=self._expiry(lease),
        )
        self._runs[opening.run_id] = self._running[opening.run_id] = stored
        if key is not None:
            self._keys[opening.strategy_id, key.key] = stored
        return lease

    async def commit_plan(
        self, lease: Lease, record: PlanRecord, claim: WaveClaim | None
    ) -> PlanCommit:
        stored = self._require_lease(lease)
        if stored.record is None:
            self._store_plan(stored, record)
        elif stored.record != record:
            raise IllegalTransition(f"run {lease.run_id} has another plan already")
        stored.lease_expires_at = self._expiry(lease)
        answer = self._claim(stored, claim)
        return PlanCommit(self._orders_now(stored), answer)

    async def commit_wave(
        self, lease: Lease, settlements: Sequence[Settlement], claim: WaveClaim | None
    ) -> ClaimAnswer:
        stored = self._require_lease(lease)
        if claim is None or not _was_made(stored, claim):
            self._settle(stored, settlements)
        stored.lease_expires_at = self._expiry(lease)
        return self._claim(stored, claim)

    async def close_run(self, lease: Lease, closing: RunClosing) -> Run:
        stored = self._require_lease(lease, given_back=True)
        self._settle(stored, closing.settlements)
        stored.lease_expires_at = None
        stored.run = evolve(
            close(self._run_now(stored), failure=closing.failure, at=closing.at), orders=None
        )
        self._after_close(stored)
        run = self._run_now(stored)
        if closing.frees_key and run.status is RunStatus.FAILED:
            self._free_key(stored)
        for adopter in self._adopters.get(lease.run_id, ()):
            if adopter.lease_expires_at is None:
                now = self._run_now(adopter)
                adopter.run = evolve(close(now, failure=None, at=closing.at), orders=None)
                self._after_close(adopter)
        return run

    async def get_run(self, run_id: RunId) -> Run | None:
        stored = self._runs.get(run_id)
        return None if stored is None else self._run_now(stored)

    async def list_runs(self, matching: RunFilter, *, limit: int, offset: int) -> RunPage:
        found = [
            summary
            for summary in self._summaries()
            if matching.strategy_id in (None, summary.strategy_id)
            and matching.status in (None, summary.status)
        ]
        found.sort(key=lambda summary: summary.started_at, reverse=True)
        return RunPage(tuple(found[offset : offset + limit]), total=len(found))

    async def open_orders(self) -> Sequence[OpenOrder]:
        return tuple(
            OpenOrder(
                stored.run.run_id, order.intent.client_order_id, order.intent.symbol, order.state
            )
            for stored in self._running.values()
            for order in stored.orders
            if order.intent is not None and order.state in REGISTERED_OPEN
        )

    async def read_latch(self) -> Latch | None:
        return self._latch

    async def swap_latch(self, expected: Latch | None, new: Latch) -> bool:
        if self._latch != expected:
            return False
        self._latch = new
        return True

    async def check(self) -> None:
        return

    async def take_over(self, run_id: RunId, *, seconds: float) -> Lease:
        """Give the run to another holder, under the next epoch, whoever had it."""
        stored = self._runs[run_id]
        stored.lease_epoch += 1
        lease = Lease(run_id, stored.lease_epoch, seconds)
        stored.lease_expires_at = self._expiry(lease)
        return lease

    def _expiry(self, lease: Lease) -> datetime:
        return self._clock.now() + timedelta(seconds=lease.seconds)

    def _require_lease(self, lease: Lease, *, given_back: bool = False) -> _StoredRun:
        stored = self._runs.get(lease.run_id)
        if stored is None or stored.lease_epoch != lease.epoch:
            raise LeaseLost(f"run {lease.run_id} is no longer ours")
        if stored.lease_expires_at is None and not given_back:
            raise LeaseLost(f"run {lease.run_id} was given back")
        return stored

    def _store_plan(self, stored: _StoredRun, record: PlanRecord) -> None:
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

    def _hold_or_adopt(self, stored: _StoredRun, id_: ClientOrderId, order: Order) -> Order:
        holder = self._holders.setdefault(id_, stored)
        if holder is stored:
            return order
        adopters = self._adopters.setdefault(holder.run.run_id, [])
        if stored not in adopters:
            adopters.append(stored)
        owner = Owner(holder.run.run_id, holder.order(id_).state)
        return evolve(order, state=advance(order.state, OrderState.ADOPTED), owner=owner)

    def _claim(self, stored: _StoredRun, claim: WaveClaim | None) -> ClaimAnswer:
        if claim is None:
            return ClaimAnswer()
        number = (stored.lease_epoch, claim.number)
        if not _was_made(stored, claim):
            latch = self._latch
            if latch is None or latch.engaged or latch.epoch != claim.latch_epoch:
                return ClaimAnswer(halted=True)
            stored.last_claim = number
            for id_ in claim.client_order_ids:
                if _stands_in(stored, id_, OrderState.PLANNED):
                    sending = evolve(stored.order(id_), state=OrderState.SENDING, reason=None)
                    stored.orders[stored.places[id_]] = sending
                    stored.claims[id_] = number
        return ClaimAnswer(
            tuple(
                id_
                for id_ in claim.client_order_ids
                if stored.claims.get(id_) == number and _stands_in(stored, id_, OrderState.SENDING)
            )
        )

    def _settle(self, stored: _StoredRun, settlements: Iterable[Settlement]) -> None:
        # All are judged before the first is stored: an illegal one changes nothing.
        settled: dict[ClientOrderId, Order] = {}
        for settlement in settlements:
            id_ = settlement.client_order_id
            order = settled.get(id_) or stored.order(id_)
            settled[id_] = settle_once(order, settlement)
        for id_, order in settled.items():
            stored.orders[stored.places[id_]] = order
            if order.state not in HOLDS_ID and self._holders.get(id_) is stored:
                del self._holders[id_]

    def _after_close(self, stored: _StoredRun) -> None:
        if stored.run.completed_at is not None:
            self._running.pop(stored.run.run_id, None)

    def _free_key(self, stored: _StoredRun) -> None:
        if stored.key is not None:
            self._keys.pop((stored.run.strategy_id, stored.key.key), None)
            stored.key = None

    def _orders_now(self, stored: _StoredRun) -> tuple[Order, ...]:
        return tuple(
            order if order.owner is None else _with_owner_now(order, order.owner, self._runs)
            for order in stored.orders
        )

    def _run_now(self, stored: _StoredRun) -> Run:
        if stored.record is None:
            return stored.run
        return evolve(stored.run, orders=self._orders_now(stored))

    def _summaries(self) -> Iterable[RunSummary]:
        # Newest first, so that runs of one moment stay so in a stable sort.
        return (summarise(self._run_now(stored)) for stored in reversed(self._runs.values()))


def _answer_of_key(earlier: _StoredRun | None, key: IdempotencyKey) -> EarlierRun | None:
    if earlier is None or earlier.key is None:
        return None
    if earlier.key.fingerprint != key.fingerprint:
        raise Conflict("other_request", earlier.run.run_id)
    if earlier.run.completed_at is None:
        raise Conflict("still_running", earlier.run.run_id)
    return EarlierRun(earlier.run.run_id)


def _was_made(stored: _StoredRun, claim: WaveClaim) -> bool:
    epoch, number = stored.last_claim
    return epoch == stored.lease_epoch and claim.number <= number


def _stands_in(stored: _StoredRun, id_: ClientOrderId, state: OrderState) -> bool:
    return id_ in stored.places and stored.order(id_).state is state


def _with_owner_now(order: Order, owner: Owner, runs: Mapping[RunId, _StoredRun]) -> Order:
    if order.intent is None:
        return order
    now = runs[owner.run_id].order(order.intent.client_order_id)
    return evolve(
        order,
        owner=Owner(owner.run_id, state=now.state, reason=now.reason, report=now.report),
    )
