"""`orchestrator demo`: see `orchestrator_entrypoints.demo`."""

import argparse
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.demo.run import run_demo


def demo(arguments: argparse.Namespace, console: Console) -> int:
    """Run the demo; an interrupt ends it there and then.

    An exception would be lost in some of the modules that are imported on the way. Nothing needs an
    orderly end: everything runs in threads of this process, and the file survives worse.
    """

    def end(*_: object) -> None:
        with suppress(RuntimeError, OSError, ValueError):
            sys.stdout.flush()
        os._exit(ExitCode.INTERRUPTED)

    before = signal.signal(signal.SIGINT, end)
    try:
        return run_demo(Path(arguments.directory), keep=arguments.keep, console=console)
    finally:
        signal.signal(signal.SIGINT, before)
