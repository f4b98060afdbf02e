"""Go through every schedule there is, and print what was gone through.

    python -m tests.simulation [--seeds N] [--first-seed N] [--only sweeps|interleavings|random]

Exit code 1 where a promise was broken.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from orchestrator_adapters.simulation.interleavings import explore
from orchestrator_adapters.simulation.random_driving import RandomDriver
from orchestrator_adapters.simulation.scenarios import INTERLEAVED, SWEPT
from orchestrator_adapters.simulation.sweeps import Tally, single_plans, sweep
from tests.simulation.test_interleavings import finish, is_over

# The others have some millions of pairs.
PAIRED = ("one run", "asked again", "adopting")
PARTS = 64
SEEDS_A_PART = 250


def main() -> int:
    """Go through what is asked for; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000, help="random worlds (10000)")
    parser.add_argument("--first-seed", type=int, default=0, help="(0)")
    parser.add_argument("--only", choices=["sweeps", "interleavings", "random"])
    chosen = parser.parse_args()
    began = time.monotonic()
    is_whole = True
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        if chosen.only in {None, "sweeps"}:
            is_whole &= min([_sweep(pool, name, pairs=pairs) for name, pairs in _sweeps()])
        if chosen.only in {None, "interleavings"}:
            is_whole &= min(list(pool.map(_interleave, INTERLEAVED)))
        if chosen.only in {None, "random"}:
            is_whole &= _random(pool, chosen.first_seed, chosen.seeds)
    _say(
        f"{time.monotonic() - began:.0f} s in all: {'nothing' if is_whole else 'SOMETHING'} broken"
    )
    return 0 if is_whole else 1


def _sweeps() -> Iterator[tuple[str, bool]]:
    yield from ((name, False) for name in SWEPT)
    yield from ((name, True) for name in PAIRED)


def _sweep(pool: ProcessPoolExecutor, name: str, *, pairs: bool) -> bool:
    began, tally = time.monotonic(), Tally()
    for part in pool.map(partial(_part_of_sweep, name, pairs), range(PARTS)):
        tally.merge(part)
    _report(f"{name}, {'pairs' if pairs else 'single'}", tally, time.monotonic() - began)
    return not tally.broken


def _part_of_sweep(name: str, pairs: bool, part: int) -> Tally:
    scenario = SWEPT[name]
    return sweep(scenario, list(single_plans(scenario))[part::PARTS], pairs=pairs)


def _interleave(name: str) -> bool:
    began = time.monotonic()
    found = explore(INTERLEAVED[name], is_over=is_over, finish=finish)
    _say(
        f"{name}: {found.states} states, {found.schedules} schedules, {found.ends} ends, "
        f"{len(found.broken)} broken, {time.monotonic() - began:.0f} s"
    )
    for schedule, violations in found.broken[:5]:
        _say(f"  {schedule}: {'; '.join(violations)}")
    return not found.broken


def _random(pool: ProcessPoolExecutor, first: int, count: int) -> bool:
    began, tally = time.monotonic(), Tally()
    starts = range(first, first + count, SEEDS_A_PART)
    for part in pool.map(partial(_part_of_random, first + count), starts):
        tally.merge(part)
    _report("random worlds", tally, time.monotonic() - began)
    return not tally.broken


def _part_of_random(end: int, first: int) -> Tally:
    tally = Tally()
    for seed in range(first, min(first + SEEDS_A_PART, end)):
        outcome = RandomDriver(seed).run()
        tally.add({}, outcome)
        if outcome.violations:
            _say(f"  seed {seed}: {'; '.join(outcome.violations)}")
    return tally


def _report(name: str, tally: Tally, seconds: float) -> None:
    _say(
        f"{name}: {tally.schedules} schedules, {tally.boundaries} boundaries, {tally.posts} orders "
        f"sent, {tally.by_hand} left to an operator, settled within {tally.longest_seconds:.0f} s "
        f"of virtual time, {len(tally.broken)} broken, {seconds:.0f} s"
    )
    for broken in tally.broken[:5]:
        _say(f"  {broken}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
