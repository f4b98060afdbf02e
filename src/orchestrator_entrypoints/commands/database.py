"""`orchestrator db`: the run database."""

import argparse

from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.session import with_orchestrator
from orchestrator_entrypoints.orchestrator import Orchestrator


def upgrade(arguments: argparse.Namespace, console: Console) -> int:
    """Bring the run database to this version; repeating it is harmless."""

    async def work(orchestrator: Orchestrator) -> ExitCode:
        settings = orchestrator.settings
        where = settings.data if settings.embedded else settings.shown()["DATABASE_URL"]
        with console.working(f"upgrading {where}"):
            # The first connection of a process upgrades.
            await orchestrator.ports.runs.check()
        console.line("the run database is at this version")
        return ExitCode.DONE

    return with_orchestrator(arguments, work)
