"""The kill switch of embedded parts, which nobody else shares and nobody else initialises."""

from collections.abc import Sequence
from contextlib import suppress

from attrs import frozen

from orchestrator_core.engaging import AlreadyInState, initialise
from orchestrator_core.errors import TradingHalted
from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    HistoryEntry,
    KillSwitchState,
)
from orchestrator_core.ports import Clock, KillSwitch, RunRepository, SwitchChange

OPERATOR = "first start"


@frozen
class FirstUseKillSwitch:
    """A kill switch that is initialised when it is first read.

    Only where there is neither a state nor a latch: a state that was lost halts, as anywhere.
    """

    inner: KillSwitch
    runs: RunRepository
    clock: Clock

    async def read(self) -> KillSwitchState | None:
        state = await self.inner.read()
        if state is not None or await self.runs.read_latch() is not None:
            return state
        first = Disengagement(operator=OPERATOR, at=self.clock.now(), notes="embedded parts")
        with suppress(AlreadyInState, TradingHalted):
            await initialise(first, kill_switch=self.inner, runs=self.runs)
        return await self.inner.read()

    async def engage(self, engagement: Engagement, *, latch_epoch: int | None) -> SwitchChange:
        return await self.inner.engage(engagement, latch_epoch=latch_epoch)

    async def disengage(
        self, disengagement: Disengagement, *, latch_epoch: int, only_create: bool = False
    ) -> SwitchChange:
        return await self.inner.disengage(
            disengagement, latch_epoch=latch_epoch, only_create=only_create
        )

    async def stamp(self, expected: KillSwitchState, *, latch_epoch: int) -> bool:
        return await self.inner.stamp(expected, latch_epoch=latch_epoch)

    async def history(self, *, limit: int) -> Sequence[HistoryEntry]:
        return await self.inner.history(limit=limit)

    async def check(self) -> None:
        await self.inner.check()
