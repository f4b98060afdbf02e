"""Going through schedules until a promise is broken.

    python -m tests.simulation.hunts SCENARIO [FIRST]

Of a scenario that is interleaved, every order of its actors. Of others the simplest first: no
fault, every single one, then the pairs that begin with the fault FIRST, or all pairs. The exit code
says whether one was broken; the story goes to the standard output.
"""

import sys
from collections.abc import Iterator

from orchestrator_adapters.simulation.driving import Plan
from orchestrator_adapters.simulation.interleavings import explore
from orchestrator_adapters.simulation.scenarios import INTERLEAVED, SWEPT
from orchestrator_adapters.simulation.sweeps import Tally, single_plans, sweep
from tests.simulation.test_interleavings import finish, is_over

NOTHING_FOUND = 0
FOUND = 3


def hunt(scenario_name: str, first: str) -> str | None:
    """Return how a promise was broken; None where none was."""
    if scenario_name in INTERLEAVED:
        found = explore(
            INTERLEAVED[scenario_name], is_over=is_over, finish=finish, stop_at_first=True
        )
        return str(found.broken[0]) if found.broken else None
    scenario = SWEPT[scenario_name]
    singles = list(single_plans(scenario))
    begun = [plan for plan in singles if first in {"", *plan.values()}]
    for tally in _tallies(scenario_name, singles, begun):
        if tally.broken:
            return str(tally.broken[0])
    return None


def _tallies(scenario_name: str, singles: list[Plan], begun: list[Plan]) -> Iterator[Tally]:
    scenario = SWEPT[scenario_name]
    yield sweep(scenario, [{}, *singles], pairs=False, stop_at_first=True)
    yield sweep(scenario, begun, pairs=True, stop_at_first=True)


def main() -> int:
    """Hunt, and say what was found."""
    story = hunt(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
    sys.stdout.write(f"{story or 'nothing found'}\n")
    return FOUND if story else NOTHING_FOUND


if __name__ == "__main__":
    sys.exit(main())
