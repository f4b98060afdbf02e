"""Panels over one another on one time axis: what is pointed at or zoomed in one is so in all."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from attrs import frozen

from orchestrator_entrypoints.reports.page import Plot

# Okabe and Ito's colours, told apart by colour-blind readers too.
BLUE, ORANGE, GREEN, RED, SKY, PURPLE, YELLOW, BLACK = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#56b4e9",
    "#cc79a7",
    "#f0e442",
    "#1f2328",
)
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, YELLOW, BLACK)

_PANEL_PIXELS = 190
_GAP_PIXELS = 46
_MARGIN = {"l": 84, "r": 24, "t": 34, "b": 36}
FONT = {"family": "system-ui, sans-serif", "size": 12, "color": BLACK}
_GRID = "#e6eaef"
_WEEKEND = (5, 6)


@frozen
class Panel:
    """One panel.

    Attributes:
        title: With its unit.
        traces: Plotly's, less the axes and x.
        is_fraction: Whether values are fractions, shown in percent.
        holds: Values that the axis reaches to at least.
        step: Between the axis's ticks; None leaves it to the plot.
    """

    title: str
    traces: Sequence[Mapping[str, Any]]
    is_fraction: bool = False
    holds: tuple[float, ...] = ()
    step: int | None = None

    @property
    def is_flat(self) -> bool:
        """Whether no value is other than zero."""
        return not any(value for trace in self.traces for value in trace["y"])


def stack(panels: Sequence[Panel], days: Sequence[str]) -> Plot:
    """Return panels from top to bottom over the days, ISO dates ascending."""
    inner = len(panels) * _PANEL_PIXELS + (len(panels) - 1) * _GAP_PIXELS
    data: list[Mapping[str, Any]] = []
    layout = _layout(inner + _MARGIN["t"] + _MARGIN["b"])
    if not any(date.fromisoformat(day).weekday() in _WEEKEND for day in days):
        layout["xaxis"]["rangebreaks"] = [{"bounds": ["sat", "mon"]}]
    for place, panel in enumerate(panels):
        top = 1 - place * (_PANEL_PIXELS + _GAP_PIXELS) / inner
        bottom = max(0.0, top - _PANEL_PIXELS / inner)
        axis = "" if place == 0 else str(place + 1)
        layout[f"yaxis{axis}"] = _y_axis(panel, bottom, top)
        layout[f"legend{axis}"] = _legend(top, inner)
        layout["annotations"].append(_heading(panel.title, top))
        data.extend(
            {
                **trace,
                "x": days,
                "xaxis": "x",
                "yaxis": f"y{axis}",
                "legend": f"legend{axis}",
                "showlegend": len(panel.traces) > 1,
            }
            for trace in panel.traces
        )
    layout["xaxis"]["anchor"] = f"y{len(panels)}" if len(panels) > 1 else "y"
    return {"data": data, "layout": layout}


def line(name: str, values: Sequence[float | None], colour: str, **more: Any) -> dict[str, Any]:
    """Return a line; None is a gap."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "y": values,
        "line": {"color": colour, "width": 1.5},
        **more,
    }


def bars(name: str, values: Sequence[float | None], colour: str) -> dict[str, Any]:
    """Return bars, stacked on those of the same panel."""
    return {
        "type": "bar",
        "name": name,
        "y": values,
        # Without a line of its colour a bar of less than a pixel vanishes.
        "marker": {"color": colour, "line": {"color": colour, "width": 0.6}},
    }


def _layout(height: int) -> dict[str, Any]:
    return {
        "height": height,
        "margin": _MARGIN,
        "font": FONT,
        "paper_bgcolor": "#fff",
        "plot_bgcolor": "#fff",
        "hovermode": "x unified",
        "hoverlabel": {"namelength": -1},
        "hoversubplots": "axis",
        "barmode": "relative",
        "bargap": 0,
        "annotations": [],
        "xaxis": {"type": "date", "domain": [0, 1], "gridcolor": _GRID},
    }


def _y_axis(panel: Panel, bottom: float, top: float) -> dict[str, Any]:
    return {
        "domain": [bottom, min(1.0, top)],
        "anchor": "x",
        "gridcolor": _GRID,
        "zerolinecolor": "#8c959f",
        "tickformat": ".1%" if panel.is_fraction else ",~f",
        **({"autorangeoptions": {"include": panel.holds}} if panel.holds else {}),
        **({} if panel.step is None else {"dtick": panel.step}),
        # Left to itself, an axis of nothing but zeros reaches as far below as above.
        **({"range": [-0.01, 0] if panel.is_fraction else [0, 1]} if panel.is_flat else {}),
        "hoverformat": ".2%" if panel.is_fraction else ",.2f" if panel.step is None else ",.0f",
        "nticks": 6,
    }


def _heading(title: str, top: float) -> dict[str, Any]:
    return {
        "text": f"<b>{title}</b>",
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": top,
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 6,
        "showarrow": False,
        "font": {"size": 13},
    }


def _legend(top: float, inner: int) -> dict[str, Any]:
    return {
        "orientation": "h",
        "x": 1,
        "xanchor": "right",
        "y": top + 3 / inner,
        "yanchor": "bottom",
        "bgcolor": "rgba(0,0,0,0)",
        "font": {"size": 11},
    }
