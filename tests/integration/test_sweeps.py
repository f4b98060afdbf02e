import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from zlib import crc32

import pytest

from orchestrator_entrypoints.sweeps.cells import (
    Outcome,
)
from orchestrator_entrypoints.sweeps.journal import JournalError, open_journal
from orchestrator_entrypoints.sweeps.processes import run_on_processes
from orchestrator_entrypoints.sweeps.sweeping import Compute, sweep
from tests.integration.counted_work import CountedWork, computed, numbers


def wait_until(holds: Callable[[], bool], *, seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.01)


def on_processes(work: CountedWork, *, processes: int = 2) -> Compute:
    return partial(run_on_processes, work, processes=processes)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # One that nobody has waited for is dead, too.
    return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "sweep.jsonl"


@pytest.mark.parametrize("processes", [1, 3])
def test_outcomes_come_in_the_order_of_the_cells_however_many_compute(
    log: Path, journal_path: Path, processes: int
) -> None:
    told: list[int] = []
    with open_journal(journal_path, "inputs") as journal:
        compute = on_processes(CountedWork(log), processes=processes)
        outcomes = sweep(numbers(20), compute, journal, progress=told.append)
    assert [int(outcome.figures["square"]) for outcome in outcomes] == [n * n for n in range(20)]
    assert sum(told) == 20
    assert len(computed(log)) == 20
    assert len({process for process, _ in computed(log)}) <= processes


def test_a_sweep_that_is_done_computes_nothing_again(log: Path, journal_path: Path) -> None:
    for count in (5, 5, 8):  # the last grid is larger
        with open_journal(journal_path, "inputs") as journal:
            outcomes = sweep(numbers(count), on_processes(CountedWork(log)), journal)
        assert outcomes[-1].figures["square"] == str((count - 1) ** 2)
    assert Counter(number for _, number in computed(log)) == Counter(range(8))


def test_an_error_is_the_outcome_of_its_cell_alone(log: Path, journal_path: Path) -> None:
    work = CountedWork(log, refused=3)
    for _ in range(2):
        with open_journal(journal_path, "inputs") as journal:
            outcomes = sweep(numbers(5), on_processes(work), journal)
            assert journal.done.keys() == set(numbers(5))
        assert [outcome.error for outcome in outcomes if outcome.error is not None] == [
            "ValueError: refused"
        ]
    assert len(computed(log)) == 5


def test_a_worker_killed_costs_its_cell_alone(log: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    work = CountedWork(log, gate, gated_from=4)
    coming = run_on_processes(work, numbers(8), processes=2)
    outcomes = [next(coming) for _ in range(4)]
    wait_until(lambda: {4, 5} <= {number for _, number in computed(log)})
    victim, number = computed(log)[-1]
    os.kill(victim, signal.SIGKILL)
    gate.touch()
    outcomes += list(coming)
    assert sorted(int(outcome.figures["square"]) for outcome in outcomes) == [
        n * n for n in range(8)
    ]
    again = Counter(each for _, each in computed(log)) - Counter(range(8))
    assert again == Counter([number])


def test_a_cell_that_kills_every_worker_is_given_up_and_tried_by_the_next_sweep(
    log: Path, journal_path: Path
) -> None:
    with open_journal(journal_path, "inputs") as journal:
        outcomes = sweep(numbers(4), on_processes(CountedWork(log, fatal=2)), journal)
    assert [outcome.error for outcome in outcomes] == [None, None, "3 workers died over it", None]
    with open_journal(journal_path, "inputs") as journal:
        outcomes = sweep(numbers(4), on_processes(CountedWork(log)), journal)
    assert outcomes[2].figures == {"square": "4"}
    assert Counter(number for _, number in computed(log)) == Counter([0, 1, 2, 2, 2, 2, 3])


def test_a_killed_sweep_goes_on_where_it_was_and_leaves_no_process(
    log: Path, journal_path: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    arguments = [str(journal_path), str(log), str(gate), "12"]
    killed = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.counted_work", *arguments],
        cwd=Path(__file__).parents[2],
    )
    # Half is done and the two processes wait at the gate.
    wait_until(lambda: len(computed(log)) == 8)
    wait_until(lambda: journal_path.read_bytes().count(b"\n") == 7)
    killed.kill()
    killed.wait()
    gate.touch()
    wait_until(lambda: not any(alive(process) for process, _ in computed(log)))
    with open_journal(journal_path, "inputs") as journal:
        assert len(journal.done) == 6
        outcomes = sweep(numbers(12), on_processes(CountedWork(log)), journal)
    assert [int(outcome.figures["square"]) for outcome in outcomes] == [n * n for n in range(12)]
    # What was under way, and that alone, was begun twice.
    assert Counter(number for _, number in computed(log)) == Counter([*range(12), 6, 7])


def test_a_line_cut_short_at_any_place_costs_its_cell_alone(journal_path: Path) -> None:
    with open_journal(journal_path, "inputs") as journal:
        for number, cell in enumerate(numbers(3)):
            journal.append(Outcome(cell, {"square": str(number)}))
    whole = journal_path.read_bytes()
    first_lines = whole.rindex(b"\n", 0, -1) + 1
    for end in range(first_lines, len(whole)):
        journal_path.write_bytes(whole[:end])
        with open_journal(journal_path, "inputs") as journal:
            assert set(journal.done) == set(numbers(2))
            journal.append(Outcome(numbers(3)[2], {"square": "2"}))
        assert journal_path.read_bytes() == whole
    # What comes after is shorter than what was cut.
    journal_path.write_bytes(whole[:-1])
    with open_journal(journal_path, "inputs") as journal:
        journal.append(Outcome((("n", "1"),)))
    with open_journal(journal_path, "inputs") as journal:
        assert set(journal.done) == {*numbers(2), (("n", "1"),)}
    journal_path.write_bytes(whole[:10])
    with open_journal(journal_path, "inputs") as journal:
        assert journal.done == {}


def sealed(*texts: str) -> bytes:
    """Return lines with their checksums."""
    return b"".join(f"{text} {crc32(text.encode()):08x}\n".encode() for text in texts)


HEAD = '{"sweep":2,"inputs":"inputs"}'
CELL = '{"cell":[["n","1"]],"figures":{"square":"1"},"error":null}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (sealed(HEAD.replace('inputs"}', 'others"}')), "is of other data"),
        (sealed(HEAD.replace("2", "1")), "no journal of a sweep that this version reads"),
        (b'{"sweep":2,"inputs":"inputs"}\n', "line 1 is damaged, or is no line of a sweep"),
        (b"date,symbol,close\n", "line 1 is damaged, or is no line of a sweep"),
        (b"date,symbol", "no journal of a sweep"),
        (sealed(HEAD, '{"cell":[["a"]]}'), "line 2 is damaged"),
        (sealed(HEAD) + b"\xff\n", "line 2 is damaged"),
        (sealed(HEAD, CELL).replace(b'"square":"1"', b'"square":"7"'), "line 2 is damaged"),
        (sealed(HEAD) + b"[" * 100_000 + b" 00000000\n", "line 2 is damaged"),
        (sealed(HEAD, "[" * 100_000), "line 2 is damaged"),
    ],
)
def test_a_journal_of_something_else_is_refused_and_left_alone(
    journal_path: Path, content: bytes, said: str
) -> None:
    journal_path.write_bytes(content)
    with pytest.raises(JournalError, match=said), open_journal(journal_path, "inputs"):
        pass
    assert journal_path.read_bytes() == content


def test_a_journal_as_it_is_written_is_read(journal_path: Path) -> None:
    journal_path.write_bytes(sealed(HEAD, CELL))
    with open_journal(journal_path, "inputs") as journal:
        assert journal.done == {(("n", "1"),): Outcome((("n", "1"),), {"square": "1"})}


def test_two_sweeps_do_not_write_one_journal(journal_path: Path) -> None:
    with (
        open_journal(journal_path, "inputs"),
        pytest.raises(JournalError, match="another sweep is writing it"),
        open_journal(journal_path, "inputs"),
    ):
        pass
