"""Both peers as a program: `python -m orchestrator_entrypoints.demo.peers`.

Serves until Ctrl-C, by default where the service looks for them: the Signal Service at port 8001,
the Execution Gateway at 8002.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from attrs import frozen
from starlette.types import ASGIApp

from orchestrator_core.model import SafetyFlags
from orchestrator_entrypoints.data import DailyPrices, daily_prices
from orchestrator_entrypoints.demo.gateway import execution_gateway
from orchestrator_entrypoints.demo.ledger import Ledger
from orchestrator_entrypoints.demo.lossy import LossyWay
from orchestrator_entrypoints.demo.servers import ServerFailure, serving, wait_for_signal
from orchestrator_entrypoints.demo.signal_service import signal_service

PAPER = SafetyFlags(dry_run=False, alpaca_paper=True, circuit_breaker_enabled=True)
DRY_RUN = SafetyFlags(dry_run=True, alpaca_paper=True, circuit_breaker_enabled=True)


@frozen
class Peers:
    """Both peers, serving.

    Attributes:
        ledger: What the gateway took.
        way: Between the service and the gateway.
    """

    signal_service_url: str
    execution_gateway_url: str
    prices: DailyPrices
    ledger: Ledger
    way: LossyWay


@contextmanager
def running_peers(
    *,
    flags: SafetyFlags,
    signal_port: int = 0,
    gateway_port: int = 0,
    secret: str | None = None,
) -> Iterator[Peers]:
    """Serve both peers on loopback while the block runs.

    Args:
        flags: The brakes that the gateway says are on.
        signal_port: Where signals are served; 0 takes a free port.
        gateway_port: Where orders are taken; 0 takes a free port.
        secret: Where given, only requests that it signed are answered.

    Raises:
        OSError: A port is taken.
        ServerFailure: They did not start in time.
    """
    prices = daily_prices()
    ledger = Ledger(prices.last_closes(), flags)
    way = LossyWay(execution_gateway(ledger, secret=secret))
    apps: list[ASGIApp] = [signal_service(prices, secret=secret), way]
    with serving(apps, ports=[signal_port, gateway_port]) as (signals, gateway):
        yield Peers(signals, gateway, prices, ledger, way)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve both peers until Ctrl-C; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m orchestrator_entrypoints.demo.peers", description=__doc__
    )
    parser.add_argument("--signal-port", type=int, default=8001, metavar="PORT")
    parser.add_argument("--gateway-port", type=int, default=8002, metavar="PORT")
    parser.add_argument(
        "--paper",
        action="store_true",
        help="say paper trading and fill orders; without it, say dry run",
    )
    chosen = parser.parse_args(arguments)
    try:
        with running_peers(
            flags=PAPER if chosen.paper else DRY_RUN,
            signal_port=chosen.signal_port,
            gateway_port=chosen.gateway_port,
            secret=os.environ.get("INTERNAL_TOKEN_SECRET_ORCHESTRATOR")
            or os.environ.get("INTERNAL_TOKEN_SECRET")
            or None,
        ) as peers:
            sys.stdout.write(
                f"Signal Service     {peers.signal_service_url}\n"
                f"Execution Gateway  {peers.execution_gateway_url}\n"
                "Ctrl-C ends both.\n"
            )
            sys.stdout.flush()
            wait_for_signal()
    except (OSError, ServerFailure) as problem:
        sys.stderr.write(f"peers: {problem}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
