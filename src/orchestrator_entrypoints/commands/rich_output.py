"""The terminal's share of the output, by rich. Imported only where rich is there and wanted."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

GAP = 2


class Heading(Protocol):
    """What a table needs to know of a column."""

    @property
    def title(self) -> str:
        """What stands above it."""

    @property
    def is_right(self) -> bool:
        """Whether it is aligned at the right."""

    @property
    def may_fold(self) -> bool:
        """Whether it runs on over several lines."""


def spinner(stream: TextIO, text: str) -> AbstractContextManager[object]:
    """Return what shows a spinner while it is entered."""
    return Console(file=stream).status(text)


@contextmanager
def bar(stream: TextIO, text: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar while it is entered; yield what is told of each step done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=stream), transient=True) as progress:
        task = progress.add_task(escape(text), total=total)
        yield lambda steps: progress.advance(task, steps)


def table(
    columns: Sequence[Heading],
    widths: Sequence[int],
    lines: Sequence[Sequence[str]],
    styles: Sequence[str],
) -> str:
    """Return a table, coloured; each column as wide as said, left out where that is 0."""
    drawn = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    shown = [place for place, width in enumerate(widths) if width]
    for column, width in ((columns[place], widths[place]) for place in shown):
        drawn.add_column(
            Text(column.title),
            width=width,
            justify="right" if column.is_right else "left",
            no_wrap=not column.may_fold,
            overflow="fold" if column.may_fold else "ellipsis",
        )
    for cells, style in zip(lines, styles, strict=True):
        drawn.add_row(*(Text(cells[place]) for place in shown), style=style or None)
    console = Console(width=sum(widths) + GAP * len(widths), highlight=False)
    with console.capture() as captured:
        console.print(drawn)
    return captured.get()
