"""The `orchestrator` command, run as an operator would."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.servers.service import environment

COMMAND_SECONDS = 60.0


async def run_cli(
    environ: Mapping[str, str], folder: Path, *arguments: str
) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "orchestrator_entrypoints", *arguments),
        env=environment(environ),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(COMMAND_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return subprocess.CompletedProcess(
        arguments, process.returncode or 0, out.decode(), err.decode()
    )
