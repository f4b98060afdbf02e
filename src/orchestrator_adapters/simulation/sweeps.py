"""Every single fault, and every pair of faults, at every boundary of a scenario."""

from collections import Counter
from collections.abc import Iterable, Iterator

from attrs import define, field, frozen

from orchestrator_adapters.simulation.driving import Cell, Driver, Outcome, Plan
from orchestrator_adapters.simulation.faults import EVENTS, FaultKind, faults_of
from orchestrator_adapters.simulation.loop import Call
from orchestrator_adapters.simulation.scenarios import Scenario

ALL_EVENTS = tuple(sorted(EVENTS, key=lambda kind: kind.name))


@frozen
class Broken:
    """A plan of faults that broke a promise."""

    plan: Plan
    violations: tuple[str, ...]

    def __str__(self) -> str:
        faults = ", ".join(f"{kind.name} at {place}" for place, kind in sorted(self.plan.items()))
        return f"[{faults or 'no fault'}] {'; '.join(self.violations)}"


@define
class Tally:
    """What a sweep went through.

    Attributes:
        schedules: Worlds driven to their end.
        boundaries: Boundaries passed in all of them.
        cells: How often each fault came in at each call.
        posts: Orders that left.
        by_hand: Orders that an operator had to close.
        longest_seconds: The longest virtual time that a world took to settle.
        broken: Plans that broke a promise.
    """

    schedules: int = 0
    boundaries: int = 0
    cells: Counter[Cell] = field(factory=Counter)
    posts: int = 0
    by_hand: int = 0
    longest_seconds: float = 0.0
    broken: list[Broken] = field(factory=list)

    def add(self, plan: Plan, outcome: Outcome) -> None:
        """Count one world."""
        self.schedules += 1
        self.boundaries += len(outcome.calls)
        self.cells += outcome.cells
        self.posts += outcome.posts
        self.by_hand += outcome.by_hand
        self.longest_seconds = max(self.longest_seconds, outcome.seconds)
        if outcome.violations:
            self.broken.append(Broken(dict(plan), outcome.violations))

    def merge(self, other: "Tally") -> None:
        """Add what another sweep went through."""
        self.schedules += other.schedules
        self.boundaries += other.boundaries
        self.cells += other.cells
        self.posts += other.posts
        self.by_hand += other.by_hand
        self.longest_seconds = max(self.longest_seconds, other.longest_seconds)
        self.broken += other.broken


def run_plan(scenario: Scenario, plan: Plan) -> Outcome:
    """Drive a fresh world with these faults."""
    return Driver(scenario(), plan).run()


def kinds_at(call: Call) -> tuple[FaultKind, ...]:
    """Return all that can go wrong at a boundary."""
    return faults_of(call.port, call.operation) + ALL_EVENTS


def single_plans(scenario: Scenario) -> Iterator[Plan]:
    """Yield a plan for every fault at every boundary of the run without faults."""
    calls = run_plan(scenario, {}).calls
    return ({place: kind} for place, call in enumerate(calls) for kind in kinds_at(call))


def sweep(
    scenario: Scenario, plans: Iterable[Plan], *, pairs: bool, stop_at_first: bool = False
) -> Tally:
    """Drive a world for each plan; with `pairs`, also for each later fault beside it.

    The boundaries of the second fault are those that the world with the first fault passes: a
    crash during recovery is among them.
    """
    tally = Tally()
    for plan in plans:
        outcome = run_plan(scenario, plan)
        tally.add(plan, outcome)
        if stop_at_first and tally.broken:
            return tally
        if not pairs:
            continue
        first = max(plan)
        for place in range(first + 1, len(outcome.calls)):
            for kind in kinds_at(outcome.calls[place]):
                both = {**plan, place: kind}
                tally.add(both, run_plan(scenario, both))
                if stop_at_first and tally.broken:
                    return tally
    return tally
