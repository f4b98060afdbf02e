"""`orchestrator runs export`: stored runs as JSON lines, sealed by a last one."""

import argparse

from orchestrator_core.ports import RunRepository
from orchestrator_core.replay import StoredRecord
from orchestrator_core.run_files import Seal, encode_line
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
    """Write a line for each run that has a plan, oldest first, or for each that is named.

    The last line seals the others: where the export ends before its time, there is none.
    """
    matching = selection_of(arguments)
    named = [run_id_of(text) for text in arguments.run_ids]
    if named and (arguments.since is not None or arguments.strategy is not None):
        raise CommandFailure("RUN_ID goes with neither --since nor --strategy", ExitCode.USAGE)

    seal = Seal()

    def write(record: StoredRecord) -> None:
        line = encode_line(record)
        seal.add(line)
        console.line(line)

    async def work(runs: RunRepository) -> ExitCode:
        # What is named is read first: a line that is written cannot be taken back.
        records = [await read_one(runs, run_id) for run_id in named]
        for record in records:
            write(record)
        if not named:
            async for record in read_all(runs, matching):
                write(record)
        console.line(seal.encode())
        console.note(f"{counted_as(seal.runs, 'run')} exported")
        return ExitCode.DONE

    return with_runs(arguments, work)
