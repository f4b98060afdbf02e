"""A sweep as a page: the picture, and the best cells."""

from collections import Counter
from collections.abc import Sequence

from orchestrator_entrypoints.reports.figures import SHOWN
from orchestrator_entrypoints.reports.heat_map import Shown, describe_sweep, draw_sweep
from orchestrator_entrypoints.reports.page import Page, PageTable
from orchestrator_entrypoints.reports.tables import Value
from orchestrator_entrypoints.sweeps.cells import Axis, Outcome

BEST = 20
# Beyond these, notes stand in the table of cells alone.
MOST_NOTES = 5


def best_first(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return outcomes that have figures, the highest total return first."""
    known = [outcome for outcome in outcomes if outcome.error is None]
    return sorted(known, key=lambda outcome: -float(outcome.figures["total_return"]))


def table_of(outcomes: Sequence[Outcome]) -> list[dict[str, Value]]:
    """Return a row a cell: its fields, its figures, and what was wrong."""
    names = dict.fromkeys(name for outcome in outcomes for name in outcome.figures)
    return [
        {
            **dict(outcome.cell),
            **{name: outcome.figures.get(name) for name in names},
            "error": outcome.error,
        }
        for outcome in outcomes
    ]


def sweep_page(axes: Sequence[Axis], outcomes: Sequence[Outcome], *, source: str) -> Page:
    """Return the page of a sweep.

    Args:
        axes: What was varied.
        outcomes: One a cell.
        source: What was traded, in words.
    """
    best = best_first(outcomes)
    figures = [("cells", f"{len(outcomes):,}")]
    if best:
        figures += [
            ("best total return", _shown(best[0], SHOWN[0])),
            ("worst total return", _shown(best[-1], SHOWN[0])),
        ]
    return Page(
        title="Sweep",
        lead=source,
        figures=figures,
        plots=[(describe_sweep(axes), draw_sweep(axes, outcomes, SHOWN))],
        tables=[_best_table(axes, best[:BEST])],
        notes=notes_of(outcomes),
    )


def notes_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what the reader should know of how many cells, the most frequent first."""
    said = (outcome.error or outcome.figures.get("notes") for outcome in outcomes)
    texts = Counter(text for text in said if text)
    told = texts.most_common(MOST_NOTES)
    notes = [
        text if count == len(outcomes) else f"{_counted(count)}: {text}" for text, count in told
    ]
    others = texts.total() - sum(count for _, count in told)
    if others:
        notes.append(f"{_counted(others)} more have notes: the table of cells holds them")
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
                *(_shown(outcome, figure) for figure in SHOWN),
            )
            for outcome in best
        ),
    )


def _shown(outcome: Outcome, figure: Shown) -> str:
    text = outcome.figures.get(figure.name, "")
    if not text:
        return ""
    return f"{float(text):.2%}" if figure.is_fraction else f"{float(text):,.0f}"
