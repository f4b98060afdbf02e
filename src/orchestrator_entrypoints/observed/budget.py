"""The order budget, observed."""

from collections.abc import Sequence

from attrs import frozen

from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.ports import Allowance, OrderBudget
from orchestrator_entrypoints.metrics import Metrics
from orchestrator_entrypoints.observed.calls import observed


@frozen
class ObservedBudget:
    """An order budget, observed."""

    inner: OrderBudget
    metrics: Metrics

    async def take(self, ids: Sequence[ClientOrderId], *, hold_seconds: float) -> Allowance:
        with observed(self.metrics, "budget", "take"):
            allowance = await self.inner.take(ids, hold_seconds=hold_seconds)
        self.metrics.budget_waits.inc(allowance.granted < len(ids))
        return allowance

    async def give_back(self, ids: Sequence[ClientOrderId]) -> None:
        with observed(self.metrics, "budget", "give_back"):
            await self.inner.give_back(ids)
