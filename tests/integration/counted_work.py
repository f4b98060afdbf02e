"""A work that writes down where each cell is computed, and waits where a test wants it to.

Run as a program it sweeps over a journal: `python -m tests.integration.counted_work JOURNAL LOG
GATE CELLS`.
"""

import os
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from attrs import frozen

from orchestrator_entrypoints.sweeps.cells import Axis, Cell, grid
from orchestrator_entrypoints.sweeps.journal import open_journal
from orchestrator_entrypoints.sweeps.processes import run_on_processes
from orchestrator_entrypoints.sweeps.sweeping import sweep


@frozen
class CountedWork:
    """Squares the cell's number.

    Attributes:
        log: Told of each computation: the process and the number.
        gate: Cells from `gated_from` on wait until this file is there.
        refused: A number that cannot be computed.
        fatal: A number over which the process dies.
    """

    log: Path
    gate: Path | None = None
    gated_from: int = 0
    refused: int | None = None
    fatal: int | None = None

    def __call__(self, cell: Cell) -> Mapping[str, str]:
        number = int(dict(cell)["number"])
        with self.log.open("a") as log:
            log.write(f"{os.getpid()} {number}\n")
        if number == self.refused:
            raise ValueError("refused")
        if number == self.fatal:
            os._exit(9)
        while self.gate is not None and number >= self.gated_from and not self.gate.exists():
            time.sleep(0.01)
        return {"square": str(number * number)}


def numbers(count: int) -> tuple[Cell, ...]:
    """Return that many cells."""
    return grid([Axis("number", tuple(map(str, range(count))))])


def computed(log: Path) -> list[tuple[int, int]]:
    """Return process and number of each computation so far."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(int(process), int(number)) for process, number in map(str.split, lines)]


def main() -> None:
    """Sweep with two processes; the second half of the cells waits for the gate."""
    journal_path, log, gate, count = sys.argv[1:]
    work = CountedWork(Path(log), Path(gate), gated_from=int(count) // 2)
    with open_journal(Path(journal_path), "inputs") as journal:
        sweep(numbers(int(count)), partial(run_on_processes, work, processes=2), journal)


if __name__ == "__main__":
    main()
