"""A run held under its lease: what is known of it is recorded, and in time to keep it.

A write whose outcome is not known is repeated. Once something was sent, any write that fails is
tried for `persist_seconds`: what may be at the gateway must not stay unrecorded for want of a try.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
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
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.kill_switch import Latch
from orchestrator_core.lifecycle import OPEN, OrderState
from orchestrator_core.model import OrderIntent
from orchestrator_core.orders import Settlement
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import RunPorts
from orchestrator_core.run_book import RunBook
from orchestrator_core.runs import FailureKind, Run, RunFailure

Answer = TypeVar("Answer")

# Something of the run is, or may be, at the gateway, or another run's order stands for it.
PLACED = OPEN | {OrderState.ACCEPTED, OrderState.REJECTED, OrderState.ADOPTED}

# What recovery brings on: looked for at the gateway, or sent, or given up.
FOR_RECOVERY = frozenset({OrderState.UNKNOWN, OrderState.PLANNED})

# What a fault leaves of an order that it meets in this state.
LEFT_BY_FAULT = {
    OrderState.SENDING: OrderState.UNKNOWN,
    OrderState.PLANNED: OrderState.NOT_PLACED,
}

FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 2.0
# Until recovery may look for an order whose outcome is not known.
FIRST_LOOK_SECONDS = 1.0


@define
class RunHolder:
    """One run, held.

    Attributes:
        latch: As the guard read it; None where nothing may be sent.
        has_claimed: Something may have been sent.
        plan_may_stand: The plan may be committed: whoever takes the run over may send its orders.
        failure: Why no more was sent; the run's own if nothing was placed.
        claims: How many claims were numbered.
    """

    book: RunBook
    lease: Lease
    ports: RunPorts
    policy: RunPolicy
    latch: Latch | None = None
    has_claimed: bool = False
    plan_may_stand: bool = field(default=False, init=False)
    failure: RunFailure | None = field(default=None, init=False)
    claims: int = field(default=0, init=False)
    _last_commit: float = field(init=False)

    @_last_commit.default
    def _now(self) -> float:
        return self.ports.clock.monotonic()

    async def commit_plan(self, record: PlanRecord, claim: WaveClaim | None) -> PlanCommit:
        """Commit the plan, and claim the first wave with it.

        Raises:
            PortError: The run database failed.
            LeaseLost: Another replica has the run.
        """
        try:
            commit = await self.ports.runs.commit_plan(self.lease, record, claim)
        except OutcomeUnknown:
            self.plan_may_stand = True
            commit = await self.ports.runs.commit_plan(self.lease, record, claim)
        # A version never comes back: a twin of a stale commit that arrives late stores nothing.
        self.plan_may_stand = not commit.is_stale
        if commit.is_stale:
            self.book.find_no_plan()
            return commit
        self._last_commit = self.ports.clock.monotonic()
        self.book.find_stored(commit.orders)
        return commit

    def number_claim(
        self, client_order_ids: Sequence[ClientOrderId], *, resends: bool = False
    ) -> WaveClaim:
        """Return the run's next claim.

        Raises:
            IllegalTransition: Nothing may be sent.
        """
        if self.latch is None:
            raise IllegalTransition("nothing is sent without a latch")
        self.claims += 1
        return WaveClaim(
            self.claims, tuple(client_order_ids), latch_epoch=self.latch.epoch, resends=resends
        )

    async def commit_wave(self, claim: WaveClaim | None) -> ClaimAnswer:
        """Record what is not recorded yet, renew the lease, and claim the next wave.

        Raises:
            PortError: The run database failed.
            LeaseLost: Another replica has the run.
        """
        settlements = self.book.settlements
        if claim is None and any(each.state is OrderState.PLANNED for each in settlements):
            claim = self._claim_nothing()
        answer = await self._persist(
            lambda: self.ports.runs.commit_wave(self.lease, settlements, claim)
        )
        self._last_commit = self.ports.clock.monotonic()
        self.book.mark_recorded(settlements)
        return answer

    async def keep_lease(self) -> None:
        """Renew the lease if a third of it has passed since the last commit.

        Raises:
            PortError: The run database failed.
            LeaseLost: Another replica has the run.
        """
        if self.ports.clock.monotonic() - self._last_commit > self.lease.seconds / 3:
            await self.commit_wave(None)

    def give_up(self, intents: Iterable[OrderIntent], state: OrderState, reason: str) -> None:
        """Settle orders that will not be sent."""
        for intent in intents:
            self.book.settle(Settlement(intent.client_order_id, state, reason=reason))

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
                state = LEFT_BY_FAULT.get(order.state)
                if state is not None:
                    self.book.settle(Settlement(id_, state, reason=cause))
            await self.close(RunFailure(kind, cause))
        except (PortError, IllegalTransition):
            return False
        return True

    def _claim_nothing(self) -> WaveClaim | None:
        """Number a commit that puts orders back to PLANNED.

        That step alone leads back. A twin of the commit that arrives late, after its answer was
        lost and it was repeated, is known by the number, and puts nothing back that was claimed
        again meanwhile.
        """
        return None if self.latch is None else self.number_claim(())

    async def _look_for_plan(self) -> None:
        """Learn whether the plan was committed: its commit's outcome may be unknown."""
        run = await self.ports.runs.get_run(self.lease.run_id)
        if run is None or run.orders is None:
            self.book.find_no_plan()
        else:
            self.book.find_stored(run.orders)

    def _needs_recovery(self) -> bool:
        return any(order.state in FOR_RECOVERY for order in self.book.orders.values())

    def _final_failure(self) -> RunFailure | None:
        """Return the failure if nothing was placed; else the orders tell the story."""
        if any(order.state in PLACED for order in self.book.orders.values()):
            return None
        return self.failure

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
