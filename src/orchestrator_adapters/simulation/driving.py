"""Letting a world go on, with a plan of faults, until everything had its time."""

from collections import Counter
from collections.abc import Mapping

from attrs import define, field, frozen

from orchestrator_adapters.simulation.faults import EVENTS, Fault, FaultKind
from orchestrator_adapters.simulation.loop import Actor, Call
from orchestrator_adapters.simulation.world import World

# Faults cease, and then everything must become true within this virtual time.
SETTLING_SECONDS = 600.0

Plan = Mapping[int, FaultKind]
Cell = tuple[str, FaultKind]


@frozen
class Outcome:
    """What became of one world.

    Attributes:
        violations: Promises that were broken, in words.
        calls: The boundaries passed, in order.
        cells: Faults that came in, by call.
        trace_hash: Equal for equal plans.
        seconds: Virtual time from the last random fault, or the start, until all was settled.
        posts: Orders that left.
        by_hand: Orders that an operator had to close.
    """

    violations: tuple[str, ...]
    calls: tuple[Call, ...]
    cells: Counter[Cell]
    trace_hash: str
    seconds: float
    posts: int
    by_hand: int


@define
class Driver:
    """Lets the newest actor that is ready go on, until nothing is left to do.

    Attributes:
        plan: The fault at a boundary, by its number from 0.
    """

    world: World
    plan: Plan = field(factory=dict)
    calls: list[Call] = field(factory=list, init=False)
    cells: Counter[Cell] = field(factory=Counter, init=False)

    def run(self) -> Outcome:
        """Drive the world to its end, and judge it."""
        world = self.world
        began = world.loop.now
        until = began + SETTLING_SECONDS
        is_settled = False
        while not is_settled and world.loop.now < until:
            self.run_ready()
            is_settled = world.is_settled()
            if not is_settled and not world.loop.advance():
                break
        seconds = world.loop.now - began
        for actor in world.asked:
            world.checker.see_answer(actor)
        by_hand = world.close_by_hand()
        world.checker.judge_end()
        return Outcome(
            violations=tuple(world.checker.violations),
            calls=tuple(self.calls),
            cells=self.cells,
            trace_hash=world.loop.trace_hash,
            seconds=seconds,
            posts=world.checker.posts,
            by_hand=by_hand,
        )

    def run_ready(self) -> None:
        """Let every actor go on until all sleep or have ended."""
        while ready := self.world.loop.ready():
            self.step(ready[-1])

    def step(self, actor: Actor) -> None:
        """Let one actor pass its boundary, as the plan has it."""
        if actor.call is None:
            return
        kind = self.plan.get(len(self.calls))
        call = actor.call
        self.calls.append(call)
        meet(self.world, actor, kind)
        if kind is not None:
            self.cells[str(call), kind] += 1


def meet(world: World, actor: Actor, kind: FaultKind | None) -> None:
    """Let an actor pass its boundary with a fault, or without."""
    if kind is FaultKind.CRASH_BEFORE:
        world.loop.kill(actor.process)
    elif kind in EVENTS:
        world.happen(kind, actor.process)
        if actor.is_ready:
            world.loop.step(actor)
    else:
        world.loop.step(actor, None if kind is None else Fault(kind))
