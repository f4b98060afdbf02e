"""Worlds driven at random: one seed gives one trace."""

from datetime import timedelta
from random import Random

from attrs import define, field

from orchestrator_adapters.simulation.driving import Driver, Outcome, meet
from orchestrator_adapters.simulation.faults import FaultKind
from orchestrator_adapters.simulation.loop import Actor
from orchestrator_adapters.simulation.sweeps import kinds_at
from orchestrator_adapters.simulation.world import ALPHA, TODAY, World
from orchestrator_core.identifiers import StrategyId

BETA = StrategyId("beta")
STRATEGIES = (ALPHA, BETA)
REBALANCE_KEYS = ("", "noon")
DAYS = 2

FAULT_CHANCE = 0.03
ASK_CHANCE = 0.02
ENGAGE_CHANCE = 0.003
RELEASE_CHANCE = 0.006


@define
class RandomDriver:
    """Several days of several strategies, replicas, clients and operators.

    Attributes:
        steps: Boundaries passed before faults cease.
    """

    seed: int
    steps: int = 400
    world: World = field(factory=World, init=False)
    _random: Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311 - a seed must give the same world again
        for strategy in (*STRATEGIES, ALPHA):
            self.world.start_replica(strategy=strategy, rests_seconds=self._random.uniform(0, 20))

    def run(self) -> Outcome:
        """Drive the world, let faults cease, and judge it."""
        world, driver = self.world, Driver(self.world)
        while len(driver.calls) < self.steps:
            self._let_people_act()
            ready = world.loop.ready()
            if not ready or self._happens(0.02):
                world.loop.advance()
                continue
            actor = self._random.choice(ready)
            self._step(driver, actor)
        return driver.run()

    def _step(self, driver: Driver, actor: Actor) -> None:
        if actor.call is None:
            return
        call, kind = actor.call, self._fault_at(actor)
        driver.calls.append(call)
        meet(self.world, actor, kind)
        if kind is not None:
            driver.cells[str(call), kind] += 1

    def _fault_at(self, actor: Actor) -> FaultKind | None:
        if actor.call is None or not self._happens(FAULT_CHANCE):
            return None
        return self._random.choice(kinds_at(actor.call))

    def _let_people_act(self) -> None:
        world = self.world
        if self._happens(ASK_CHANCE):
            world.ask(
                self._random.choice(world.replicas or [world.living()]),
                as_of_date=TODAY + timedelta(days=self._random.randrange(DAYS)),
                rebalance_key=self._random.choice(REBALANCE_KEYS),
            )
        if self._happens(ENGAGE_CHANCE):
            world.engage(world.living(), cancels=self._happens(0.5))
        if self._happens(RELEASE_CHANCE):
            world.disengage(world.living())

    def _happens(self, chance: float) -> bool:
        return self._random.random() < chance
