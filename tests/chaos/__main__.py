"""`python -m tests.chaos soak|engage|recovery`: exit code 0 only if every promise held."""

import argparse
import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

from tests.chaos.soak import Soak, run_soak
from tests.chaos.verdict import Verdict

EXTRA_SECONDS = 600.0


def main() -> int:
    """Run the trial that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    trials = parser.add_subparsers(dest="trial", required=True)
    soak = trials.add_parser("soak", help="load, operators and faults for a while")
    soak.add_argument("--seconds", type=float, default=600.0)
    soak.add_argument("--seed", type=int, default=1)
    soak.add_argument("--clients", type=int, default=5)
    soak.add_argument("--pause", type=float, default=1.0)
    given = parser.parse_args()
    verdict = asyncio.run(
        _bounded(
            run_soak(Soak(given.seconds, given.seed, given.clients, given.pause)),
            given.seconds + EXTRA_SECONDS,
        )
    )
    sys.stdout.write(verdict.report() + "\n")
    return 1 if verdict.findings else 0


async def _bounded(trial: Coroutine[Any, Any, Verdict], seconds: float) -> Verdict:
    async with asyncio.timeout(seconds):
        return await trial


if __name__ == "__main__":
    sys.exit(main())
