"""A backtest as a page: figures, days in panels, policy and notes."""

from collections.abc import Callable
from decimal import Decimal
from itertools import accumulate
from math import ceil

from orchestrator_entrypoints.backtests.result import BacktestResult, Day
from orchestrator_entrypoints.reports.figures import summary_lines
from orchestrator_entrypoints.reports.page import Page, PageTable, Plot
from orchestrator_entrypoints.reports.panels import (
    BLACK,
    BLUE,
    COLOURS,
    GREEN,
    ORANGE,
    RED,
    SKY,
    Panel,
    bars,
    line,
    stack,
)

# Beyond these, denials of one code each are drawn as one.
MOST_CODES = len(COLOURS) - 1
MOST_TICKS = 5


def backtest_page(result: BacktestResult, *, title: str, source: str) -> Page:
    """Return the page of a backtest.

    Args:
        result: With at least one day.
        title: Of the page.
        source: What was traded, in words.
    """
    summary = result.summary()
    return Page(
        title=title,
        lead=f"{source}; {summary.first} to {summary.last}; engine: {result.engine}",
        figures=summary_lines(summary),
        plots=[("Days", plot_days(result.days))],
        tables=[PageTable("Policy", ("field", "value"), tuple(result.policy.items()))],
        notes=result.notes,
    )


def plot_days(days: tuple[Day, ...]) -> Plot:
    """Return equity, drawdown, exposure, turnover, costs, leftover and denials over the days."""
    return stack(
        [
            Panel("Equity, account currency", [_line(days, "equity", BLUE, lambda d: d.equity)]),
            _drawdown(days),
            _exposure(days),
            _turnover(days),
            _costs(days),
            _leftover(days),
            _denials(days),
        ],
        [day.date.isoformat() for day in days],
    )


def _line(
    days: tuple[Day, ...], name: str, colour: str, value: Callable[[Day], Decimal | None]
) -> dict[str, object]:
    return line(name, [_float(value(day)) for day in days], colour)


def _drawdown(days: tuple[Day, ...]) -> Panel:
    below = [-float(day.drawdown) for day in days]
    return Panel(
        "Drawdown, of the highest equity so far",
        [line("drawdown", below, RED, fill="tozeroy", fillcolor="rgba(213,94,0,0.25)")],
        is_fraction=True,
        holds=(0,),
    )


def _exposure(days: tuple[Day, ...]) -> Panel:
    return Panel(
        "Exposure, account currency",
        [
            _line(days, "gross", BLACK, lambda day: day.gross),
            _line(days, "long", BLUE, lambda day: day.long),
            _line(days, "short", ORANGE, lambda day: -day.short),
            _line(days, "net", GREEN, lambda day: day.net),
        ],
        holds=(0,),
    )


def _turnover(days: tuple[Day, ...]) -> Panel:
    traded = [float(day.turnover) for day in days]
    return Panel("Turnover, account currency", [bars("turnover", traded, SKY)], holds=(0,))


def _costs(days: tuple[Day, ...]) -> Panel:
    so_far = [float(total) for total in accumulate(day.costs for day in days)]
    return Panel("Costs so far, account currency", [line("costs", so_far, RED)], holds=(0,))


def _leftover(days: tuple[Day, ...]) -> Panel:
    # Days without a plan have none: the line goes on from plan to plan.
    trace = _line(days, "leftover", GREEN, lambda day: day.leftover_cash)
    return Panel(
        "Leftover of the cash that weights asked for, account currency",
        [{**trace, "connectgaps": True}],
        holds=(0,),
    )


def _denials(days: tuple[Day, ...]) -> Panel:
    codes = sorted({code for day in days for code in day.denials})
    named, others = codes[:MOST_CODES], codes[MOST_CODES:]
    traces = [
        bars(code, [day.denials.get(code, 0) for day in days], colour)
        for code, colour in zip(named, COLOURS, strict=False)
    ]
    if others:
        sums = [float(sum(day.denials.get(code, 0) for code in others)) for day in days]
        traces.append(bars("others", sums, COLOURS[-1]))
    if not traces:
        traces = [bars("none", [0.0 for _ in days], SKY)]
    most = max(sum(day.denials.values()) for day in days)
    return Panel(
        "Orders denied, by code" + ("" if codes else ": none"),
        traces,
        holds=(0,),
        step=max(1, ceil(most / MOST_TICKS)),
    )


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
