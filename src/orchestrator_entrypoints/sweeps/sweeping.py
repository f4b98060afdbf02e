"""A whole sweep: what the journal holds, and the rest computed."""

from collections.abc import Callable, Iterator, Sequence

from orchestrator_entrypoints.sweeps.cells import Cell, Outcome
from orchestrator_entrypoints.sweeps.journal import Journal

# Computes cells, each once, and yields their outcomes as they come.
Compute = Callable[[Sequence[Cell]], Iterator[Outcome]]


class ClusterUnavailable(ConnectionError):
    """A cluster does not answer, has no workers, or cannot compute ours."""


def sweep(
    cells: Sequence[Cell],
    compute: Compute,
    journal: Journal,
    *,
    progress: Callable[[int], None] = lambda _steps: None,
) -> tuple[Outcome, ...]:
    """Return an outcome for each cell, in the order of the cells.

    What the journal holds is not computed again; each further outcome is in the journal before the
    next is waited for. Cells that workers died over are not put down, so that a later sweep tries
    them again.

    Args:
        cells: Each once.
        compute: Where the others are computed.
        journal: Open, of the same inputs.
        progress: Told of each cell that is known.
    """
    found = {cell: journal.done[cell] for cell in cells if cell in journal.done}
    progress(len(found))
    missing = [cell for cell in cells if cell not in found]
    for outcome in compute(missing) if missing else ():
        if not outcome.is_lost:
            journal.append(outcome)
        found[outcome.cell] = outcome
        progress(1)
    return tuple(found[cell] for cell in cells)
