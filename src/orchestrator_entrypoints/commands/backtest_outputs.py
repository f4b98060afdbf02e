"""What `backtest` and `sweep` leave behind: tables, and a page where it is wanted."""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from attrs import frozen

from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.edge import CommandFailure, describe_os_error
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.reports.extras import MissingExtra
from orchestrator_entrypoints.reports.page import Page, require_plots, write_page
from orchestrator_entrypoints.reports.tables import Table, TableFormat, require_format, write_table

# Every table that a command may leave.
TABLES = ("days", "orders", "changes", "cells")


@frozen
class Outputs:
    """Where files go, and which.

    Attributes:
        name: What their names begin with.
    """

    directory: Path
    name: str
    form: TableFormat
    has_page: bool

    def path_of(self, ending: str) -> Path:
        """Return the path of a further file."""
        return self.directory / f"{self.name}{ending}"

    def _own(self) -> Iterator[Path]:
        """Go through the paths of every file that may bear the name."""
        yield self.path_of(".html")
        for table in TABLES:
            for form in TableFormat:
                yield self.path_of(f"-{table}.{form}")

    def spare(self, inputs: Iterable[str]) -> None:
        """Return if none of the files that are read would be removed.

        Raises:
            CommandFailure: One would.
        """
        own = {path.resolve() for path in self._own()}
        for name in inputs:
            if Path(name).resolve() in own:
                problem = f"--name: {name} is read, and would be written over"
                raise CommandFailure(problem, ExitCode.USAGE)

    def write(self, tables: Mapping[str, Table], page: Callable[[], Page]) -> tuple[Path, ...]:
        """Write tables, each to a file of its name, and the page; return their paths.

        What another backtest left under these names is removed: files of one name are of one.

        Raises:
            OSError: A file cannot be written.
        """
        for path in self._own():
            path.unlink(missing_ok=True)
        paths = [
            write_table(self.directory, f"{self.name}-{name}", table, self.form)
            for name, table in tables.items()
        ]
        if self.has_page:
            paths.append(self.path_of(".html"))
            write_page(page(), paths[-1])
        return tuple(paths)


def tell_left(notes: Iterable[str], paths: Iterable[Path], console: Console) -> None:
    """Say what the reader should know, and which files were left."""
    for note in notes:
        console.note(f"note: {note}")
    for path in paths:
        console.line(f"wrote {path}")


def outputs_of(arguments: argparse.Namespace, console: Console) -> Outputs:
    """Return where files go; the directory is there then.

    Where plots cannot be drawn there is no page, which is told; all else is written.

    Raises:
        CommandFailure: The name is a path, the directory cannot be made, or a file that is read
            would be written over.
        MissingExtra: A package that tables need is not installed.
    """
    form = TableFormat(arguments.format)
    require_format(form)
    if Path(arguments.name).name != arguments.name:
        raise CommandFailure(
            f"--name: expected a name without a directory, got {arguments.name[:60]!r}",
            ExitCode.USAGE,
        )
    directory = Path(arguments.out)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailure(f"--out: {describe_os_error(error)}", ExitCode.USAGE) from None
    outputs = Outputs(directory, arguments.name, form, has_page=_has_page(arguments, console))
    read = (getattr(arguments, name, None) for name in ("signals", "prices", "from_runs", "data"))
    outputs.spare(path for path in read if path is not None)
    return outputs


def _has_page(arguments: argparse.Namespace, console: Console) -> bool:
    if arguments.no_report:
        return False
    try:
        require_plots()
    except MissingExtra as missing:
        console.note(f"note: {missing}")
        return False
    return True
