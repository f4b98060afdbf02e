"""A run's places in the order budget that all replicas share."""

from collections.abc import Sequence
from contextlib import suppress

from attrs import frozen

from orchestrator_core.errors import PortError
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.ports import Allowance, OrderBudget


@frozen
class Places:
    """One run's way to the budget.

    Attributes:
        budget: None where replicas need not share one: every order has a place then.
    """

    budget: OrderBudget | None

    async def take(
        self, ids: Sequence[ClientOrderId], *, hold_seconds: float, resends: bool
    ) -> Allowance:
        """Return how many of the orders the gateway may be given now, from the first on.

        Args:
            ids: In the order of sending.
            hold_seconds: After this a place comes free by itself.
            resends: Each was sent once already.

        Raises:
            PortError: The budget cannot be asked.
        """
        if self.budget is None:
            return Allowance(len(ids))
        if resends:
            # The place of the first try: a second one counts for itself.
            await self.budget.give_back(ids)
        return await self.budget.take(ids, hold_seconds=hold_seconds)

    async def give_back(self, ids: Sequence[ClientOrderId]) -> None:
        """Free places, as far as the budget can be asked: others come free by themselves."""
        if self.budget is None:
            return
        with suppress(PortError):
            await self.budget.give_back(ids)
