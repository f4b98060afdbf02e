"""`orchestrator demo`: see `orchestrator_entrypoints.demo`."""

import argparse
from pathlib import Path

from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.demo.run import run_demo


def demo(arguments: argparse.Namespace, console: Console) -> int:
    """Run the demo."""
    return run_demo(Path(arguments.directory), keep=arguments.keep, console=console)
