"""Recorded runs under several policies: tables, and a page that sets them beside one another."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from orchestrator_core.money import add_all
from orchestrator_entrypoints.backtests.from_runs import FromRuns, PolicyOutcome
from orchestrator_entrypoints.backtests.result import BacktestResult, Day
from orchestrator_entrypoints.reports.page import Page, PageTable, Plot
from orchestrator_entrypoints.reports.panels import COLOURS, Panel, line, stack
from orchestrator_entrypoints.reports.tables import Row, Table

COLUMNS = (
    "policy",
    "runs",
    "changed orders",
    "refused runs",
    "leftover",
    "orders",
    "total return",
    "max drawdown",
)
# Beyond these, changes stand in the table beside the page alone.
MOST_CHANGES = 200


def cells_of(outcome: PolicyOutcome) -> tuple[str, ...]:
    """Return a policy's figures under `COLUMNS`."""
    leftover = add_all(run.after.leftover_cash for run in outcome.runs if run.after is not None)
    refused = sum(run.refusal is not None for run in outcome.runs)
    counts = (f"{len(outcome.runs):,}", f"{outcome.changed:,}", f"{refused:,}")
    figures = ("", "", "")
    if outcome.result is not None:
        summary = outcome.result.summary()
        returns = (f"{summary.total_return:.2%}", f"{summary.max_drawdown:.2%}")
        figures = (f"{summary.orders:,}", *returns)
    return (outcome.name, *counts, f"{leftover:,.2f}", *figures)


def changes_of(found: FromRuns) -> Table:
    """Return a row for each decision that is otherwise: what was decided, and what would be."""
    rows: list[Row] = [
        {
            "policy": outcome.name,
            "run_id": str(run.run_id),
            "date": run.as_of_date,
            "symbol": difference.symbol,
            "before": difference.stored,
            "after": difference.derived,
        }
        for outcome in found.outcomes
        for run in outcome.runs
        for difference in run.differences
    ]
    return Table.of(rows, ("policy", "run_id", "date", "symbol", "before", "after"))


def days_of(found: FromRuns) -> Table:
    """Return a row a day of each policy that has a result."""
    return Table.of(
        {"policy": name, **row} for name, result in found.results.items() for row in result.table()
    )


def from_runs_page(found: FromRuns) -> Page:
    """Return the page of recorded runs under several policies."""
    runs = found.outcomes[0].runs
    changed = tuple(
        tuple(str(row[name] or "") for name in ("policy", "date", "symbol", "before", "after"))
        for row in changes_of(found).rows[:MOST_CHANGES]
    )
    return Page(
        title="Recorded runs under other policies",
        lead=f"{len(runs):,} runs, {runs[0].as_of_date} to {runs[-1].as_of_date}",
        figures=[],
        plots=[("From cash alone", _plot(found.results))] if found.results else [],
        tables=[
            PageTable("Policies", COLUMNS, tuple(map(cells_of, found.outcomes))),
            PageTable("Decided otherwise", ("policy", "date", "symbol", "was", "is"), changed),
        ],
        notes=notes_of(found),
    )


def notes_of(found: FromRuns) -> list[str]:
    """Return what the reader should know: of all, then of which result."""
    by_note: dict[str, list[str]] = {}
    for name, result in found.results.items():
        for note in result.notes:
            by_note.setdefault(note, []).append(name)
    return [
        *found.notes,
        *(
            note if len(names) == len(found.results) else f"{', '.join(names)}: {note}"
            for note, names in by_note.items()
        ),
    ]


def _plot(results: Mapping[str, BacktestResult]) -> Plot:
    def panel(title: str, value: Callable[[Day], Decimal], *, is_fraction: bool = False) -> Panel:
        return Panel(
            title,
            [
                line(name, [float(value(day)) for day in result.days], COLOURS[n % len(COLOURS)])
                for n, (name, result) in enumerate(results.items())
            ],
            is_fraction=is_fraction,
        )

    return stack(
        [
            panel("Equity, account currency", lambda day: day.equity),
            panel("Drawdown", lambda day: -day.drawdown, is_fraction=True),
            panel("Gross exposure, account currency", lambda day: day.gross),
        ],
        [day.date.isoformat() for day in next(iter(results.values())).days],
    )
