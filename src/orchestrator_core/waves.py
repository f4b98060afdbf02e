"""From a plan to recorded outcomes, wave by wave.

Two rules are kept here. No order is submitted before its run, its plan and its own SENDING row are
committed: the sink is only ever given what a claim answered. And what may have been sent is never
recorded as anything but what is known of it: an outcome that is not known is UNKNOWN, and after a
second try no refusal says anything of the first.

A claim also records the outcomes of the wave before, so a wave costs one commit. Before each claim
the kill switch is asked and the age of each price is checked again.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TypeVar

from attrs import define, field

from orchestrator_core.commits import (
    ClaimAnswer,
    Lease,
    PlanCommit,
    PlanRecord,
    RunClosing,
    WaveClaim,
)
from orchestrator_core.errors import IllegalTransition, OutcomeUnknown, PortError
from orchestrator_core.halting import read_shared
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.kill_switch import Halted, Latch, judge
from orchestrator_core.lifecycle import OPEN, OrderState
from orchestrator_core.model import OrderIntent, Quote
from orchestrator_core.orders import Order, Settlement
from orchestrator_core.outcomes import settlement_of_retry, settlement_of_try, stopping_outcome
from orchestrator_core.planning import Snapshot, next_wave, price_problem
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import Allowance, RunPorts, SubmitKind, SubmitOutcome
from orchestrator_core.run_book import RunBook
from orchestrator_core.runs import FailureKind, Run, RunFailure

Answer = TypeVar("Answer")

# Something of the run is, or may be, at the gateway, or another run's order stands for it.
PLACED = OPEN | {OrderState.ACCEPTED, OrderState.REJECTED, OrderState.ADOPTED}

# What recovery brings on: looked for at the gateway, or sent, or given up.
FOR_RECOVERY = frozenset({OrderState.UNKNOWN, OrderState.PLANNED})

FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 2.0
PACE_SLICE_SECONDS = 0.5
DEFAULT_PAUSE_SECONDS = 1.0
# Until recovery may look for an order whose outcome is not known.
FIRST_LOOK_SECONDS = 1.0


@define
class WaveSender:
    """One run's orders under way.

    Attributes:
        latch: As the guard read it; None where nothing may be sent.
        has_claimed: Something may have been sent.
        plan_may_stand: The plan may be committed: whoever takes the run over may send its orders.
    """

    book: RunBook
    lease: Lease
    latch: Latch | None
    ports: RunPorts
    policy: RunPolicy
    has_claimed: bool = False
    plan_may_stand: bool = field(default=False, init=False)
    _priced_at: dict[ClientOrderId, datetime] = field(factory=dict, init=False)
    _pending: list[OrderIntent] = field(factory=list, init=False)
    _doubtful: list[OrderIntent] = field(factory=list, init=False)
    _claims: int = field(default=0, init=False)
    _not_before: float = field(default=0.0, init=False)
    _last_commit: float = field(init=False)
    _failure: RunFailure | None = field(default=None, init=False)

    @_last_commit.default
    def _now(self) -> float:
        return self.ports.clock.monotonic()

    async def send(self, record: PlanRecord) -> None:
        """Commit the plan and send its orders until none is pending.

        Raises:
            PortError: The run database failed.
            LeaseLost: Another replica has the run.
        """
        self.book.plan(record)
        self._note_prices(record.snapshot)
        self._pending = list(record.plan.intents)
        claim = await self._next_claim(may_wait=False)
        deadline = self._send_deadline()
        commit = await self._commit_plan(record, claim)
        self._find_stored(commit.orders)
        await self._submit(claim, commit.answer, deadline)
        await self._send_rest()

    async def send_on(
        self,
        snapshot: Snapshot,
        *,
        pending: Sequence[OrderIntent],
        doubtful: Sequence[OrderIntent],
    ) -> None:
        """Go on with a run whose plan is committed.

        Args:
            snapshot: What the plan was derived from.
            pending: PLANNED orders, in the order of sending.
            doubtful: UNKNOWN orders that the gateway does not have: each is sent once more, with
                the same bytes, if all that lets an order go lets it go.

        Raises:
            PortError: The run database failed.
            LeaseLost: Another replica has the run.
        """
        self._note_prices(snapshot)
        self._pending, self._doubtful = list(pending), list(doubtful)
        await self._send_rest()

    async def close(
        self, failure: RunFailure | None = None, *, look_again_seconds: float | None = None
    ) -> Run:
        """Record what is not recorded yet and give the lease back; return the run as stored.

        Args:
            failure: Why the run ends before anything was sent.
            look_again_seconds: When recovery may take what is left open; None leaves it to what is
                known of the orders.

        Raises:
            PortError: The run database failed.
            LeaseLost: Another replica has the run.
        """
        if look_again_seconds is None and self._needs_recovery():
            look_again_seconds = FIRST_LOOK_SECONDS
        settlements = self.book.settlements
        closing = RunClosing(
            settlements=settlements,
            failure=failure or self._final_failure(),
            at=self.ports.clock.now(),
            frees_key=not self.has_claimed,
            known=self.book.as_known(),
            look_again_seconds=look_again_seconds,
        )
        run = await self._persist(lambda: self.ports.runs.close_run(self.lease, closing))
        self.book.mark_recorded(settlements)
        return run

    async def close_broken(self, kind: FailureKind, cause: str) -> bool:
        """Leave a true record of a run that a fault ends, if the database takes it now.

        What was being sent is UNKNOWN, the rest was not placed. Raises nothing: what cannot be
        recorded now is found by its lease later.

        Returns:
            Whether it is recorded.
        """
        try:
            if not self.book.has_stored_plan:
                await self._look_for_plan()
            for id_, order in self.book.orders.items():
                if order.state is OrderState.SENDING:
                    self.book.settle(Settlement(id_, OrderState.UNKNOWN, reason=cause))
            self.give_up(self._pending, OrderState.NOT_PLACED, cause)
            await self.close(RunFailure(kind, cause))
        except (PortError, IllegalTransition):
            return False
        return True

    def give_up(self, intents: Iterable[OrderIntent], state: OrderState, reason: str) -> None:
        """Settle orders that will not be sent."""
        given_up = {intent.client_order_id for intent in intents}
        for id_ in given_up:
            self.book.settle(Settlement(id_, state, reason=reason))
        self._pending = [i for i in self._pending if i.client_order_id not in given_up]

    async def keep_lease(self) -> None:
        """Renew the lease if a third of it has passed since the last commit.

        Raises:
            PortError: The run database failed.
            LeaseLost: Another replica has the run.
        """
        if self.ports.clock.monotonic() - self._last_commit > self.lease.seconds / 3:
            await self._commit_wave(None)

    def _needs_recovery(self) -> bool:
        return any(order.state in FOR_RECOVERY for order in self.book.orders.values())

    # The plan

    async def _commit_plan(self, record: PlanRecord, claim: WaveClaim | None) -> PlanCommit:
        try:
            commit = await self.ports.runs.commit_plan(self.lease, record, claim)
        except OutcomeUnknown:
            self.plan_may_stand = True
            commit = await self.ports.runs.commit_plan(self.lease, record, claim)
        self.plan_may_stand = True
        self._last_commit = self.ports.clock.monotonic()
        return commit

    def _note_prices(self, snapshot: Snapshot) -> None:
        times = {quote.symbol: quote.as_of for quote in snapshot.quotes if isinstance(quote, Quote)}
        self._priced_at = {
            id_: times[order.intent.symbol]
            for id_, order in self.book.orders.items()
            if order.intent is not None and order.intent.symbol in times
        }

    def _find_stored(self, stored: tuple[Order, ...]) -> None:
        self.book.find_stored(stored)
        self._pending = [intent for intent in self._pending if not self.book.is_adopted(intent)]

    async def _look_for_plan(self) -> None:
        """Learn whether the plan was committed: its commit's outcome may be unknown."""
        run = await self.ports.runs.get_run(self.lease.run_id)
        if run is None or run.orders is None:
            self._pending = []
            self.book.find_no_plan()
        else:
            self._find_stored(run.orders)

    # Claiming

    def _send_deadline(self) -> float:
        return self.ports.clock.monotonic() + self.policy.send_window_seconds

    async def _send_rest(self) -> None:
        while self._pending or self._doubtful:
            await self._keep_pace()
            claim = await self._next_claim(may_wait=True)
            deadline = self._send_deadline()
            answer = await self._commit_wave(claim)
            await self._submit(claim, answer, deadline)

    async def _next_claim(self, *, may_wait: bool) -> WaveClaim | None:
        """Ask what may go now; give up what may not; None where nothing is left, or may go yet."""
        while True:
            await self._heed_stops()
            wave = next_wave(
                self._doubtful or self._pending, max_orders=self.policy.max_in_flight_orders
            )
            if not wave or self.latch is None:
                return None
            ids = tuple(intent.client_order_id for intent in wave)
            allowance = await self._afford(ids)
            if allowance is None:
                continue
            if allowance.granted:
                self._claims += 1
                return WaveClaim(
                    number=self._claims,
                    client_order_ids=ids[: allowance.granted],
                    latch_epoch=self.latch.epoch,
                    resends=bool(self._doubtful),
                )
            if not may_wait:
                return None
            await self._pause_until(self.ports.clock.monotonic() + allowance.retry_after)

    async def _heed_stops(self) -> None:
        """Give up what a stop, the kill switch or a price's age holds back."""
        if self._has_more and self.ports.stopping():
            self._fail(FailureKind.STOPPED, OrderState.NOT_PLACED, "the service is stopping")
        if self._has_more:
            if self.latch is None:
                raise IllegalTransition("nothing is sent without a latch")
            verdict = judge(await read_shared(self.ports.kill_switch), self.latch)
            if isinstance(verdict, Halted):
                self._fail(FailureKind.HALTED, OrderState.HALTED, verdict.reason)
        self._give_up_stale_prices(seconds_ahead=0.0)

    @property
    def _has_more(self) -> bool:
        return bool(self._pending or self._doubtful)

    def _give_up_stale_prices(self, *, seconds_ahead: float) -> None:
        if not self._has_more:
            return
        limits = self.policy.limits
        then = self.ports.clock.now() + timedelta(seconds=seconds_ahead)
        if price_problem(min(self._priced_at.values()), then, limits) is None:
            return
        for intent in self._pending + self._doubtful:
            as_of = self._priced_at[intent.client_order_id]
            problem = price_problem(as_of, then, limits)
            if problem is not None:
                self._let_go([intent], OrderState.NOT_PLACED, f"price {problem} when sending")

    async def _afford(self, ids: tuple[ClientOrderId, ...]) -> Allowance | None:
        """Ask how many of the orders the gateway may be given now; None: everything is given up."""
        budget = self.ports.budget
        if budget is None:
            return Allowance(len(ids))
        try:
            if self._doubtful:
                # The place of the first try: a second one counts for itself.
                await budget.give_back(ids)
            return await budget.take(ids, hold_seconds=self.lease.seconds)
        except PortError as error:
            reason = f"the order budget cannot be asked: {error.cause}"
            self._fail(FailureKind.BUDGET_UNAVAILABLE, OrderState.NOT_PLACED, reason)
            return None

    async def _commit_wave(self, claim: WaveClaim | None) -> ClaimAnswer:
        settlements = self.book.settlements
        if claim is None and any(each.state is OrderState.PLANNED for each in settlements):
            claim = self._claim_nothing()
        answer = await self._persist(
            lambda: self.ports.runs.commit_wave(self.lease, settlements, claim)
        )
        self._last_commit = self.ports.clock.monotonic()
        self.book.mark_recorded(settlements)
        return answer

    def _claim_nothing(self) -> WaveClaim | None:
        """Number a commit that puts orders back to PLANNED.

        That step alone leads back. A twin of the commit that arrives late, after its answer was
        lost and it was repeated, is known by the number, and puts nothing back that was claimed
        again meanwhile.
        """
        if self.latch is None:
            return None
        self._claims += 1
        return WaveClaim(self._claims, client_order_ids=(), latch_epoch=self.latch.epoch)

    async def _keep_pace(self) -> None:
        """Wait as long as the gateway asked.

        What is known is recorded before, however short the pause: to the database a deferred order
        is SENDING until then, and the table knows no way from there to HALTED.
        """
        if any(settlement.state is OrderState.PLANNED for settlement in self.book.settlements):
            await self._pause_until(self._not_before)

    async def _pause_until(self, not_before: float) -> None:
        """Wait until then; what is known is recorded before, the lease kept."""
        clock = self.ports.clock
        self._give_up_stale_prices(seconds_ahead=max(0.0, not_before - clock.monotonic()))
        if self.book.settlements:
            await self._commit_wave(None)
        while self._has_more and not self.ports.stopping():
            left = not_before - clock.monotonic()
            if left <= 0:
                return
            await clock.sleep(min(left, PACE_SLICE_SECONDS))
            await self.keep_lease()

    # Sending

    async def _submit(self, claim: WaveClaim | None, answer: ClaimAnswer, deadline: float) -> None:
        if answer.halted:
            reason = "engaged while the run was under way"
            self._fail(FailureKind.HALTED, OrderState.HALTED, reason)
        waiting = self._doubtful or self._pending
        claimed = set(answer.claimed)
        wave = [intent for intent in waiting if intent.client_order_id in claimed]
        wished = set() if claim is None or answer.halted else set(claim.client_order_ids)
        if claimed != wished & {intent.client_order_id for intent in waiting}:
            raise IllegalTransition("the claim took other orders than this run asked for")
        if claim is None or not wave:
            return
        self.has_claimed = True
        waiting[:] = [intent for intent in waiting if intent.client_order_id not in claimed]
        self.book.mark_sending(wave)
        outcomes = await self.ports.sink.submit(wave, deadline=deadline)
        self._absorb(wave, outcomes, is_retry=claim.resends)
        await self._give_places_back(outcomes)

    def _absorb(
        self, wave: Sequence[OrderIntent], outcomes: Sequence[SubmitOutcome], *, is_retry: bool
    ) -> None:
        deferred = []
        for intent, outcome in zip(wave, outcomes, strict=True):
            if outcome.client_order_id != intent.client_order_id:
                raise IllegalTransition("the sink answered out of order")
            self.book.settle(
                settlement_of_retry(outcome) if is_retry else settlement_of_try(outcome)
            )
            if outcome.kind is SubmitKind.DEFERRED:
                deferred.append(intent)
                pause = (
                    DEFAULT_PAUSE_SECONDS if outcome.retry_after is None else outcome.retry_after
                )
                self._not_before = max(self._not_before, self.ports.clock.monotonic() + pause)
        if not is_retry:
            self._pending = deferred + self._pending
        stop = stopping_outcome(outcomes)
        if stop is not None:
            cause = stop.cause or "the gateway takes no orders"
            self._failure = RunFailure(FailureKind.GATEWAY_UNAVAILABLE, cause, stop.retry_after)
            self._let_go(self._pending + self._doubtful, OrderState.NOT_PLACED, cause)

    async def _give_places_back(self, outcomes: Sequence[SubmitOutcome]) -> None:
        """Free the places of orders that are certainly no longer on the wire."""
        if self.ports.budget is None:
            return
        done = [o.client_order_id for o in outcomes if o.kind is not SubmitKind.UNKNOWN]
        # What is not given back comes free by itself.
        with suppress(PortError):
            await self.ports.budget.give_back(done)

    # Settling

    def _fail(self, kind: FailureKind, state: OrderState, reason: str) -> None:
        """Give up all that was still to be sent; an order in doubt stays UNKNOWN."""
        if self._pending:
            self._failure = RunFailure(kind, reason)
        self._let_go(self._pending + self._doubtful, state, reason)

    def _let_go(self, intents: Iterable[OrderIntent], state: OrderState, reason: str) -> None:
        ids = {intent.client_order_id for intent in intents}
        self._doubtful = [i for i in self._doubtful if i.client_order_id not in ids]
        self.give_up([i for i in self._pending if i.client_order_id in ids], state, reason)

    def _final_failure(self) -> RunFailure | None:
        """Return the failure if nothing was placed; else the orders tell the story."""
        if any(order.state in PLACED for order in self.book.orders.values()):
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


async def _repeat_unknown(write: Callable[[], Awaitable[Answer]]) -> Answer:
    try:
        return await write()
    except OutcomeUnknown:
        return await write()
