"""What `backtest` and `sweep` leave behind: tables, and a page where it is wanted."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.reports.extras import MissingExtra
from orchestrator_entrypoints.reports.page import Page, require_plots, write_page
from orchestrator_entrypoints.reports.tables import Rows, TableFormat, require_format, write_table


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

    def write(self, tables: Mapping[str, Rows], page: Callable[[], Page]) -> tuple[Path, ...]:
        """Write tables, each to a file of its name, and the page; return their paths.

        Raises:
            OSError: A file cannot be written.
        """
        paths = [
            write_table(self.directory, f"{self.name}-{table}", rows, self.form)
            for table, rows in tables.items()
        ]
        if self.has_page:
            paths.append(self.path_of(".html"))
            write_page(page(), paths[-1])
        return tuple(paths)


@contextmanager
def missing_told() -> Iterator[None]:
    """Say what to install, should the block need it.

    Raises:
        CommandFailure: The block raised `MissingExtra`.
    """
    try:
        yield
    except MissingExtra as missing:
        raise CommandFailure(str(missing), ExitCode.FAULT) from None


def outputs_of(arguments: argparse.Namespace) -> Outputs:
    """Return where files go, once it is sure that they can be written there.

    Raises:
        CommandFailure: The name is a path.
        MissingExtra: A package that the files need is not installed.
        OSError: The directory cannot be made.
    """
    form = TableFormat(arguments.format)
    require_format(form)
    if not arguments.no_report:
        require_plots()
    if Path(arguments.name).name != arguments.name:
        raise CommandFailure(
            f"--name: expected a name without a directory, got {arguments.name[:60]!r}",
            ExitCode.USAGE,
        )
    directory = Path(arguments.out)
    directory.mkdir(parents=True, exist_ok=True)
    return Outputs(directory, arguments.name, form, has_page=not arguments.no_report)
