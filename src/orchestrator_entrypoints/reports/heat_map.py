"""A sweep as a picture: a line over one axis, a heat map over two."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from orchestrator_entrypoints.reports.figures import Shown
from orchestrator_entrypoints.reports.page import Plot
from orchestrator_entrypoints.reports.panels import BLUE, FONT
from orchestrator_entrypoints.sweeps.cells import Axis, Outcome

# Cells up to which each has its figure written on it.
MOST_ACROSS, MOST_DOWN = 12, 30


def draw_sweep(axes: Sequence[Axis], outcomes: Sequence[Outcome], figures: Sequence[Shown]) -> Plot:
    """Return the first two axes with more than one value as a plane, a colour a cell.

    A list above it chooses the figure. Where further axes vary, a colour is the mean over them; a
    cell without any figures is a gap.
    """
    varied = [axis for axis in axes if len(axis.values) > 1] or list(axes[:1])
    traces = [
        _trace(varied, outcomes, figure, is_shown=place == 0)
        for place, figure in enumerate(figures)
    ]
    return {"data": traces, "layout": _layout(varied, figures)}


def describe_sweep(axes: Sequence[Axis]) -> str:
    """Return the picture's title."""
    varied = [axis.name for axis in axes if len(axis.values) > 1] or [axes[0].name]
    rest = ", ".join(varied[2:])
    return " against ".join(varied[:2]) + (f", mean over {rest}" if rest else "")


def _trace(
    varied: Sequence[Axis], outcomes: Sequence[Outcome], figure: Shown, *, is_shown: bool
) -> dict[str, Any]:
    found: dict[tuple[str, ...], list[float]] = {}
    for outcome in outcomes:
        value = outcome.figures.get(figure.name)
        if value:
            written = dict(outcome.cell)
            place = tuple(written[axis.name] for axis in varied[:2])
            found.setdefault(place, []).append(float(value))
    means = {place: fmean(values) for place, values in found.items()}
    common = {"name": figure.title, "visible": is_shown}
    if len(varied) == 1:
        return {**common, **_line_over(varied[0], means, figure)}
    return {**common, **_plane_over(varied[0], varied[1], means, figure)}


def _line_over(axis: Axis, means: Mapping[tuple[str, ...], float], figure: Shown) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": axis.values,
        "y": [means.get((value,)) for value in axis.values],
        "line": {"color": BLUE},
        "hovertemplate": f"%{{x}}: %{{y:{figure.digits}}}<extra></extra>",
    }


def _plane_over(
    down: Axis, across: Axis, means: Mapping[tuple[str, ...], float], figure: Shown
) -> dict[str, Any]:
    colours = [[means.get((y, x)) for x in across.values] for y in down.values]
    written = len(across.values) <= MOST_ACROSS and len(down.values) <= MOST_DOWN
    return {
        "type": "heatmap",
        "x": across.values,
        "y": down.values,
        "z": colours,
        "colorscale": "Viridis",
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"tickformat": figure.digits, "thickness": 14},
        "hovertemplate": (
            f"{across.name} %{{x}}<br>{down.name} %{{y}}<br>%{{z:{figure.digits}}}<extra></extra>"
        ),
        **({"texttemplate": f"%{{z:{figure.digits}}}"} if written else {}),
    }


def _layout(varied: Sequence[Axis], figures: Sequence[Shown]) -> dict[str, Any]:
    layout: dict[str, Any] = {
        "height": 150 + (30 * len(varied[0].values) if len(varied) > 1 else 250),
        "margin": {"l": 90, "r": 24, "t": 56, "b": 60},
        "font": FONT,
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        # Values are as they were written, each a category.
        "xaxis": {
            "type": "category",
            "title": {"text": varied[-1 if len(varied) == 1 else 1].name},
        },
        "yaxis": {"automargin": True},
        "updatemenus": [_menu(figures)],
    }
    if len(varied) > 1:
        layout["height"] = min(max(layout["height"], 360), 1200)
        layout["yaxis"] |= {"type": "category", "title": {"text": varied[0].name, "standoff": 12}}
    else:
        layout["yaxis"] |= {"tickformat": "~g"}
    return layout


def _menu(figures: Sequence[Shown]) -> dict[str, Any]:
    return {
        "x": 0,
        "xanchor": "left",
        "y": 1,
        "yanchor": "bottom",
        "pad": {"b": 8},
        "buttons": [
            {
                "label": figure.title,
                "method": "restyle",
                "args": [{"visible": [each is figure for each in figures]}],
            }
            for figure in figures
        ],
    }
