"""A backtest's figures as a sweep keeps them: numbers as text."""

from collections.abc import Mapping
from fractions import Fraction
from hashlib import sha256

from orchestrator_core.money import add_all
from orchestrator_entrypoints.backtests.result import BacktestResult

# Between the notes of a result, where they stand in one text.
NOTES_BETWEEN = " | "


def figures_of(result: BacktestResult) -> Mapping[str, str]:
    """Return a backtest's figures, numbers as text, decimals and floats digit by digit.

    `days_digest` stands for every figure of the table of days: equal where the tables are. `notes`
    is what the reader should know.
    """
    summary = result.summary()
    leftovers = [day.leftover_cash for day in result.days if day.leftover_cash is not None]
    mean = Fraction(add_all(leftovers)) / len(leftovers) if leftovers else None
    return {
        "total_return": repr(summary.total_return),
        "annual_return": _text(summary.annual_return),
        "annual_volatility": _text(summary.annual_volatility),
        "max_drawdown": repr(summary.max_drawdown),
        "end_equity": f"{summary.end_equity:f}",
        "turnover": f"{summary.turnover:f}",
        "costs": f"{summary.costs:f}",
        "orders": str(summary.orders),
        "filled": str(summary.filled),
        "partial": str(summary.partial),
        "rejected": str(summary.rejected),
        "not_placed": str(summary.not_placed),
        "denied": str(sum(summary.denials.values())),
        "failed_runs": str(summary.failed_runs),
        "mean_leftover": "" if mean is None else f"{float(mean):.2f}",
        "days_digest": sha256(repr(result.table()).encode()).hexdigest(),
        "notes": NOTES_BETWEEN.join(result.notes),
    }


def _text(figure: float | None) -> str:
    return "" if figure is None else repr(figure)
