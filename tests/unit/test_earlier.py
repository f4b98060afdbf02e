"""What the run database remembers of the gateway's answers."""

from collections.abc import Callable

import pytest
from attrs import evolve

from orchestrator_core.driver import run_sync
from orchestrator_core.earlier import RUNS_READ, latest_acknowledged
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.model import OrderIntent, OrderReport
from orchestrator_core.ports import Inquiry, SubmitKind, SubmitOutcome
from tests.unit.world import World, accepted, outcome


def latest(world: World, strategy_id: str = "alpha") -> Inquiry | None:
    return run_sync(latest_acknowledged(world.runs, StrategyId(strategy_id)))


def answered_as(id_: str) -> Callable[[OrderIntent], SubmitOutcome]:
    def answer(intent: OrderIntent) -> SubmitOutcome:
        return evolve(accepted(intent), report=OrderReport("accepted", id_, "b-1"))

    return answer


def test_nothing_is_remembered_before_anything_was_acknowledged() -> None:
    world = World({"A": 0.1})
    assert latest(world) is None
    world.script("A", outcome(SubmitKind.UNKNOWN, cause="reset"))
    world.run()
    assert latest(world) is None


def test_an_order_of_the_strategys_latest_run_is_remembered_with_its_id() -> None:
    world = World({"A": 0.1})
    world.run()
    world.run(rebalance_key="second")
    world.run(rebalance_key="third", dry_run=True)
    found = latest(world)
    assert found is not None
    assert found.intent == (world.stored(2).orders or ())[0].intent
    assert found.gateway_order_id == found.intent.client_order_id
    assert latest(world, "beta") is None


def test_an_id_of_the_gateways_own_outweighs_ours_in_the_same_run() -> None:
    world = World({"A": 0.1, "B": 0.1, "C": 0.1})
    world.script("B", answered_as("gw-7"))
    world.run()
    found = latest(world)
    assert found is not None
    assert found.gateway_order_id == "gw-7"


@pytest.mark.parametrize(("adoptions", "is_found"), [(RUNS_READ - 1, True), (RUNS_READ, False)])
def test_runs_that_only_adopted_tell_nothing(adoptions: int, is_found: bool) -> None:
    world = World({"A": 0.1})
    for _ in range(1 + adoptions):
        world.clock.advance(1)
        world.refresh_prices()
        world.run()
    assert (latest(world) is not None) is is_found
