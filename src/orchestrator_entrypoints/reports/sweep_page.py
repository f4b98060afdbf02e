"""A sweep as a page: the picture, and the best cells."""

from collections.abc import Sequence

from orchestrator_entrypoints.reports.figures import SHOWN
from orchestrator_entrypoints.reports.heat_map import Shown, describe_sweep, draw_sweep
from orchestrator_entrypoints.reports.page import Page, PageTable
from orchestrator_entrypoints.reports.tables import Value
from orchestrator_entrypoints.sweeps.cells import Axis, Outcome

BEST = 20


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
    failed = len(outcomes) - len(best)
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
        notes=[f"{failed:,} cells have no figures; the table of cells says why"] if failed else [],
    )


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
    return f"{float(text):.2%}" if figure.is_share else f"{float(text):,.0f}"
