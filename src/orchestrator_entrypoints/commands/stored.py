"""Reading stored records for a command: the run database alone, in pages."""

import argparse
import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, time
from typing import TypeVar
from uuid import UUID

from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.ports import RunRepository
from orchestrator_core.replay import RecordFilter, StoredRecord
from orchestrator_core.requests import parse_date
from orchestrator_entrypoints.commands.edge import CommandFailure, settings_for
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.session import require_data
from orchestrator_entrypoints.settings import Settings
from orchestrator_entrypoints.wiring import wire_runs

PAGE = 50

Result = TypeVar("Result")


def with_runs(
    arguments: argparse.Namespace, work: Callable[[RunRepository], Awaitable[Result]]
) -> Result:
    """Wire the run database and nothing else, do the work, give everything back."""
    settings = settings_for(arguments)
    require_data(settings)
    logging.getLogger().addHandler(logging.NullHandler())
    return asyncio.run(_open_and_work(settings, work))


async def _open_and_work(
    settings: Settings, work: Callable[[RunRepository], Awaitable[Result]]
) -> Result:
    store = wire_runs(settings)
    try:
        return await work(store.runs)
    finally:
        await store.aclose()


def run_id_of(text: str) -> RunId:
    """Return the run id that was given.

    Raises:
        CommandFailure: It is none.
    """
    try:
        return RunId(UUID(text))
    except ValueError:
        problem = f"RUN_ID: expected a UUID, the whole of it, got {text[:60]!r}"
        raise CommandFailure(problem, ExitCode.USAGE) from None


def selection_of(arguments: argparse.Namespace) -> RecordFilter:
    """Return which records were asked for.

    Raises:
        InvalidRequest: The date is none.
    """
    since = arguments.since
    return RecordFilter(
        strategy_id=None if arguments.strategy is None else StrategyId(arguments.strategy),
        since=(
            None
            if since is None
            else datetime.combine(parse_date(since, field_name="--since"), time(), UTC)
        ),
    )


async def read_one(runs: RunRepository, run_id: RunId) -> StoredRecord:
    """Return one run's record.

    Raises:
        CommandFailure: There is none.
    """
    record = await runs.get_record(run_id)
    if record is None:
        raise CommandFailure(
            f"there is no record of run {run_id}: it is unknown, or ended before its plan",
            ExitCode.FAILED,
        )
    return record


async def read_all(runs: RunRepository, matching: RecordFilter) -> AsyncIterator[StoredRecord]:
    """Yield every record that matches, oldest first; no more than a page is held at once."""
    last = None
    while page := await runs.records(matching, after=last, limit=PAGE):
        for record in page:
            yield record
        last = page[-1]
