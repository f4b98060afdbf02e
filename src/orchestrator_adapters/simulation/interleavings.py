"""Every order in which actors may pass their boundaries, bounded by what can be told apart.

Worlds cannot be copied, so each schedule is driven again from its beginning. A state that was
reached before is not gone on from: two states are one where the stores, the time, and all that each
actor was told are equal, since an actor's place follows from what it was told.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256

from attrs import define, field

from orchestrator_adapters.simulation.loop import Actor
from orchestrator_adapters.simulation.scenarios import Scenario
from orchestrator_adapters.simulation.world import World

# Choosing it lets time pass; the others name the place of an actor among those that are ready.
WAIT = -1

Schedule = tuple[int, ...]


@define
class Exploration:
    """What was gone through.

    Attributes:
        states: Different states reached.
        schedules: Ways driven to an end, or to a state that was reached before.
        ends: Worlds driven to their end and judged.
        broken: Schedules that broke a promise, and which.
    """

    states: int = 0
    schedules: int = 0
    ends: int = 0
    broken: list[tuple[Schedule, tuple[str, ...]]] = field(factory=list)


def explore(
    scenario: Scenario,
    *,
    is_over: Callable[[World], bool],
    finish: Callable[[World], tuple[str, ...]],
    most_states: int = 1_000_000,
    stop_at_first: bool = False,
) -> Exploration:
    """Go through every interleaving of a scenario's actors.

    Args:
        scenario: Makes a fresh world, its actors at their first boundaries.
        is_over: Whether nothing is left to interleave.
        finish: Drives a world to its end by itself; returns the violations.
        most_states: Raises beyond: nothing is bounded in silence.
        stop_at_first: End at the first schedule that breaks a promise.

    Raises:
        RuntimeError: There are more states than that.
    """
    found = Exploration()
    seen: set[str] = set()
    todo: list[Schedule] = [()]
    while todo:
        schedule = todo.pop()
        world = scenario()
        for choice in schedule:
            _go(world, choice)
        found.schedules += 1
        way = list(schedule)
        while True:
            state = _fingerprint(world)
            if state in seen:
                break
            seen.add(state)
            if len(seen) > most_states:
                raise RuntimeError(f"more than {most_states} states")
            choices = () if is_over(world) else _choices(world)
            if not choices:
                found.ends += 1
                violations = finish(world)
                if violations:
                    found.broken.append((tuple(way), violations))
                break
            todo += [(*way, choice) for choice in choices[1:]]
            _go(world, choices[0])
            way.append(choices[0])
        if stop_at_first and found.broken:
            break
    found.states = len(seen)
    return found


def _choices(world: World) -> Sequence[int]:
    ready = world.loop.ready()
    if ready:
        return range(len(ready))
    return (WAIT,) if world.loop.has_more else ()


def _go(world: World, choice: int) -> None:
    if choice == WAIT:
        world.loop.advance()
    else:
        world.loop.step(world.loop.ready()[choice])


def _fingerprint(world: World) -> str:
    actors = [_place(world, actor) for actor in world.loop.actors]
    state = (actors, world.fingerprint())
    return sha256(repr(state).encode()).hexdigest()


def _place(world: World, actor: Actor) -> tuple[object, ...]:
    wakes_in = None if actor.wake_at is None else round(actor.wake_at - world.loop.now, 6)
    return (actor.name, actor.history, str(actor.call), wakes_in, actor.is_done)
