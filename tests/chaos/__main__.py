"""`python -m tests.chaos soak|engage|recovery`: exit code 0 only if every promise held."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tests.chaos.engaging import Engaging, run_engaging
from tests.chaos.recovering import Recovering, run_recovering
from tests.chaos.soak import Soak, run_soak
from tests.chaos.verdict import Verdict

# For setting up, settling and comparing; and the most that one trial of a kind may take.
EXTRA_SECONDS = 900.0
SECONDS_A_TRIAL = 2.0
SECONDS_A_KILL = 20.0


def main() -> int:
    """Run the trial that the command line names."""
    trial, seconds = _trial(_parser().parse_args())
    verdict = asyncio.run(_bounded(trial, seconds + EXTRA_SECONDS))
    sys.stdout.write(verdict.report() + "\n")
    return 1 if verdict.findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    trials = parser.add_subparsers(dest="trial", required=True)
    soak = trials.add_parser("soak", help="load, operators and faults for a while")
    soak.add_argument("--seconds", type=float, default=600.0)
    soak.add_argument("--clients", type=int, default=8)
    soak.add_argument("--pause", type=float, default=1.0, help="seconds between requests, at most")
    soak.add_argument("--keep", type=Path, help="leave logs, ledger and journal in this folder")
    engage = trials.add_parser("engage", help="stop while three replicas send")
    engage.add_argument("--trials", type=int, default=1000)
    recovery = trials.add_parser("recovery", help="kill senders, and time their runs")
    recovery.add_argument("--kills", type=int, default=30)
    for each in (soak, engage, recovery):
        each.add_argument("--seed", type=int, default=1)
    return parser


def _trial(given: argparse.Namespace) -> tuple[Coroutine[Any, Any, Verdict], float]:
    """Return the trial, and how many seconds it may take once it is set up."""
    match given.trial:
        case "engage":
            return run_engaging(Engaging(given.trials, given.seed)), given.trials * SECONDS_A_TRIAL
        case "recovery":
            killing = Recovering(given.kills, given.seed)
            return run_recovering(killing), given.kills * SECONDS_A_KILL
        case _:
            soak = Soak(given.seconds, given.seed, given.clients, given.pause, kept=given.keep)
            return run_soak(soak), given.seconds


async def _bounded(trial: Coroutine[Any, Any, Verdict], seconds: float) -> Verdict:
    """Run the trial; whatever ends it, its processes are ended with it."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(seconds):
        return await trial


if __name__ == "__main__":
    sys.exit(main())
