"""The order budget's rule in its plainest words, to compare adapters with."""

import random
from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field

from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.ports import Allowance, OrderBudget

MINUTE_SECONDS = 60.0
# Time that passes for real where a stage cannot stop it, and what is lost to rounding.
SLACK_SECONDS = 8.0


def ids(*names: str) -> list[ClientOrderId]:
    """Return order ids of these names."""
    return [ClientOrderId(name) for name in names]


def fresh(count: int, mark: str) -> list[ClientOrderId]:
    """Return that many order ids."""
    return ids(*(f"{mark}{number}" for number in range(count)))


@define
class BudgetModel:
    """The rule in its plainest words, over everything that ever happened.

    Time goes by tens of seconds, so that what passes for real on the way changes nothing.
    """

    max_in_flight: int | None
    max_per_minute: int | None
    now: float = 0.0
    free_at: dict[ClientOrderId, float] = field(factory=dict)
    grants: list[float] = field(factory=list)

    async def step(
        self,
        chance: random.Random,
        budget: OrderBudget,
        pass_time: Callable[[float], Awaitable[None]],
    ) -> None:
        """Let a chance event happen, here and to the adapter, and compare what comes of it."""
        match chance.randrange(5):
            case 0:
                seconds = 10.0 * chance.randint(1, 4)
                await pass_time(seconds)
                self.now += seconds
            case 1:
                returned = chance.sample(fresh(8, "o"), chance.randint(1, 4))
                await budget.give_back(returned)
                for id_ in returned:
                    self.free_at.pop(id_, None)
            case _:
                wished = chance.sample(fresh(8, "o"), chance.randint(1, 5))
                hold = 10.0 * chance.randint(1, 5)
                expected = self.take(wished, hold)
                answer = await budget.take(wished, hold_seconds=hold)
                assert answer.granted == expected.granted
                early = expected.retry_after - answer.retry_after
                assert -0.001 <= early <= SLACK_SECONDS, (answer, expected)
                assert (answer.retry_after > 0) is (expected.retry_after > 0)

    def take(self, wished: Sequence[ClientOrderId], hold: float) -> Allowance:
        """Take places, as `OrderBudget.take` does."""
        for place, id_ in enumerate(wished):
            if self.free_at.get(id_, self.now) <= self.now:
                wait = self.wait()
                if wait > 0:
                    return Allowance(place, wait)
                self.grants.append(self.now)
            self.free_at[id_] = max(self.now + hold, self.free_at.get(id_, 0))
        return Allowance(len(wished))

    def wait(self) -> float:
        """Return the seconds until there may be room for one more; 0: now."""
        held = [at for at in self.free_at.values() if at > self.now]
        recent = [at for at in self.grants if at > self.now - MINUTE_SECONDS]
        wait = 0.0
        if self.max_in_flight is not None and len(held) >= self.max_in_flight:
            wait = 0.1
        if self.max_per_minute is not None and len(recent) >= self.max_per_minute:
            wait = max(wait, recent[0] + MINUTE_SECONDS - self.now)
        return wait

    def check_every_window(self) -> None:
        """Check the rule itself: no minute, wherever it begins, saw more than it holds."""
        if self.max_per_minute is not None:
            for start in self.grants:
                within = [at for at in self.grants if start <= at < start + MINUTE_SECONDS]
                assert len(within) <= self.max_per_minute
