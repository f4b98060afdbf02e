"""Worlds to begin from: who asks whom for what, and when."""

from collections.abc import Callable, Mapping
from functools import partial

from attrs import evolve

from orchestrator_adapters.memory.orders import Behaviour
from orchestrator_adapters.simulation.loop import Actor
from orchestrator_adapters.simulation.world import POLICY, World
from orchestrator_core.identifiers import Symbol
from orchestrator_core.sizing import SizingMode, SizingRules

Scenario = Callable[[], World]

# One order a side: two waves, and few enough states to go through all interleavings.
TWO_SIDES = {"A": -0.2, "B": 0.2}
# A run that adopted orders does not wait for their owners: a client asks again.
BRIEF_SECONDS = 0.05
# A is to be turned from long to short.
HELD = {"A": 50, "B": 20}
DIFFERENCES = evolve(POLICY, sizing=SizingRules(mode=SizingMode.DELTA), leg_wait_seconds=2.0)
IMPATIENT = evolve(POLICY, owner_wait_seconds=0.0)


def one_run() -> World:
    """Return a world in which a client asks one of two replicas for a run of three orders."""
    world = World()
    first = world.start_replica()
    world.start_replica()
    world.ask(first)
    return world


def paced() -> World:
    """Return a world in which the gateway wants the first order later."""
    world = World(weights=TWO_SIDES)
    world.gateway.script(Symbol("A"), [Behaviour.DEFER])
    first = world.start_replica()
    world.start_replica()
    world.ask(first)
    return world


def asked_again() -> World:
    """Return a world in which a client that may have heard nothing asks another replica too."""
    world = one_run()
    world.loop.later(30.0, lambda: _ask_whoever_lives(world))
    return world


def adopting() -> World:
    """Return a world in which a second replica is asked while the first one sends."""
    world = World(weights=TWO_SIDES)
    sender, adopter = world.start_replica(), world.start_replica()
    run = world.ask(sender)
    go_to(world, run, "submit")
    world.ask(adopter)
    return world


def engaged() -> World:
    """Return a world in which trading is stopped, and runs are asked for all the same."""
    world = World()
    first = world.start_replica()
    world.start_replica()
    world.engage(first)
    for seconds in (10.0, 40.0):
        world.loop.later(seconds, lambda: _ask_whoever_lives(world))
    return world


def stopped_and_released() -> World:
    """Return a world of every brake: a foreign stop, one of ours that cancels, and releases."""
    world = World(fills=False)
    world.start_replica(rests_seconds=10.0)
    world.start_replica(rests_seconds=12.0)
    later = world.loop.later
    later(0.0, lambda: _ask_whoever_lives(world))
    later(5.0, world.engage_elsewhere)
    later(30.0, lambda: _release(world))
    later(35.0, lambda: _stop_and_cancel(world))
    later(45.0, lambda: _release(world))
    later(50.0, lambda: _ask_whoever_lives(world))
    return world


def rebalanced() -> World:
    """Return a world of differences: a flip, then rebalances while orders are open, and later."""
    world = World(weights=TWO_SIDES, policy=DIFFERENCES, held=HELD)
    world.ask(world.start_replica(), rebalance_key="first")
    world.start_replica()
    for seconds, key in ((0.9, "second"), (30.0, "third"), (90.0, "fourth")):
        world.loop.later(seconds, partial(_rebalance, world, key))
    return world


def _rebalance(world: World, key: str) -> None:
    world.ask(world.living(), rebalance_key=key)


def _release(world: World) -> None:
    world.disengage(world.living())


def _stop_and_cancel(world: World) -> None:
    world.engage(world.living(), cancels=True)


def _ask_whoever_lives(world: World) -> None:
    world.ask(world.living())


SWEPT: Mapping[str, Scenario] = {
    "one run": one_run,
    "paced": paced,
    "asked again": asked_again,
    "adopting": adopting,
    "engaged": engaged,
    "stopped and released": stopped_and_released,
    "rebalanced": rebalanced,
}


def two_runs() -> World:
    """Return a world in which two replicas are asked for one decision at once."""
    world = World(weights=TWO_SIDES, policy=IMPATIENT, engage_wait_seconds=BRIEF_SECONDS)
    for replica in (world.start_replica(), world.start_replica()):
        world.ask(replica)
    return world


def two_runs_and_an_engage() -> World:
    """Return the same, with an operator who stops trading meanwhile."""
    world = two_runs()
    world.engage(world.replicas[1])
    return world


def a_run_and_two_operators() -> World:
    """Return a world in which two operators stop trading at once, during a run."""
    world = World(weights=TWO_SIDES, policy=IMPATIENT, engage_wait_seconds=BRIEF_SECONDS)
    first, second = world.start_replica(), world.start_replica()
    world.ask(first)
    world.engage(first)
    world.engage(second)
    return world


def an_engage_and_a_disengage() -> World:
    """Return a world in which one operator stops trading while another lets it go on."""
    world = World(weights={"A": 0.2}, policy=IMPATIENT, engage_wait_seconds=BRIEF_SECONDS)
    first, second = world.start_replica(), world.start_replica()
    finish(world, world.engage(first))
    world.ask(first)
    world.disengage(first)
    world.engage(second)
    return world


def a_dead_sender() -> World:
    """Return a world in which a sender died with its first order on the wire.

    Two replicas find its run at the same moment, and an operator stops trading.
    """
    world = World(weights=TWO_SIDES, policy=IMPATIENT, engage_wait_seconds=BRIEF_SECONDS)
    sender = world.start_replica()
    run = world.ask(sender)
    go_to(world, run, "submit")
    world.replicas.remove(sender)
    world.loop.kill(sender.process)
    world.loop.pass_time(POLICY.lease_seconds)
    world.start_replica(rests_seconds=0.0)
    world.engage(world.start_replica(rests_seconds=0.0))
    return world


def two_rebalances() -> World:
    """Return a world in which two replicas are asked for the same difference under two names."""
    policy = evolve(DIFFERENCES, owner_wait_seconds=0.0)
    world = World(weights={"B": 0.2}, policy=policy, held={"B": 20})
    for key, replica in (("first", world.start_replica()), ("second", world.start_replica())):
        world.ask(replica, rebalance_key=key)
    return world


INTERLEAVED: Mapping[str, Scenario] = {
    "two replicas on one decision": two_runs,
    "the same, and an engage": two_runs_and_an_engage,
    "a run and two operators": a_run_and_two_operators,
    "an engage and a disengage": an_engage_and_a_disengage,
    "a dead sender, two takers and an engage": a_dead_sender,
    "two rebalances at once": two_rebalances,
}


def go_to(world: World, actor: Actor, operation: str) -> None:
    """Let one actor go on, alone, to its next call of that name."""
    while actor.call is not None and actor.call.operation != operation:
        world.loop.step(actor)


def finish(world: World, actor: Actor) -> None:
    """Let one actor go on to its end, alone."""
    while not actor.is_done:
        if actor.is_ready:
            world.loop.step(actor)
        elif not world.loop.advance():
            return
