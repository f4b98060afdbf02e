"""The shared half of the kill switch, observed."""

from collections.abc import Sequence

from attrs import frozen

from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    HistoryEntry,
    KillSwitchState,
)
from orchestrator_core.ports import KillSwitch, SwitchChange
from orchestrator_entrypoints.metrics import Metrics
from orchestrator_entrypoints.observed.calls import observed


@frozen
class ObservedKillSwitch:
    """The shared half of the kill switch, observed."""

    inner: KillSwitch
    metrics: Metrics

    async def read(self) -> KillSwitchState | None:
        with observed(self.metrics, "kill_switch", "read"):
            return await self.inner.read()

    async def engage(self, engagement: Engagement, *, latch_epoch: int | None) -> SwitchChange:
        with observed(self.metrics, "kill_switch", "engage"):
            return await self.inner.engage(engagement, latch_epoch=latch_epoch)

    async def disengage(
        self, disengagement: Disengagement, *, latch_epoch: int, only_create: bool = False
    ) -> SwitchChange:
        with observed(self.metrics, "kill_switch", "disengage"):
            return await self.inner.disengage(
                disengagement, latch_epoch=latch_epoch, only_create=only_create
            )

    async def stamp(self, expected: KillSwitchState, *, latch_epoch: int) -> bool:
        with observed(self.metrics, "kill_switch", "stamp"):
            return await self.inner.stamp(expected, latch_epoch=latch_epoch)

    async def history(self, *, limit: int) -> Sequence[HistoryEntry]:
        with observed(self.metrics, "kill_switch", "history"):
            return await self.inner.history(limit=limit)

    async def check(self) -> None:
        with observed(self.metrics, "kill_switch", "check"):
            await self.inner.check()
