"""Figures in words: of one backtest, and those of a sweep's cells."""

from collections.abc import Mapping

from attrs import frozen

from orchestrator_entrypoints.backtests.result import Summary


@frozen
class Shown:
    """A figure that the picture can show.

    Attributes:
        name: In an outcome's figures.
        title: Of the reader's list.
        is_fraction: Whether it is a fraction, shown in percent.
    """

    name: str
    title: str
    is_fraction: bool = False

    @property
    def digits(self) -> str:
        """How it is formatted, in Python's words, which are d3's too."""
        return ".2%" if self.is_fraction else ",.0f"

    def text(self, figures: Mapping[str, str]) -> str:
        """Return it as it is shown; empty where there is none."""
        written = figures.get(self.name)
        return f"{float(written):{self.digits}}" if written else ""


# Figures of a cell that its page shows.
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


def summary_lines(summary: Summary) -> list[tuple[str, str]]:
    """Return names and values as a person reads them."""
    lines = [
        ("days", f"{summary.days:,}"),
        ("equity at first", f"{summary.start_equity:,.2f}"),
        ("equity at last", f"{summary.end_equity:,.2f}"),
        ("total return", f"{summary.total_return:.2%}"),
        ("return a year", _percent(summary.annual_return)),
        ("volatility a year", _percent(summary.annual_volatility)),
        ("max drawdown", f"{summary.max_drawdown:.2%}"),
        ("turnover", f"{summary.turnover:,.2f}"),
        ("costs", f"{summary.costs:,.2f}"),
        ("orders", f"{summary.orders:,}"),
        ("filled", f"{summary.filled:,}"),
        ("rejected", f"{summary.rejected:,}"),
    ]
    # Named where there are some.
    lines += [
        (name, f"{count:,}")
        for name, count in (
            ("filled in part", summary.partial),
            ("not placed", summary.not_placed),
            ("failed runs", summary.failed_runs),
        )
        if count
    ]
    lines += [(f"denied: {code}", f"{count:,}") for code, count in summary.denials.items()]
    return lines


def _percent(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2%}"
