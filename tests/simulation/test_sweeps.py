import os
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest

from orchestrator_adapters.simulation.driving import Cell
from orchestrator_adapters.simulation.faults import EVENTS, faults_of
from orchestrator_adapters.simulation.scenarios import SWEPT
from orchestrator_adapters.simulation.sweeps import Tally, run_plan, single_plans, sweep

SHARDS = 12
# Faults of two, a restart, a lease, the time to an operator, and the pauses between looks.
SETTLED_WITHIN_SECONDS = 250.0

# Every call that a run, recovery, following and the switch make of something outside.
CALLS = (
    *(("kill_switch", operation) for operation in ("read", "engage", "disengage", "stamp")),
    *(("orders", operation) for operation in ("submit", "look_up", "cancel", "safety_flags")),
    ("signals", "fetch"),
    ("prices", "quotes"),
    ("positions", "positions"),
    *(
        ("runs", operation)
        for operation in (
            "open_run",
            "commit_plan",
            "commit_wave",
            "close_run",
            "get_run",
            "open_orders",
            "take_run",
            "take_followed",
            "record_news",
            "live_orders",
            "read_controls",
            "read_book",
            "read_latch",
            "swap_latch",
        )
    ),
)


@cache
def singles(scenario: str) -> Tally:
    return sweep(SWEPT[scenario], [{}, *single_plans(SWEPT[scenario])], pairs=False)


@pytest.mark.parametrize("scenario", SWEPT)
def test_no_single_fault_breaks_a_promise(scenario: str) -> None:
    tally = singles(scenario)
    assert not tally.broken, "\n".join(map(str, tally.broken[:5]))
    assert tally.schedules > 300
    assert tally.longest_seconds < SETTLED_WITHIN_SECONDS


@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_pair_of_faults_breaks_a_promise(shard: int) -> None:
    scenario = SWEPT["one run"]
    plans = list(single_plans(scenario))[shard::SHARDS]
    tally = sweep(scenario, plans, pairs=True)
    assert not tally.broken, "\n".join(map(str, tally.broken[:5]))
    assert tally.schedules > 1_000
    assert tally.longest_seconds < SETTLED_WITHIN_SECONDS


def test_every_cell_of_the_fault_table_is_reached() -> None:
    reached: Counter[Cell] = Counter()
    for scenario in SWEPT:
        reached += singles(scenario).cells
    table = [
        (f"{port}.{operation}", kind)
        for port, operation in CALLS
        for kind in (*faults_of(port, operation), *EVENTS)
    ]
    missed = [f"{call}: {kind.name}" for call, kind in table if not reached[call, kind]]
    assert not missed
    assert {call for call, _ in reached} == {f"{port}.{operation}" for port, operation in CALLS}


def test_one_plan_gives_one_trace_on_every_machine() -> None:
    program = (
        "from orchestrator_adapters.simulation.random_driving import RandomDriver;"
        "print([RandomDriver(seed).run().trace_hash for seed in range(8)])"
    )
    traces = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(traces) == 1


def test_another_plan_gives_another_trace() -> None:
    scenario = SWEPT["one run"]
    plans = [{}, *single_plans(scenario)]
    traces = Counter(run_plan(scenario, plan).trace_hash for plan in plans[:100])
    assert len(traces) == 100
