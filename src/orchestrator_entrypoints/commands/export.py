"""`orchestrator runs export`: stored runs as JSON lines."""

import argparse

from orchestrator_core.ports import RunRepository
from orchestrator_core.run_files import encode_line
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.edge import CommandFailure
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run_output import counted_as
from orchestrator_entrypoints.commands.stored import (
    read_all,
    read_one,
    run_id_of,
    selection_of,
    with_runs,
)


def export(arguments: argparse.Namespace, console: Console) -> int:
    """Write a line for each run that has a plan, oldest first, or for each that is named."""
    matching = selection_of(arguments)
    named = [run_id_of(text) for text in arguments.run_ids]
    if named and (arguments.since is not None or arguments.strategy is not None):
        raise CommandFailure("RUN_ID goes with neither --since nor --strategy", ExitCode.USAGE)

    async def work(runs: RunRepository) -> ExitCode:
        # What is named is read first: a line that is written cannot be taken back.
        records = [await read_one(runs, run_id) for run_id in named]
        for record in records:
            console.line(encode_line(record))
        written = len(records)
        if not named:
            async for record in read_all(runs, matching):
                console.line(encode_line(record))
                written += 1
        console.note(f"{counted_as(written, 'run')} exported")
        return ExitCode.DONE

    return with_runs(arguments, work)
