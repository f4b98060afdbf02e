"""From a plan to recorded outcomes, wave by wave.

Two rules are kept here. No order is submitted before its run, its plan and its own SENDING row are
committed: the sink is only ever given what a claim answered. And what may have been sent is never
recorded as anything but what is known of it: an outcome that is not known is UNKNOWN, and after a
second try no refusal says anything of the first.

A claim also records the outcomes of the wave before, so a wave costs one commit. Before each claim
the kill switch is asked and the age of each price is checked again.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from attrs import define, field

from orchestrator_core.commits import ClaimAnswer, PlanRecord, WaveClaim
from orchestrator_core.errors import IllegalTransition, PortError
from orchestrator_core.halting import read_shared
from orchestrator_core.holding import RunHolder
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.kill_switch import Halted, judge
from orchestrator_core.legs import SecondLegs
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import OrderIntent
from orchestrator_core.outcomes import settlement_of_retry, settlement_of_try, stopping_outcome
from orchestrator_core.places import Places
from orchestrator_core.plans import Snapshot
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import Allowance, RunPorts, SubmitKind, SubmitOutcome
from orchestrator_core.price_ages import PriceAges
from orchestrator_core.run_book import RunBook
from orchestrator_core.runs import FailureKind, RunFailure
from orchestrator_core.sending import next_wave
from orchestrator_core.stopping import engage_on_surplus
from orchestrator_core.surplus import SentTally

PACE_SLICE_SECONDS = 0.5
DEFAULT_PAUSE_SECONDS = 1.0


@define
class WaveSender:
    """One run's orders under way."""

    holder: RunHolder
    _pending: list[OrderIntent] = field(factory=list, init=False)
    _doubtful: list[OrderIntent] = field(factory=list, init=False)
    _not_before: float = field(default=0.0, init=False)
    _prices: PriceAges = field(factory=PriceAges, init=False)
    _second_legs: SecondLegs = field(init=False)
    _tally: SentTally = field(factory=SentTally, init=False)

    @_second_legs.default
    def _no_leg_waits(self) -> SecondLegs:
        return SecondLegs(self.holder)

    async def send(self, record: PlanRecord) -> bool:
        """Commit the plan and send its orders until none is pending.

        Returns:
            Whether the plan was committed; False where the book that it depends on has moved.

        Raises:
            PortError: The run database failed.
            LeaseLost: Another replica has the run.
        """
        self._book.plan(record)
        self._note_prices(record.snapshot)
        self._pending = list(record.plan.intents)
        claim = await self._next_claim(may_wait=False)
        deadline = self._send_deadline()
        commit = await self.holder.commit_plan(record, claim)
        if commit.is_stale:
            await self._places.give_back(() if claim is None else claim.client_order_ids)
            return False
        self._pending = [i for i in self._pending if not self._book.is_adopted(i)]
        await self._submit(claim, commit.answer, deadline)
        await self._send_rest()
        return True

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

    def _note_prices(self, snapshot: Snapshot) -> None:
        intents = (order.intent for order in self._book.orders.values())
        self._prices = PriceAges.of(snapshot, (each for each in intents if each is not None))

    # Claiming

    def _send_deadline(self) -> float:
        return self._ports.clock.monotonic() + self._policy.send_window_seconds

    async def _send_rest(self) -> None:
        while self._has_more:
            await self._keep_pace()
            claim = await self._next_claim(may_wait=True)
            deadline = self._send_deadline()
            answer = await self.holder.commit_wave(claim)
            await self._submit(claim, answer, deadline)

    async def _next_claim(self, *, may_wait: bool) -> WaveClaim | None:
        """Ask what may go now; give up what may not; None where nothing is left, or may go yet."""
        while True:
            await self._heed_stops()
            wave = next_wave(
                self._doubtful or self._pending, max_orders=self._policy.max_in_flight_orders
            )
            if not wave:
                return None
            if not self._doubtful and not await self._may_follow(wave):
                continue
            ids = tuple(intent.client_order_id for intent in wave)
            allowance = await self._afford(ids)
            if allowance is None:
                continue
            if allowance.granted:
                return self.holder.number_claim(
                    ids[: allowance.granted], resends=bool(self._doubtful)
                )
            if not may_wait:
                return None
            await self._pause_until(self._ports.clock.monotonic() + allowance.retry_after)

    async def _heed_stops(self) -> None:
        """Give up what a stop, the kill switch or a price's age holds back."""
        if self._has_more and self._ports.stopping():
            self._fail(FailureKind.STOPPED, OrderState.NOT_PLACED, "the service is stopping")
        if self._has_more:
            if self.holder.latch is None:
                raise IllegalTransition("nothing is sent without a latch")
            verdict = judge(await read_shared(self._ports.kill_switch), self.holder.latch)
            if isinstance(verdict, Halted):
                self._fail(FailureKind.HALTED, OrderState.HALTED, verdict.reason)
        self._give_up_stale_prices(seconds_ahead=0.0)

    @property
    def _book(self) -> RunBook:
        return self.holder.book

    @property
    def _ports(self) -> RunPorts:
        return self.holder.ports

    @property
    def _places(self) -> Places:
        return Places(self._ports.budget)

    @property
    def _policy(self) -> RunPolicy:
        return self.holder.policy

    @property
    def _has_more(self) -> bool:
        return bool(self._pending or self._doubtful)

    def _give_up_stale_prices(self, *, seconds_ahead: float) -> None:
        then = self._ports.clock.now() + timedelta(seconds=seconds_ahead)
        for intent, problem in self._prices.problems(self._pending + self._doubtful, then):
            self._let_go([intent], OrderState.NOT_PLACED, f"price {problem} when sending")

    async def _may_follow(self, wave: Sequence[OrderIntent]) -> bool:
        """Whether the first legs of these orders, if any, have filled; else wait a moment."""
        waiting = self._second_legs.waiting(wave)
        if not waiting:
            return True
        if self._book.settlements:
            await self.holder.commit_wave(None)
        for intent, reason in await self._second_legs.look(waiting):
            self._let_go([intent], OrderState.NOT_PLACED, reason)
        await self.holder.keep_lease()
        return False

    async def _afford(self, ids: tuple[ClientOrderId, ...]) -> Allowance | None:
        """Ask how many of the orders the gateway may be given now; None: everything is given up."""
        try:
            return await self._places.take(
                ids, hold_seconds=self.holder.lease.seconds, resends=bool(self._doubtful)
            )
        except PortError as error:
            reason = f"the order budget cannot be asked: {error.cause}"
            self._fail(FailureKind.BUDGET_UNAVAILABLE, OrderState.NOT_PLACED, reason)
            return None

    async def _keep_pace(self) -> None:
        """Wait as long as the gateway asked.

        What is known is recorded before, however short the pause: to the database a deferred order
        is SENDING until then, and the table knows no way from there to HALTED.
        """
        if any(settlement.state is OrderState.PLANNED for settlement in self._book.settlements):
            await self._pause_until(self._not_before)

    async def _pause_until(self, not_before: float) -> None:
        """Wait until then; what is known is recorded before, the lease kept."""
        clock = self._ports.clock
        self._give_up_stale_prices(seconds_ahead=max(0.0, not_before - clock.monotonic()))
        if self._book.settlements:
            await self.holder.commit_wave(None)
        while self._has_more and not self._ports.stopping():
            left = not_before - clock.monotonic()
            if left <= 0:
                return
            await clock.sleep(min(left, PACE_SLICE_SECONDS))
            await self.holder.keep_lease()

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
        self.holder.has_claimed = True
        waiting[:] = [intent for intent in waiting if intent.client_order_id not in claimed]
        await self._stop_at_surplus(wave, is_resend=claim.resends)
        self._book.mark_sending(wave)
        outcomes = await self._ports.sink.submit(wave, deadline=deadline)
        self._tally.count(wave, outcomes)
        self._absorb(wave, outcomes, is_retry=claim.resends)
        # An unknown one may be on the wire still.
        known = [o.client_order_id for o in outcomes if o.kind is not SubmitKind.UNKNOWN]
        await self._places.give_back(known)

    async def _stop_at_surplus(self, wave: Sequence[OrderIntent], *, is_resend: bool) -> None:
        """Stop all trading, and this run, before more is sent than was planned."""
        surplus = self._tally.surplus_of(wave, self._book.orders, is_resend=is_resend)
        if surplus is None:
            return
        await engage_on_surplus(surplus, self._ports)
        raise IllegalTransition(f"more than was planned: {surplus}")

    def _absorb(
        self, wave: Sequence[OrderIntent], outcomes: Sequence[SubmitOutcome], *, is_retry: bool
    ) -> None:
        deferred = []
        for intent, outcome in zip(wave, outcomes, strict=True):
            if outcome.client_order_id != intent.client_order_id:
                raise IllegalTransition("the sink answered out of order")
            self._book.settle(
                settlement_of_retry(outcome) if is_retry else settlement_of_try(outcome)
            )
            if outcome.kind is SubmitKind.DEFERRED:
                deferred.append(intent)
                pause = (
                    DEFAULT_PAUSE_SECONDS if outcome.retry_after is None else outcome.retry_after
                )
                self._not_before = max(self._not_before, self._ports.clock.monotonic() + pause)
        if not is_retry:
            self._pending = deferred + self._pending
        stop = stopping_outcome(outcomes)
        if stop is not None:
            cause = stop.cause or "the gateway takes no orders"
            self.holder.failure = RunFailure(
                FailureKind.GATEWAY_UNAVAILABLE, cause, stop.retry_after
            )
            self._let_go(self._pending + self._doubtful, OrderState.NOT_PLACED, cause)

    # Settling

    def _fail(self, kind: FailureKind, state: OrderState, reason: str) -> None:
        """Give up all that was still to be sent; an order in doubt stays UNKNOWN."""
        if self._pending:
            self.holder.failure = RunFailure(kind, reason)
        self._let_go(self._pending + self._doubtful, state, reason)

    def _let_go(self, intents: Iterable[OrderIntent], state: OrderState, reason: str) -> None:
        ids = {intent.client_order_id for intent in intents}
        self._doubtful = [i for i in self._doubtful if i.client_order_id not in ids]
        given_up = [intent for intent in self._pending if intent.client_order_id in ids]
        self._pending = [i for i in self._pending if i.client_order_id not in ids]
        self.holder.give_up(given_up, state, reason)
