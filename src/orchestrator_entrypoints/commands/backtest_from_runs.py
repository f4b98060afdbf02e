"""`backtest --from-runs`: what production decided, decided again under other policies."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator_core.ports import RunRepository
from orchestrator_core.replay import StoredRecord
from orchestrator_core.run_files import decode_lines
from orchestrator_core.what_if import Changes
from orchestrator_entrypoints.backtests.fills import FillModel
from orchestrator_entrypoints.backtests.from_runs import FromRuns
from orchestrator_entrypoints.backtests.from_runs import backtest_from_runs as decide_again
from orchestrator_entrypoints.backtests.policy_fields import changes_with
from orchestrator_entrypoints.backtests.tables import OPENS, PRICES
from orchestrator_entrypoints.commands.backtest_inputs import located, read_fills, read_price_file
from orchestrator_entrypoints.commands.backtest_outputs import Outputs, tell_left
from orchestrator_entrypoints.commands.console import Column, Console, Row
from orchestrator_entrypoints.commands.edge import CommandFailure, describe_os_error
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.series_files import SeriesFile
from orchestrator_entrypoints.commands.written_pairs import pairs
from orchestrator_entrypoints.reports.extras import require_extra
from orchestrator_entrypoints.reports.from_runs_page import (
    COLUMNS,
    cells_of,
    changes_of,
    days_of,
    from_runs_page,
    notes_of,
)


def backtest_from_runs(arguments: argparse.Namespace, outputs: Outputs, console: Console) -> int:
    """Decide recorded runs again under each policy; write what is otherwise, and say so.

    Raises:
        CommandFailure: There are no such runs, or an argument cannot be used.
    """
    if arguments.signals is not None:
        raise CommandFailure("--signals: recorded runs have signals of their own", ExitCode.USAGE)
    if arguments.engine != "auto":
        raise CommandFailure("--engine: recorded runs are decided by the workflow", ExitCode.USAGE)
    prices = None if arguments.prices is None else read_price_file(arguments.prices)
    fills = read_fills(arguments, has_opens=prices is not None and prices.others is not None)
    policies = _policies(arguments)
    records = _records(arguments)
    with console.working(f"deciding {len(records):,} recorded runs again"):
        found = _decide_again(records, policies, prices, fills)
    _leave(found, outputs, console)
    return ExitCode.DONE if found.results else ExitCode.FAILED


def _decide_again(
    records: Sequence[StoredRecord],
    policies: Mapping[str, Changes],
    prices: SeriesFile | None,
    fills: FillModel,
) -> FromRuns:
    closes, opens = (None, None) if prices is None else (prices.cells, prices.others)
    files = {} if prices is None else {PRICES: prices.path, OPENS: prices.path}
    try:
        with located(files):
            return decide_again(records, policies, prices=closes, opens=opens, fills=fills)
    except ValueError as problem:
        raise CommandFailure(str(problem), ExitCode.FAILED) from None


def _leave(found: FromRuns, outputs: Outputs, console: Console) -> None:
    tables = {"changes": changes_of(found)}
    if found.results:
        tables["days"] = days_of(found)
    paths = outputs.write(tables, lambda: from_runs_page(found))
    rows = [Row(cells_of(outcome)) for outcome in found.outcomes]
    left, *figures = COLUMNS
    columns = [Column(left), *(Column(name, is_right=True) for name in figures)]
    console.table(columns, rows)
    tell_left(notes_of(found), paths, console)


def _policies(arguments: argparse.Namespace) -> dict[str, Changes]:
    policies: dict[str, Changes] = {}
    for texts in arguments.policy:
        try:
            policies[" ".join(texts)] = changes_with(pairs(texts, "--policy"))
        except ValueError as problem:
            raise CommandFailure(f"--policy: {problem}", ExitCode.USAGE) from None
    return policies


def _records(arguments: argparse.Namespace) -> list[StoredRecord]:
    if arguments.from_runs is not None:
        for name in ("since", "strategy", "data"):
            if getattr(arguments, name) is not None:
                raise CommandFailure(f"--{name} does not go with --from-runs", ExitCode.USAGE)
        return _read_file(Path(arguments.from_runs))
    return _read_store(arguments)


def _read_store(arguments: argparse.Namespace) -> list[StoredRecord]:
    require_extra("prometheus_client", "service", why="--since")
    # A backtest of files needs nothing of a service's.
    from orchestrator_entrypoints.commands.stored import (  # noqa: PLC0415
        read_all,
        selection_of,
        with_runs,
    )

    matching = selection_of(arguments)

    async def work(runs: RunRepository) -> list[StoredRecord]:
        return [record async for record in read_all(runs, matching)]

    records = with_runs(arguments, work)
    if not records:
        raise CommandFailure("there are no such runs", ExitCode.FAILED)
    return records


def _read_file(path: Path) -> list[StoredRecord]:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            records = decode_lines(file)
    except OSError as error:
        raise CommandFailure(describe_os_error(error), ExitCode.USAGE) from None
    except ValueError as error:
        raise CommandFailure(f"{path}: {error}", ExitCode.DAMAGED) from None
    if not records:
        raise CommandFailure(f"{path}: an export without any run", ExitCode.FAILED)
    return records
