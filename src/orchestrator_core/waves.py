"""From a plan to recorded outcomes, wave by wave.

Two rules are kept here. No order is submitted before its run, its plan and its own SENDING row are
committed: the sink is only ever given what a claim answered. And what may have been sent is never
recorded as anything but what is known of it: an outcome that is not known is UNKNOWN.

A claim also records the outcomes of the wave before, so a wave costs one commit. Before each claim
the kill switch is asked and the age of each price is checked again.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from attrs import define, evolve, field

from orchestrator_core.commits import (
    ClaimAnswer,
    Lease,
    PlanRecord,
    RunClosing,
    RunOpening,
    WaveClaim,
)
from orchestrator_core.errors import IllegalTransition, OutcomeUnknown, PortError
from orchestrator_core.halting import read_shared
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.kill_switch import Halted, Latch, judge
from orchestrator_core.lifecycle import OPEN, OrderState, advance
from orchestrator_core.model import OrderIntent, Quote
from orchestrator_core.orders import Order, Settlement, settle
from orchestrator_core.planning import next_wave, price_problem
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import RunPorts, SubmitKind, SubmitOutcome
from orchestrator_core.runs import FailureKind, Run, RunFailure

Answer = TypeVar("Answer")

STATE_AFTER = {
    SubmitKind.ACCEPTED: OrderState.ACCEPTED,
    SubmitKind.REJECTED: OrderState.REJECTED,
    SubmitKind.NOT_PLACED: OrderState.NOT_PLACED,
    SubmitKind.CONFLICT: OrderState.CONFLICT,
    SubmitKind.UNKNOWN: OrderState.UNKNOWN,
    SubmitKind.DEFERRED: OrderState.PLANNED,
}

# Something of the run is, or may be, at the gateway, or another run's order stands for it.
PLACED = OPEN | {OrderState.ACCEPTED, OrderState.REJECTED, OrderState.ADOPTED}

FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 2.0
PACE_SLICE_SECONDS = 0.5
DEFAULT_PAUSE_SECONDS = 1.0


@define
class WaveSender:
    """One run's orders under way.

    Attributes:
        has_claimed: Something may have been sent.
    """

    opening: RunOpening
    lease: Lease
    latch: Latch
    ports: RunPorts
    policy: RunPolicy
    has_claimed: bool = field(default=False, init=False)
    _record: PlanRecord | None = field(default=None, init=False)
    _stored: tuple[Order, ...] | None = field(default=None, init=False)
    _orders: dict[ClientOrderId, Order] = field(factory=dict, init=False)
    _quotes: dict[ClientOrderId, Quote] = field(factory=dict, init=False)
    _oldest_price: datetime = field(default=datetime.max.replace(tzinfo=UTC), init=False)
    _pending: list[OrderIntent] = field(factory=list, init=False)
    _unrecorded: dict[ClientOrderId, Settlement] = field(factory=dict, init=False)
    _claims: int = field(default=0, init=False)
    _not_before: float = field(default=0.0, init=False)
    _last_commit: float = field(default=0.0, init=False)
    _failure: RunFailure | None = field(default=None, init=False)

    async def send(self, record: PlanRecord) -> None:
        """Commit the plan and send its orders until none is pending.

        Raises:
            PortError: The run database failed.
            LeaseLost: Another replica has the run.
        """
        self._take_in(record)
        claim = await self._next_claim()
        deadline = self._send_deadline()
        commit = await _repeat_unknown(
            lambda: self.ports.runs.commit_plan(self.lease, record, claim)
        )
        self._last_commit = self.ports.clock.monotonic()
        self._take_adopted(commit.orders)
        await self._submit(claim, commit.answer, deadline)
        while self._pending:
            await self._keep_pace()
            claim = await self._next_claim()
            deadline = self._send_deadline()
            answer = await self._commit_wave(claim)
            await self._submit(claim, answer, deadline)

    async def close(self, failure: RunFailure | None = None) -> Run:
        """Record what is not recorded yet and give the lease back; return the run as stored.

        Raises:
            PortError: The run database failed.
            LeaseLost: Another replica has the run.
        """
        closing = RunClosing(
            settlements=tuple(self._unrecorded.values()),
            failure=failure or self._final_failure(),
            at=self.ports.clock.now(),
            frees_key=not self.has_claimed,
            known=self._with_orders(self._order_as_known),
        )
        run = await self._persist(lambda: self.ports.runs.close_run(self.lease, closing))
        self._unrecorded.clear()
        return run

    async def close_broken(self, kind: FailureKind, cause: str) -> None:
        """Leave a true record of a run that a fault ends, if the database takes it now.

        What was being sent is UNKNOWN, the rest was not placed. Raises nothing: what cannot be
        recorded now is found by its lease later.
        """
        try:
            if self._stored is None:
                await self._find_plan()
            for id_, order in self._orders.items():
                if order.state is OrderState.SENDING:
                    self._settle(Settlement(id_, OrderState.UNKNOWN, reason=cause))
            self._give_up(self._pending, OrderState.NOT_PLACED, cause)
            await self.close(RunFailure(kind, cause))
        except (PortError, IllegalTransition):
            return

    async def _find_plan(self) -> None:
        """Learn whether the plan was committed: its commit's outcome may be unknown."""
        run = await self.ports.runs.get_run(self.opening.run_id)
        if run is None or run.orders is None:
            self._pending = []
            self._orders.clear()
            self._unrecorded.clear()
        else:
            self._take_adopted(run.orders)

    def as_recorded(self) -> Run:
        """Return the run as the database is known to hold it, without asking the database.

        An outcome that is known here and not recorded there is still an order being sent.
        """
        return self._with_orders(self._order_as_recorded)

    def _with_orders(self, look: Callable[[Order], Order]) -> Run:
        batch = None if self._record is None else self._record.snapshot.batch
        return Run(
            run_id=self.opening.run_id,
            strategy_id=self.opening.strategy_id,
            as_of_date=self.opening.as_of_date if batch is None else batch.as_of_date,
            request=self.opening.request,
            started_at=self.opening.started_at,
            orders=None if self._stored is None else tuple(map(look, self._stored)),
            num_signals=0 if batch is None else len(batch.signals),
            signal_metadata=None if batch is None else batch.metadata,
        )

    def _order_as_known(self, stored: Order) -> Order:
        if stored.intent is None:
            return stored
        return self._orders.get(stored.intent.client_order_id, stored)

    def _order_as_recorded(self, stored: Order) -> Order:
        if stored.intent is None or stored.owner is not None:
            return stored
        id_ = stored.intent.client_order_id
        known = self._orders.get(id_, stored)
        if id_ not in self._unrecorded:
            return known
        if known.state in {OrderState.NOT_PLACED, OrderState.HALTED}:
            return evolve(known, state=OrderState.PLANNED, reason=None)
        return evolve(stored, state=OrderState.SENDING, reason="outcome not recorded yet")

    # The plan

    def _take_in(self, record: PlanRecord) -> None:
        self._record = record
        for decision in record.plan.decisions:
            if decision.intent is not None and decision.is_to_be_sent:
                id_ = decision.intent.client_order_id
                self._orders[id_] = Order(decision.signal, OrderState.PLANNED, decision.intent)
                if isinstance(decision.quote, Quote):
                    self._quotes[id_] = decision.quote
                    self._oldest_price = min(self._oldest_price, decision.quote.as_of)
        self._pending = list(record.plan.intents)

    def _take_adopted(self, stored: tuple[Order, ...]) -> None:
        self._stored = stored
        for order in stored:
            if order.intent is not None and order.owner is not None:
                id_ = order.intent.client_order_id
                self._orders[id_] = order
                self._unrecorded.pop(id_, None)
        self._pending = [
            intent for intent in self._pending if self._orders[intent.client_order_id].owner is None
        ]

    # Claiming

    def _send_deadline(self) -> float:
        return self.ports.clock.monotonic() + self.policy.send_window_seconds

    async def _next_claim(self) -> WaveClaim | None:
        """Ask what may go now; give up what may not; None where nothing is left."""
        if self._pending and self.ports.stopping():
            self._fail(FailureKind.STOPPED, OrderState.NOT_PLACED, "the service is stopping")
        if self._pending:
            verdict = judge(await read_shared(self.ports.kill_switch), self.latch)
            if isinstance(verdict, Halted):
                self._fail(FailureKind.HALTED, OrderState.HALTED, verdict.reason)
        self._give_up_stale_prices(seconds_ahead=0.0)
        if not self._pending:
            return None
        wave = next_wave(self._pending, max_orders=self.policy.max_in_flight_orders)
        self._claims += 1
        return WaveClaim(
            number=self._claims,
            client_order_ids=tuple(intent.client_order_id for intent in wave),
            latch_epoch=self.latch.epoch,
        )

    def _give_up_stale_prices(self, *, seconds_ahead: float) -> None:
        if not self._pending:
            return
        limits = self.policy.limits
        then = self.ports.clock.now() + timedelta(seconds=seconds_ahead)
        if price_problem(self._oldest_price, then, limits) is None:
            return
        for intent in self._pending:
            quote = self._quotes[intent.client_order_id]
            problem = price_problem(quote.as_of, then, limits)
            if problem is not None:
                self._give_up([intent], OrderState.NOT_PLACED, f"price {problem} when sending")

    async def _commit_wave(self, claim: WaveClaim | None) -> ClaimAnswer:
        settlements = tuple(self._unrecorded.values())
        answer = await self._persist(
            lambda: self.ports.runs.commit_wave(self.lease, settlements, claim)
        )
        self._last_commit = self.ports.clock.monotonic()
        for settlement in settlements:
            del self._unrecorded[settlement.client_order_id]
        return answer

    async def _keep_pace(self) -> None:
        """Wait as long as the gateway asked; what is known is recorded before, the lease kept.

        Recorded however short the pause: to the database a deferred order is SENDING until then,
        and the table knows no way from there to HALTED.
        """
        clock = self.ports.clock
        if not any(known.state is OrderState.PLANNED for known in self._unrecorded.values()):
            return
        self._give_up_stale_prices(seconds_ahead=max(0.0, self._not_before - clock.monotonic()))
        await self._commit_wave(None)
        while self._pending and not self.ports.stopping():
            left = self._not_before - clock.monotonic()
            if left <= 0:
                return
            await clock.sleep(min(left, PACE_SLICE_SECONDS))
            if clock.monotonic() - self._last_commit > self.lease.seconds / 3:
                await self._commit_wave(None)

    # Sending

    async def _submit(self, claim: WaveClaim | None, answer: ClaimAnswer, deadline: float) -> None:
        if answer.halted:
            reason = "engaged while the run was under way"
            self._fail(FailureKind.HALTED, OrderState.HALTED, reason)
        claimed = set(answer.claimed)
        wave = [intent for intent in self._pending if intent.client_order_id in claimed]
        wished = set() if claim is None or answer.halted else set(claim.client_order_ids)
        pending = {intent.client_order_id for intent in self._pending}
        if claimed != wished & pending:
            raise IllegalTransition("the claim took other orders than this run asked for")
        if not wave:
            return
        self.has_claimed = True
        self._pending = [i for i in self._pending if i.client_order_id not in claimed]
        for intent in wave:
            order = self._orders[intent.client_order_id]
            state = advance(order.state, OrderState.SENDING)
            self._orders[intent.client_order_id] = evolve(order, state=state)
        self._absorb(wave, await self.ports.sink.submit(wave, deadline=deadline))

    def _absorb(self, wave: Sequence[OrderIntent], outcomes: Sequence[SubmitOutcome]) -> None:
        deferred = []
        for intent, outcome in zip(wave, outcomes, strict=True):
            if outcome.client_order_id != intent.client_order_id:
                raise IllegalTransition("the sink answered out of order")
            self._settle(settlement_of(outcome))
            if outcome.kind is SubmitKind.DEFERRED:
                deferred.append(intent)
                pause = (
                    DEFAULT_PAUSE_SECONDS if outcome.retry_after is None else outcome.retry_after
                )
                self._not_before = max(self._not_before, self.ports.clock.monotonic() + pause)
        self._pending = deferred + self._pending
        stop = _stopping_outcome(outcomes)
        if stop is not None:
            self._failure = RunFailure(
                FailureKind.GATEWAY_UNAVAILABLE,
                stop.cause or "the gateway takes no orders",
                stop.retry_after,
            )
            self._give_up(self._pending, OrderState.NOT_PLACED, self._failure.message)

    # Settling

    def _fail(self, kind: FailureKind, state: OrderState, reason: str) -> None:
        if self._pending:
            self._failure = RunFailure(kind, reason)
        self._give_up(self._pending, state, reason)

    def _give_up(self, intents: Iterable[OrderIntent], state: OrderState, reason: str) -> None:
        given_up = {intent.client_order_id for intent in intents}
        for id_ in given_up:
            self._settle(Settlement(id_, state, reason=reason))
        self._pending = [i for i in self._pending if i.client_order_id not in given_up]

    def _settle(self, settlement: Settlement) -> None:
        id_ = settlement.client_order_id
        self._orders[id_] = settle(self._orders[id_], settlement)
        self._unrecorded[id_] = settlement

    def _final_failure(self) -> RunFailure | None:
        """Return the failure if nothing was placed; else the orders tell the story."""
        if any(order.state in PLACED for order in self._orders.values()):
            return None
        return self._failure

    async def _persist(self, write: Callable[[], Awaitable[Answer]]) -> Answer:
        """Try a write until it is done; once something was sent, for `persist_seconds`."""
        if not self.has_claimed:
            return await _repeat_unknown(write)
        until = self.ports.clock.monotonic() + self.policy.persist_seconds
        pause = FIRST_RETRY_SECONDS
        while True:
            try:
                return await write()
            except PortError:
                if self.ports.clock.monotonic() + pause > until:
                    raise
            await self.ports.clock.sleep(pause)
            pause = min(2 * pause, LAST_RETRY_SECONDS)


def settlement_of(outcome: SubmitOutcome) -> Settlement:
    """Return what is to be recorded of a try."""
    return Settlement(
        outcome.client_order_id,
        STATE_AFTER[outcome.kind],
        reason=outcome.cause,
        report=outcome.report,
    )


def _stopping_outcome(outcomes: Sequence[SubmitOutcome]) -> SubmitOutcome | None:
    stop = next((outcome for outcome in outcomes if outcome.stops_run), None)
    if stop is None and outcomes and all(outcome.unreachable for outcome in outcomes):
        return outcomes[0]
    return stop


async def _repeat_unknown(write: Callable[[], Awaitable[Answer]]) -> Answer:
    try:
        return await write()
    except OutcomeUnknown:
        return await write()
