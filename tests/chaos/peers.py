"""The process that holds both peers: `python -m tests.chaos.peers`, told by its arguments.

It writes one line of JSON with its ports to standard output, and ends when its standard input does.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tests.chaos.faults import Faults
from tests.chaos.gateway import Gateway
from tests.chaos.ledger import LedgerWriter
from tests.chaos.signals import SignalService
from tests.chaos.wire import Answer, Request, listen


async def serve(ledger: Path, *, seed: int, share: float, latency: float, replicas: int) -> None:
    """Serve until standard input ends."""
    gateway = Gateway(LedgerWriter(ledger), Faults(seed, share), latency)
    signals = SignalService(seed, is_calm=share == 0)

    async def control(request: Request) -> Answer:
        signals.is_calm = signals.is_calm or request.path == "/calm"
        return await gateway.control(request)

    listening = [await listen(gateway.handle, via=via) for via in range(replicas)]
    ports = {
        "gateways": [port for _, port in listening],
        "signals": (await listen(signals.handle))[1],
        "control": (await listen(control))[1],
    }
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


def main() -> None:
    """Serve by the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--replicas", type=int, default=3)
    given = parser.parse_args()
    asyncio.run(
        serve(
            given.ledger,
            seed=given.seed,
            share=given.share,
            latency=given.latency,
            replicas=given.replicas,
        )
    )


if __name__ == "__main__":
    main()
