"""What `backtest` and `sweep` go over, and under what policy: files, or the bundled data."""

import argparse
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from itertools import chain
from pathlib import Path

from attrs import frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.money import parse_money
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.tables import BacktestDataError
from orchestrator_entrypoints.commands.bundled import DESCRIPTION, Row, bundled_rows
from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.limit_words import from_zero, pairs, parsed
from orchestrator_entrypoints.commands.series_files import (
    CLOSES,
    OPENS,
    WEIGHTS,
    Cell,
    SeriesFile,
    read_series,
)
from orchestrator_entrypoints.sweeps.code import code_digest
from orchestrator_entrypoints.sweeps.policy_fields import policy_with

# What a day's signals of the bundled strategy need: its longs and its shorts sum to 1 each.
CAP = "20000"


@frozen
class History:
    """History to go over.

    Attributes:
        signals: Date, symbol, fraction of capital.
        closes: Date, symbol, account currency per share.
        opens: The same of opens; None where there are none.
        description: What it is, in words.
    """

    signals: tuple[Row, ...]
    closes: tuple[Row, ...]
    opens: tuple[Row, ...] | None
    description: str
    _files: tuple[tuple[str, SeriesFile, tuple[Cell, ...]], ...] = ()

    @property
    def symbols(self) -> frozenset[Symbol]:
        """Every symbol that has a price."""
        return frozenset(symbol for _, symbol, _ in self.closes)

    @property
    def days(self) -> tuple[date, ...]:
        """Dates of the prices, each once."""
        return tuple(dict.fromkeys(day for day, _, _ in self.closes))

    def digest(self, *more: object) -> str:
        """Return what stands for the data, our code, and whatever else is given."""
        digest = hashlib.sha256(repr((code_digest(), more)).encode())
        for rows in (self.signals, self.closes, self.opens or ()):
            digest.update(b"|")
            for day, symbol, value in rows:
                digest.update(f"{day} {symbol} {value:f}\n".encode())
        return digest.hexdigest()

    @contextmanager
    def located(self) -> Iterator[None]:
        """Say of data that no backtest can be made of in which file, row and column they stand.

        Raises:
            CommandFailure: The block raised a `BacktestDataError`.
        """
        try:
            yield
        except BacktestDataError as error:
            raise CommandFailure(self._where(error), ExitCode.USAGE) from None

    def _where(self, error: BacktestDataError) -> str:
        for table, file, cells in self._files:
            if table == error.table:
                if error.row is None:
                    return f"{file.path}: {error.field}: {error.problem}"
                cell = cells[error.row]
                column = error.field if error.field in {"date", "symbol"} else cell.column
                return f"{file.path}: row {cell.row}, {column}: {error.problem}"
        return str(error)


def read_history(arguments: argparse.Namespace) -> History:
    """Return the history that was asked for.

    Raises:
        CommandFailure: One file of two was given, or one cannot be understood.
        MissingExtra: Parquet cannot be read.
        OSError: A file cannot be read.
    """
    if arguments.signals is None and arguments.prices is None:
        signals, closes = bundled_rows()
        return History(signals, closes, None, DESCRIPTION)
    if arguments.signals is None or arguments.prices is None:
        raise CommandFailure("--signals and --prices go together", ExitCode.USAGE)
    signal_file = read_series(Path(arguments.signals), WEIGHTS)
    price_file = read_series(Path(arguments.prices), CLOSES, OPENS)
    opens = price_file.others
    return History(
        _rows(signal_file.cells),
        _rows(price_file.cells),
        _rows(opens) if opens else None,
        f"{signal_file.path.name} over {price_file.path.name}",
        (
            ("signals", signal_file, signal_file.cells),
            ("prices", price_file, price_file.cells),
            ("opens", price_file, opens),
        ),
    )


def _rows(cells: tuple[Cell, ...]) -> tuple[Row, ...]:
    return tuple((cell.day, cell.symbol, cell.value) for cell in cells)


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
        raise CommandFailure("--fills next_open: the prices have no column open", ExitCode.USAGE)
    costs = {
        name: parsed(f"--{name.replace('_', '-')}", "", getattr(arguments, name), from_zero)
        for name in ("slippage_bps", "commission_bps")
    }
    try:
        return FillModel(at=arguments.fills, **costs)
    except ValueError as problem:
        raise CommandFailure(str(problem), ExitCode.USAGE) from None
