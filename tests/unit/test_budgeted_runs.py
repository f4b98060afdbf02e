"""Runs that share what may be sent to the gateway."""

from collections.abc import Sequence

import pytest
from attrs import define, evolve, field

from orchestrator_adapters.memory.budget import MemoryOrderBudget
from orchestrator_core.driver import run_sync
from orchestrator_core.errors import Unavailable
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.ports import Allowance, SubmitKind
from orchestrator_core.recovery import recover_run
from orchestrator_core.runs import FailureKind
from tests.unit.world import World, outcome


@define
class Recorded:
    """A budget in memory, and what was asked of it."""

    inner: MemoryOrderBudget
    is_down: bool = False
    taken: list[tuple[ClientOrderId, ...]] = field(factory=list)
    given_back: list[ClientOrderId] = field(factory=list)

    async def take(self, ids: Sequence[ClientOrderId], *, hold_seconds: float) -> Allowance:
        if self.is_down:
            raise Unavailable("budget", "take", "down")
        allowance = await self.inner.take(ids, hold_seconds=hold_seconds)
        self.taken.append(tuple(ids[: allowance.granted]))
        return allowance

    async def give_back(self, ids: Sequence[ClientOrderId]) -> None:
        if self.is_down:
            raise Unavailable("budget", "give_back", "down")
        self.given_back += ids
        await self.inner.give_back(ids)


def a_world(
    *, in_flight: int | None = None, per_minute: int | None = None, **weights: float
) -> tuple[World, Recorded]:
    world = World(weights or {f"S{n}": 0.01 for n in range(5)})
    budget = Recorded(MemoryOrderBudget(world.clock, in_flight, per_minute))
    world.set_ports(budget=budget)
    return world, budget


def test_a_wave_is_cut_to_what_may_be_in_flight() -> None:
    world, budget = a_world(in_flight=2)
    run = world.run()
    assert run.status is RunStatus.COMPLETED
    assert [len(wave) for wave in world.sink.waves] == [2, 2, 1]
    assert sorted(budget.given_back) == sorted(id_ for wave in budget.taken for id_ in wave)


def test_a_minute_that_is_used_up_is_waited_for_while_prices_are_good() -> None:
    world, _ = a_world(per_minute=2)
    world.policy = evolve(
        world.policy, limits=evolve(world.policy.limits, max_price_age_seconds=100.0)
    )
    began = world.clock.monotonic()
    run = world.run()
    waves = [len(wave) for wave in world.sink.waves]
    assert waves[0] == 2
    assert run.tally.accepted == 4
    assert run.tally.not_placed == 1
    assert 60 <= world.clock.monotonic() - began < 100


def test_the_lease_is_kept_while_a_run_waits_for_the_budget() -> None:
    world, _ = a_world(per_minute=2)
    world.policy = evolve(
        world.policy,
        lease_seconds=10.0,
        limits=evolve(world.policy.limits, max_price_age_seconds=100.0),
    )
    assert world.run().tally.accepted == 4


def test_a_budget_that_cannot_be_asked_lets_nothing_go() -> None:
    world, budget = a_world(in_flight=2)
    budget.is_down = True
    run = world.run()
    assert not world.sink.sent
    assert run.failure is not None
    assert run.failure.kind is FailureKind.BUDGET_UNAVAILABLE
    assert set(world.states().values()) == {"not_placed"}


def test_places_of_orders_that_may_be_on_the_wire_are_kept() -> None:
    world, budget = a_world(in_flight=3, A=0.1, B=0.1)
    world.script("A", outcome(SubmitKind.UNKNOWN, cause="reset"))
    world.run()
    assert len(budget.given_back) == 1
    allowance = run_sync(budget.inner.take([ClientOrderId(x) for x in "xyz"], hold_seconds=1.0))
    assert allowance.granted == 2


def test_a_budget_that_is_gone_after_the_wave_changes_no_outcome() -> None:
    world, budget = a_world(in_flight=9, A=0.1)

    def go_down() -> None:
        budget.is_down = True

    world.sink.before = go_down
    assert world.run().status is RunStatus.COMPLETED


@pytest.mark.parametrize("per_minute", [1, 2])
def test_a_second_try_counts_for_itself(per_minute: int) -> None:
    world, budget = a_world(A=0.1)
    world.run(rebalance_key="before")
    budget.inner = MemoryOrderBudget(world.clock, None, per_minute)
    world.script("A", outcome(SubmitKind.UNKNOWN, cause="reset"))
    world.run()
    world.sink.scripts.clear()
    world.sink.waves.clear()
    world.clock.advance(2)
    run_sync(recover_run(ports=world.ports, policy=world.policy))
    assert len(world.sink.sent) == per_minute - 1
