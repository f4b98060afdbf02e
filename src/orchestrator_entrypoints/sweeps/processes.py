"""Computing cells on processes of this machine.

Each process has a pipe of its own: it is sent the work once, and then one cell at a time. A process
that dies costs the cell that it had; another takes its place. (The standard library's pool would
lose what every other process had under way, too.) A process whose parent is gone reads the end of
its pipe and ends.
"""

import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from attrs import define

from orchestrator_entrypoints.sweeps.cells import Cell, Outcome, Work, evaluate, lost_outcome

# How often a cell may cost a worker before it is given up.
MAX_LOSSES = 3


@define(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    cell: Cell | None = None


def run_on_processes(work: Work, cells: Sequence[Cell], *, processes: int) -> Iterator[Outcome]:
    """Yield an outcome for each cell, as they come.

    Args:
        work: Sent once to each process.
        cells: Each once.
        processes: At most so many at a time; at least 1.
    """
    waiting, losses = deque(cells), dict.fromkeys(cells, 0)
    with _workers(work, min(processes, len(cells))) as workers:
        for worker in workers:
            _give(worker, waiting)
        while any(worker.cell is not None for worker in workers):
            for pipe in wait([worker.pipe for worker in workers if worker.cell is not None]):
                [worker] = (each for each in workers if each.pipe is pipe)
                outcome = _received(worker)
                if outcome is None:
                    lost = _replace(work, worker)
                    losses[lost] += 1
                    if losses[lost] < MAX_LOSSES:
                        waiting.appendleft(lost)
                    else:
                        yield lost_outcome(lost, f"{MAX_LOSSES} workers died over it")
                _give(worker, waiting)
                if outcome is not None:
                    yield outcome


@contextmanager
def _workers(work: Work, count: int) -> Iterator[list[_Worker]]:
    workers: list[_Worker] = []
    try:
        workers.extend(_start(work) for _ in range(count))
        yield workers
    finally:
        for worker in workers:
            _end(worker)


def _start(work: Work) -> _Worker:
    # A fresh interpreter each: nothing of this process's threads or locks is copied.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    # One that died at once is noticed when it is read from.
    with suppress(BrokenPipeError, ConnectionResetError):
        ours.send(work)
    return _Worker(process, ours)


def _end(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.kill()
    worker.process.join()
    worker.process.close()


def _replace(work: Work, worker: _Worker) -> Cell:
    """Put a new process in the place of one that died; return the cell that it had."""
    lost = worker.cell
    assert lost is not None  # noqa: S101 - only a worker with a cell is read from
    _end(worker)
    fresh = _start(work)
    worker.process, worker.pipe, worker.cell = fresh.process, fresh.pipe, None
    return lost


def _give(worker: _Worker, waiting: deque[Cell]) -> None:
    worker.cell = waiting.popleft() if waiting else None
    if worker.cell is not None:
        with suppress(BrokenPipeError, ConnectionResetError):
            worker.pipe.send(worker.cell)


def _received(worker: _Worker) -> Outcome | None:
    try:
        outcome: Outcome = worker.pipe.recv()
    except (EOFError, OSError):
        return None
    return outcome


def _serve(pipe: Connection) -> None:
    # Ctrl-C reaches the whole group; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(EOFError, OSError):
        work: Work = pipe.recv()
        while True:
            pipe.send(evaluate(work, pipe.recv()))
