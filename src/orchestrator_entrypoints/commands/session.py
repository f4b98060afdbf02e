"""One command's use of the wired service: opened, used, given back."""

import argparse
import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from orchestrator_entrypoints.commands.edge import CommandFailure, settings_for
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.settings import Settings
from orchestrator_entrypoints.wiring import wire

Result = TypeVar("Result")
Work = Callable[[Orchestrator], Awaitable[Result]]


def with_orchestrator(
    arguments: argparse.Namespace, work: Work[Result], *, only_existing: bool = False
) -> Result:
    """Wire the service, do the work, give everything back.

    Args:
        arguments: What the command line says over the environment.
        work: What is to be done.
        only_existing: A file of embedded parts must be there: a look at what is stored makes none.
    """
    settings = settings_for(arguments)
    if only_existing:
        require_data(settings)
    return with_settings(settings, work)


def with_settings(settings: Settings, work: Work[Result]) -> Result:
    """Wire the service that these settings describe, do the work, give everything back."""
    # A command says what matters in its own words.
    logging.getLogger().addHandler(logging.NullHandler())
    return asyncio.run(_open_and_work(settings, work))


async def _open_and_work(settings: Settings, work: Work[Result]) -> Result:
    orchestrator = wire(settings)
    try:
        return await work(orchestrator)
    finally:
        await orchestrator.aclose()


def require_data(settings: Settings) -> None:
    """Refuse to go on where embedded parts have no file yet.

    Raises:
        CommandFailure: There is none.
    """
    if settings.embedded and not Path(settings.data).is_file():
        raise CommandFailure(
            f"{settings.data}: there is no such data file: serve, run or prices set makes one",
            ExitCode.USAGE,
        )


def stop_at_signals(orchestrator: Orchestrator) -> Callable[[], bool]:
    """Let Ctrl-C and a termination end the run after its wave; return whether one came.

    A second one ends the program at once: what was being sent then stays of unknown fate.
    """
    loop = asyncio.get_running_loop()
    came = []

    def stop(number: signal.Signals) -> None:
        came.append(number)
        orchestrator.stop.set()
        loop.remove_signal_handler(number)
        signal.signal(number, signal.default_int_handler)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    return lambda: signal.SIGINT in came
