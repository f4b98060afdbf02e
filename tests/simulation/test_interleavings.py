import pytest

from orchestrator_adapters.simulation.driving import Driver
from orchestrator_adapters.simulation.interleavings import explore
from orchestrator_adapters.simulation.scenarios import INTERLEAVED
from orchestrator_adapters.simulation.world import POLICY, World


def is_over(world: World) -> bool:
    """Whether all that was asked for is done, and recovery has had its turn where it began."""
    if not all(actor.is_done for actor in world.asked):
        return False
    return world.loop.now < POLICY.lease_seconds or world.is_settled()


def finish(world: World) -> tuple[str, ...]:
    return Driver(world).run().violations


@pytest.mark.parametrize("scenario", INTERLEAVED)
def test_no_interleaving_breaks_a_promise(scenario: str) -> None:
    found = explore(INTERLEAVED[scenario], is_over=is_over, finish=finish, most_states=60_000)
    assert not found.broken, found.broken[:5]
    assert found.states > 400
    assert found.ends > 1
