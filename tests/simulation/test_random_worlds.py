"""Random worlds: several runs, strategies, replicas, operators and days, and any fault anywhere."""

from datetime import timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestrator_adapters.simulation.driving import Driver, meet
from orchestrator_adapters.simulation.faults import EVENTS, FaultKind, faults_of
from orchestrator_adapters.simulation.random_driving import BETA, RandomDriver
from orchestrator_adapters.simulation.world import ALPHA, TODAY, World
from orchestrator_core.commits import IdempotencyKey

SEEDS_A_TEST = 40


@pytest.mark.parametrize("first", range(0, 400, SEEDS_A_TEST))
def test_no_random_world_breaks_a_promise(first: int) -> None:
    broken = {}
    for seed in range(first, first + SEEDS_A_TEST):
        outcome = RandomDriver(seed).run()
        if outcome.violations:
            broken[seed] = outcome.violations
    assert not broken


class Desk(RuleBasedStateMachine):
    """Whatever a desk's days bring, chosen and shrunk by the tool that runs this."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        for strategy, rest in ((ALPHA, 0.0), (ALPHA, 7.0), (BETA, 3.0)):
            self.world.start_replica(strategy=strategy, rests_seconds=rest)

    @rule(
        place=st.integers(0, 2),
        day=st.integers(0, 1),
        rebalance_key=st.sampled_from(["", "noon"]),
        key=st.sampled_from([None, "k1", "k2"]),
    )
    def a_client_asks(self, place: int, day: int, rebalance_key: str, key: str | None) -> None:
        replicas = self.world.replicas
        replica = replicas[place % len(replicas)] if replicas else self.world.living()
        as_of_date = TODAY + timedelta(days=day)
        fingerprint = f"{as_of_date} {rebalance_key}"
        self.world.ask(
            replica,
            as_of_date=as_of_date,
            rebalance_key=rebalance_key,
            idempotency=None if key is None else IdempotencyKey(key, fingerprint),
        )

    @rule(cancels=st.booleans())
    def an_operator_engages(self, cancels: bool) -> None:
        self.world.engage(self.world.living(), cancels=cancels)

    @rule()
    def an_operator_disengages(self) -> None:
        self.world.disengage(self.world.living())

    @precondition(lambda self: self.world.replicas)
    @rule(kind=st.sampled_from(sorted(EVENTS)), place=st.integers(0, 2))
    def something_happens(self, kind: FaultKind, place: int) -> None:
        replicas = self.world.replicas
        self.world.happen(kind, replicas[place % len(replicas)].process)

    @precondition(lambda self: self.world.replicas)
    @rule(place=st.integers(0, 2))
    def a_replica_is_killed(self, place: int) -> None:
        replicas = self.world.replicas
        self.world.loop.kill(replicas[place % len(replicas)].process)

    @precondition(lambda self: self.world.loop.ready())
    @rule(places=st.lists(st.integers(0, 9), min_size=1, max_size=20))
    def actors_go_on(self, places: list[int]) -> None:
        for place in places:
            ready = self.world.loop.ready()
            if ready:
                self.world.loop.step(ready[place % len(ready)])

    @precondition(lambda self: self.world.loop.ready())
    @rule(place=st.integers(0, 9), which=st.integers(0, 9))
    def a_call_meets_a_fault(self, place: int, which: int) -> None:
        ready = self.world.loop.ready()
        actor = ready[place % len(ready)]
        assert actor.call is not None
        kinds = faults_of(actor.call.port, actor.call.operation)
        meet(self.world, actor, kinds[which % len(kinds)])

    @rule()
    def time_passes(self) -> None:
        self.world.loop.advance()

    @invariant()
    def nothing_is_broken(self) -> None:
        assert not self.world.checker.violations

    def teardown(self) -> None:
        assert not Driver(self.world).run().violations


TestDesk = Desk.TestCase
TestDesk.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
