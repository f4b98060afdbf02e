"""A sweep as a page: the picture, and the best cells."""

from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator_entrypoints.backtests.figures import NOTES_BETWEEN
from orchestrator_entrypoints.reports.figures import SHOWN
from orchestrator_entrypoints.reports.heat_map import describe_sweep, draw_sweep
from orchestrator_entrypoints.reports.page import Page, PageTable
from orchestrator_entrypoints.reports.tables import Table
from orchestrator_entrypoints.sweeps.cells import Axis, Outcome

BEST = 20
# Beyond these, notes stand in the table of cells alone.
MOST_NOTES = 5


def best_first(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return outcomes that have figures, the highest total return first, idle ones last.

    Where no order filled there is nothing to judge a policy by.
    """
    known = [outcome for outcome in outcomes if outcome.error is None]

    def place(outcome: Outcome) -> tuple[bool, float]:
        return (float(outcome.figures["turnover"]) == 0, -_total_return(outcome))

    return sorted(known, key=place)


def _total_return(outcome: Outcome) -> float:
    return float(outcome.figures["total_return"])


def table_of(outcomes: Sequence[Outcome]) -> Table:
    """Return a row a cell: its fields, its figures, and what was wrong."""
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.figures)
    return Table.of(
        {
            **dict(outcome.cell),
            **{name: outcome.figures.get(name) for name in names},
            "error": outcome.error,
        }
        for outcome in outcomes
    )


def sweep_page(
    axes: Sequence[Axis], outcomes: Sequence[Outcome], *, source: str, policy: Mapping[str, str]
) -> Page:
    """Return the page of a sweep.

    Args:
        axes: What was varied.
        outcomes: One a cell.
        source: What was traded, in words.
        policy: What all cells have in common, in words, by name.
    """
    best = best_first(outcomes)
    figures = [("cells", f"{len(outcomes):,}")]
    if best:
        worst = min(best, key=_total_return)
        figures += [
            ("best total return", SHOWN[0].text(best[0].figures)),
            ("worst total return", SHOWN[0].text(worst.figures)),
        ]
    return Page(
        title="Sweep",
        lead=source,
        figures=figures,
        plots=[(describe_sweep(axes), draw_sweep(axes, outcomes, SHOWN))],
        tables=[
            _best_table(axes, best[:BEST]),
            PageTable("Common to all cells", ("field", "value"), tuple(policy.items())),
        ],
        notes=notes_of(outcomes),
    )


def notes_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what the reader should know of how many cells, the most frequent first."""
    texts = Counter(
        text
        for outcome in outcomes
        for text in (outcome.error or outcome.figures.get("notes", "")).split(NOTES_BETWEEN)
        if text
    )
    told = texts.most_common(MOST_NOTES)
    notes = [
        text if count == len(outcomes) else f"{_counted(count)}: {text}" for text, count in told
    ]
    others = texts.total() - sum(count for _, count in told)
    if others:
        notes.append(f"{others:,} more notes of cells: the table of cells holds them")
    return notes


def _counted(count: int) -> str:
    return "1 cell" if count == 1 else f"{count:,} cells"


def _best_table(axes: Sequence[Axis], best: Sequence[Outcome]) -> PageTable:
    return PageTable(
        "Highest total return",
        (*(axis.name for axis in axes), *(figure.title for figure in SHOWN)),
        tuple(
            (
                *(value for _, value in outcome.cell),
                *(figure.text(outcome.figures) for figure in SHOWN),
            )
            for outcome in best
        ),
    )
