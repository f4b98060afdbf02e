"""A backtest's figures in words, and as a sweep keeps them."""

from collections.abc import Mapping
from hashlib import sha256

from orchestrator_core.money import add_all
from orchestrator_entrypoints.backtests.result import BacktestResult, Summary
from orchestrator_entrypoints.reports.heat_map import Shown

# Figures that the picture of a sweep can show.
SHOWN = (
    Shown("total_return", "total return", is_fraction=True),
    Shown("annual_return", "return a year", is_fraction=True),
    Shown("annual_volatility", "volatility a year", is_fraction=True),
    Shown("max_drawdown", "max drawdown", is_fraction=True),
    Shown("end_equity", "end equity"),
    Shown("turnover", "turnover"),
    Shown("costs", "costs"),
    Shown("orders", "orders"),
    Shown("denied", "denied orders"),
    Shown("failed_runs", "failed runs"),
    Shown("mean_leftover", "mean leftover cash"),
)


def figures_of(result: BacktestResult) -> Mapping[str, str]:
    """Return a backtest's figures, numbers as text, decimals and floats digit by digit.

    `days_digest` stands for every figure of every day: equal where the whole results are. `notes`
    is what the reader should know.
    """
    summary = result.summary()
    leftovers = [day.leftover_cash for day in result.days if day.leftover_cash is not None]
    mean = add_all(leftovers) / len(leftovers) if leftovers else None
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
        "rejected": str(summary.rejected),
        "denied": str(sum(summary.denials.values())),
        "failed_runs": str(summary.failed_runs),
        "mean_leftover": "" if mean is None else f"{mean:.2f}",
        "days_digest": sha256(repr(result.table()).encode()).hexdigest(),
        "notes": "; ".join(result.notes),
    }


def summary_lines(summary: Summary) -> list[tuple[str, str]]:
    """Return names and values as a person reads them."""
    lines = [
        ("days", f"{summary.days:,}"),
        ("equity at first", f"{summary.start_equity:,.2f}"),
        ("equity at last", f"{summary.end_equity:,.2f}"),
        ("total return", f"{summary.total_return:.2%}"),
        ("return a year", _share(summary.annual_return)),
        ("volatility a year", _share(summary.annual_volatility)),
        ("max drawdown", f"{summary.max_drawdown:.2%}"),
        ("turnover", f"{summary.turnover:,.2f}"),
        ("costs", f"{summary.costs:,.2f}"),
        ("orders", f"{summary.orders:,}"),
        ("filled", f"{summary.filled:,}"),
        ("rejected", f"{summary.rejected:,}"),
    ]
    if summary.failed_runs > 0:
        lines.append(("failed runs", f"{summary.failed_runs:,}"))
    lines += [(f"denied: {code}", f"{count:,}") for code, count in summary.denials.items()]
    return lines


def _text(figure: float | None) -> str:
    return "" if figure is None else repr(figure)


def _share(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2%}"
