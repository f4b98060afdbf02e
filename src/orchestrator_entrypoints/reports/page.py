"""The page: a title, figures, plots and tables; nothing is fetched from anywhere."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from attrs import frozen

from orchestrator_entrypoints.reports.extras import require_extra

# What `Plotly.newPlot` takes: data and layout.
Plot = Mapping[str, Any]

# The browser itself refuses whatever would leave the page.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, sans-serif; color: #1f2328; background: #fff;
  max-width: 1180px; margin: 0 auto; padding: 24px; }
h1 { font-size: 24px; margin: 0 0 4px; }
h2 { font-size: 17px; margin: 32px 0 8px; }
p.lead { color: #59636e; margin: 0 0 20px; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(165px, 1fr)); gap: 12px;
  margin: 0 0 16px; }
dl div { border: 1px solid #d1d9e0; border-radius: 6px; padding: 8px 12px; }
dt { color: #59636e; font-size: 13px; }
dd { margin: 0; font-size: 17px; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; }
th, td { text-align: right; padding: 4px 8px; border-bottom: 1px solid #d1d9e0;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
table.pairs td, table.pairs th { text-align: left; white-space: normal; }
th { color: #59636e; font-weight: 600; white-space: normal; vertical-align: bottom; }
ul { margin: 0; padding-left: 20px; }
"""
_PAIR = 2
# Plotly has a button that sends what is drawn to a server of its makers, on by default.
_CONFIG = {
    "displaylogo": False,
    "modeBarButtonsToRemove": ["lasso2d", "select2d", "sendChartToCloud"],
    "plotlyServerURL": "",
    "responsive": True,
    "showSendToCloud": False,
}


@frozen
class PageTable:
    """A table of the page.

    Attributes:
        rows: Cells as they are shown, as many as there are columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@frozen
class Page:
    """What is shown, from top to bottom; every text as it is, escaped when written.

    Attributes:
        figures: Names and values, shown large.
        plots: Each with its title.
        notes: Sentences at the end.
    """

    title: str
    lead: str
    figures: Sequence[tuple[str, str]]
    plots: Sequence[tuple[str, Plot]]
    tables: Sequence[PageTable] = ()
    notes: Sequence[str] = ()


def require_plots() -> None:
    """Return if pages can be written.

    Raises:
        MissingExtra: They cannot.
    """
    require_extra("plotly", "report", why="the HTML report (leave it out with --no-report)")


def write_page(page: Page, path: Path) -> None:
    """Write a page that opens by itself, some 5 MB: plotly's JavaScript stands in it.

    Raises:
        MissingExtra: Plotly is not installed.
        OSError: The file cannot be written.
    """
    require_plots()
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - optional

    # A file's name may be none that UTF-8 can write.
    html = _html(page, get_plotlyjs())
    path.write_text(html, encoding="utf-8", errors="backslashreplace")


def _html(page: Page, plotly: str) -> str:
    plots = [
        f"<h2>{escape(title)}</h2>\n<div id='plot{place}'></div>"
        for place, (title, _) in enumerate(page.plots)
    ]
    figures = [
        f"<div><dt>{_breakable(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in page.figures
    ]
    notes = [f"<li>{escape(note)}</li>" for note in page.notes]
    return "\n".join(
        [
            "<!doctype html>",
            "<html lang='en'><head><meta charset='utf-8'>",
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            "<meta name='viewport' content='width=device-width, initial-scale=1'>",
            # Otherwise a browser asks for /favicon.ico.
            "<link rel='icon' href='data:,'>",
            f"<title>{escape(page.title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(page.title)}</h1><p class='lead'>{escape(page.lead)}</p>",
            f"<dl>{''.join(figures)}</dl>",
            *plots,
            *map(_table, page.tables),
            *(["<h2>Notes</h2><ul>", *notes, "</ul>"] if notes else []),
            f"<script>{plotly}</script>",
            *(f"<script>{_drawing(i, plot)}</script>" for i, (_, plot) in enumerate(page.plots)),
            "</body></html>",
            "",
        ]
    )


def _breakable(name: str) -> str:
    """Return a name that may go on in the next line after each of its parts."""
    return escape(name).replace("_", "_<wbr>")


def _table(table: PageTable) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    # Two columns are names and words, not figures under one another.
    kind = " class='pairs'" if len(table.columns) == _PAIR else ""
    return (
        f"<h2>{escape(table.title)}</h2><div class='scroll'><table{kind}>"
        f"<thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _drawing(place: int, plot: Plot) -> str:
    data, layout, config = map(_script, (plot["data"], plot["layout"], _CONFIG))
    return f"Plotly.newPlot('plot{place}', {data}, {layout}, {config});"


def _script(value: object) -> str:
    """Return JSON that no text in it can end the script around it with."""
    written = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return written.replace("<", "\\u003c").replace("\u2028", "").replace("\u2029", "")
