"""Writing for a person: aligned tables, progress, one clear line for an error.

On a terminal, and where rich is installed, tables are rich's and cut to the width. Elsewhere they
are plain text, aligned and never cut. Everything that others wrote is escaped: a gateway's words
must not move the cursor.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TextIO

from attrs import field, frozen

GAP = "  "


@frozen
class Column:
    """One column of a table.

    Attributes:
        is_right: Aligned at the right, as figures are.
        least: Characters that it may shrink to where a terminal is narrow; 0 lets it vanish, None
            keeps its width.
        may_fold: When shrunk, runs on over several lines; others are cut.
    """

    title: str
    is_right: bool = False
    least: int | None = None
    may_fold: bool = False


@frozen
class Row:
    """One line of a table.

    Attributes:
        style: How a terminal shows it, in rich's words; empty for plain.
    """

    cells: tuple[str, ...]
    style: str = ""


@frozen
class Console:
    """Where a command writes.

    Attributes:
        out: What was asked for.
        err: Errors and progress.
    """

    out: TextIO
    err: TextIO
    _has_rich: bool = field(factory=lambda: find_spec("rich") is not None)

    def line(self, text: str = "") -> None:
        """Write one line of what was asked for."""
        _write(self.out, f"{printable(text)}\n")

    def json(self, value: object) -> None:
        """Write one line of JSON: what was asked for, for a program."""
        _write(self.out, f"{json.dumps(value)}\n")

    def error(self, text: str) -> None:
        """Write one line for each problem."""
        for line in text.split("\n"):
            _write(self.err, f"orchestrator: {printable(line)}\n")

    def note(self, text: str) -> None:
        """Write one line beside what was asked for."""
        _write(self.err, f"{printable(text)}\n")

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show that something is under way: a spinner on a terminal, a line elsewhere."""
        if not (self._has_rich and self.err.isatty()):
            self.note(text)
            yield
            return
        from orchestrator_entrypoints.commands import rich_output  # noqa: PLC0415 - optional

        with rich_output.spinner(self.err, printable(text)):
            yield

    @contextmanager
    def progress(self, text: str, *, total: int | None) -> Iterator[Callable[[int], None]]:
        """Show how far something is: a bar on a terminal, a line elsewhere.

        Args:
            text: What is under way.
            total: Steps in all; None where that is not known.

        Yields:
            What is told of each step done.
        """
        if not (self._has_rich and self.err.isatty()):
            self.note(text)
            yield lambda _steps: None
            return
        from orchestrator_entrypoints.commands import rich_output  # noqa: PLC0415 - optional

        with rich_output.bar(self.err, printable(text), total) as advance:
            yield advance

    def table(self, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        """Write a table."""
        if self._has_rich and self.out.isatty():
            from orchestrator_entrypoints.commands import rich_output  # noqa: PLC0415 - optional

            lines = [[printable(cell) for cell in row.cells] for row in rows]
            widths = fit(columns, lines, total=shutil.get_terminal_size().columns)
            styles = [row.style for row in rows]
            _write(self.out, rich_output.table(columns, widths, lines, styles))
        else:
            _write(self.out, plain_table(columns, rows))

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Write names and values, aligned."""
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            self.line(f"{name:<{width}}{GAP}{value}".rstrip())


def printable(text: str) -> str:
    r"""Return the text with every character that could steer a terminal escaped.

    >>> printable("a" + chr(27) + "[2J")
    'a\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def plain_table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Return the table as aligned text, nothing cut.

    >>> print(plain_table([Column("symbol"), Column("qty", is_right=True)], [Row(("A", "10"))]))
    symbol  qty
    A        10
    <BLANKLINE>
    """
    lines = [[printable(cell) for cell in row.cells] for row in rows]
    widths = fit(columns, lines, total=None)
    text = ""
    for line in [[column.title for column in columns], *lines]:
        cells = (
            cell.rjust(width) if column.is_right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        )
        text += GAP.join(cells).rstrip() + "\n"
    return text


def fit(
    columns: Sequence[Column], lines: Sequence[Sequence[str]], *, total: int | None
) -> list[int]:
    """Return the width of each column, such that a line is at most `total` characters.

    Where that needs room, columns shrink from the left on, each down to its least, and then vanish
    from the right on, those that may.
    """
    widths = [
        max(len(column.title), *(len(line[place]) for line in lines), 0)
        for place, column in enumerate(columns)
    ]
    if total is None:
        return widths
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - total
    for place, column in enumerate(columns):
        if column.least and excess > 0:
            given = min(excess, max(0, widths[place] - column.least))
            widths[place] -= given
            excess -= given
    for place in reversed(range(len(columns))):
        if columns[place].least == 0 and excess > 0:
            excess -= widths[place] + len(GAP)
            widths[place] = 0
    return widths


def _write(stream: TextIO, text: str) -> None:
    """Write; where the reader has gone, what the command did still decides its exit code."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        # Python flushes the stream once more at exit, and would complain there.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        if not isinstance(error, BrokenPipeError):
            raise
