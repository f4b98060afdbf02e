"""What `backtest` and `sweep` go over, and under what policy: files, or the bundled data."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from attrs import field, frozen

from orchestrator_core.money import parse_money
from orchestrator_entrypoints.backtests.fills import FillModel, FillTime
from orchestrator_entrypoints.backtests.inputs import Inputs, read_inputs
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.policy_fields import policy_with
from orchestrator_entrypoints.backtests.tables import OPENS, PRICES, SIGNALS, BacktestDataError
from orchestrator_entrypoints.commands.bundled import DESCRIPTION, bundled_rows
from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.series_files import (
    CLOSE_COLUMNS,
    OPEN_COLUMNS,
    WEIGHT_COLUMNS,
    SeriesFile,
    read_series,
)
from orchestrator_entrypoints.commands.written_pairs import pairs, parsed
from orchestrator_entrypoints.written_fields import from_zero

# As a service's, unless told otherwise.
CAP = "20000"


@frozen
class DataSet:
    """What a backtest is to be made of, as it was given.

    Attributes:
        opens: None where there are none.
        description: What it is, in words.
        files: Where each table was read from; none of what is bundled.
    """

    signals: Any
    closes: Any
    opens: Any
    description: str
    files: Mapping[str, Path] = field(factory=dict, hash=False)

    def read(self, at: FillTime | None) -> Inputs:
        """Return it, checked together.

        Args:
            at: When orders trade; None: at the opens where there are some.

        Raises:
            CommandFailure: No backtest can be made of it; names file, row and column.
        """
        with located(self.files):
            return read_inputs(self.signals, self.closes, self.opens, at)


@contextmanager
def located(files: Mapping[str, Path]) -> Iterator[None]:
    """Say of data that no backtest can be made of in which file they stand, and where.

    Raises:
        CommandFailure: The block raised a `BacktestDataError`.
    """
    try:
        yield
    except BacktestDataError as error:
        where = str(files.get(error.table, error.table))
        row = "" if error.row is None else f"row {error.row}, "
        problem = f"{where}: {row}{error.field}: {error.problem}"
        raise CommandFailure(problem, ExitCode.USAGE) from None


def read_data(arguments: argparse.Namespace) -> DataSet:
    """Return what was asked for: files, or the bundled data.

    Raises:
        CommandFailure: One file of two was given, or one cannot be read.
        MissingExtra: Parquet cannot be read.
    """
    if arguments.signals is None and arguments.prices is None:
        signals, closes = bundled_rows()
        return DataSet(signals, closes, None, DESCRIPTION)
    if arguments.signals is None or arguments.prices is None:
        raise CommandFailure("--signals and --prices go together", ExitCode.USAGE)
    file = read_series(Path(arguments.signals), WEIGHT_COLUMNS)
    prices = read_price_file(arguments.prices)
    return DataSet(
        file.cells,
        prices.cells,
        prices.others,
        f"{file.path.name} over {prices.path.name}",
        {SIGNALS: file.path, PRICES: prices.path, OPENS: prices.path},
    )


def read_price_file(path: str) -> SeriesFile:
    """Return the closes of a file, and its opens where there are some.

    Raises:
        CommandFailure: It cannot be read.
        MissingExtra: Parquet cannot be read.
    """
    return read_series(Path(path), CLOSE_COLUMNS, OPEN_COLUMNS)


def read_policy(arguments: argparse.Namespace) -> BacktestPolicy:
    """Return the policy that was asked for.

    Raises:
        CommandFailure: A field is unknown, or its value none that it may have.
    """
    base = BacktestPolicy(
        max_position_size=parse_money(CAP), engine=getattr(arguments, "engine", "auto")
    )
    try:
        return policy_with(base, pairs(chain(*arguments.policy), "--policy"))
    except ValueError as problem:
        raise CommandFailure(f"--policy: {problem}", ExitCode.USAGE) from None


def read_fills(arguments: argparse.Namespace, *, has_opens: bool) -> FillModel:
    """Return how orders fill.

    Raises:
        CommandFailure: Opens are asked for and there are none, or a cost is no number.
    """
    if arguments.fills == "next_open" and not has_opens:
        problem = "--fills next_open: there are no prices with a column open"
        raise CommandFailure(problem, ExitCode.USAGE)
    costs = {
        name: parsed(f"--{name.replace('_', '-')}", "", getattr(arguments, name), from_zero)
        for name in ("slippage_bps", "commission_bps")
    }
    try:
        return FillModel(at=arguments.fills, **costs)
    except ValueError as problem:
        raise CommandFailure(str(problem), ExitCode.USAGE) from None
