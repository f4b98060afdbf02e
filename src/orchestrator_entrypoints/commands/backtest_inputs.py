"""What `backtest` and `sweep` go over, and under what policy: files, or the bundled data."""

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import chain
from pathlib import Path

from attrs import field, frozen

from orchestrator_core.identifiers import Symbol
from orchestrator_core.money import parse_money
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.tables import OPENS, PRICES, SIGNALS, BacktestDataError
from orchestrator_entrypoints.commands.bundled import DESCRIPTION, Row, bundled_rows
from orchestrator_entrypoints.commands.edge import CommandFailure, describe_os_error
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.limit_words import from_zero, pairs, parsed
from orchestrator_entrypoints.commands.series_files import (
    CLOSE_COLUMNS,
    OPEN_COLUMNS,
    WEIGHT_COLUMNS,
    Cell,
    SeriesFile,
    read_series,
)
from orchestrator_entrypoints.sweeps.code import code_digest
from orchestrator_entrypoints.sweeps.policy_fields import policy_with

# As a service's, unless told otherwise.
CAP = "20000"


@frozen
class Sources:
    """Where each table's values stand: the file, and its cells in the table's order."""

    _tables: Mapping[str, tuple[Path, tuple[Cell, ...]]] = field(factory=dict, hash=False)

    def with_table(self, name: str, path: Path, cells: tuple[Cell, ...]) -> "Sources":
        """Return them with a further table."""
        return Sources({**self._tables, name: (path, cells)})

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
        if error.table not in self._tables:
            return str(error)
        path, cells = self._tables[error.table]
        if error.row is None:
            return f"{path}: {error.field}: {error.problem}"
        cell = cells[error.row]
        column = error.field if error.field in {"date", "symbol"} else cell.column
        return f"{path}: row {cell.row}, {column}: {error.problem}"


@frozen
class PriceFile:
    """What a file of prices holds.

    Attributes:
        closes: Date, symbol, account currency per share.
        opens: The same of opens; None where there are none.
    """

    closes: tuple[Row, ...] = ()
    opens: tuple[Row, ...] | None = None
    sources: Sources = Sources()


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
    sources: Sources = Sources()

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


def read_history(arguments: argparse.Namespace) -> History:
    """Return the history that was asked for.

    Raises:
        CommandFailure: One file of two was given, or one cannot be understood.
        MissingExtra: Parquet cannot be read.
    """
    if arguments.signals is None and arguments.prices is None:
        signals, closes = bundled_rows()
        return History(signals, closes, None, DESCRIPTION)
    if arguments.signals is None or arguments.prices is None:
        raise CommandFailure("--signals and --prices go together", ExitCode.USAGE)
    file = _read(arguments.signals, WEIGHT_COLUMNS)
    prices = read_prices(arguments.prices)
    return History(
        _rows(file.cells),
        prices.closes,
        prices.opens,
        f"{file.path.name} over {Path(arguments.prices).name}",
        prices.sources.with_table(SIGNALS, file.path, file.cells),
    )


def read_prices(path: str) -> PriceFile:
    """Return the prices of a file.

    Raises:
        CommandFailure: It cannot be read or understood.
        MissingExtra: Parquet cannot be read.
    """
    file = _read(path, CLOSE_COLUMNS, OPEN_COLUMNS, is_gapless=True)
    sources = Sources().with_table(PRICES, file.path, file.cells)
    return PriceFile(
        _rows(file.cells),
        _rows(file.others) if file.others else None,
        sources.with_table(OPENS, file.path, file.others),
    )


def _read(
    path: str, names: Sequence[str], others: Sequence[str] = (), *, is_gapless: bool = False
) -> SeriesFile:
    try:
        return read_series(Path(path), names, others, is_gapless=is_gapless)
    except OSError as error:
        raise CommandFailure(describe_os_error(error), ExitCode.USAGE) from None


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
