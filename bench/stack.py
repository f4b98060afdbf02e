"""What a measurement runs against: real Postgres and Redis, lean peers, the floor, the service."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from socket import socket
from typing import Any

import attrs
import redis

from bench.lean_http import LeanClient
from bench.peers import LONG_ONLY
from tests.servers.postgres import running_postgres
from tests.servers.redis import running_redis

SYMBOLS = [f"S{number:04d}" for number in range(1_000)]
PRICED = [LONG_ONLY, *SYMBOLS]
READY_SECONDS = 20.0


@attrs.frozen
class Target:
    """A server process that is measured.

    Attributes:
        path: Where a run is posted.
    """

    name: str
    process: subprocess.Popen[bytes]
    port: int
    path: str

    def cpu_seconds(self) -> float:
        """Return user and system time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Return the resident memory, in MB."""
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def client(self) -> LeanClient:
        """Return a keep-alive client of this server."""
        return LeanClient("127.0.0.1", self.port)


@attrs.frozen
class Stack:
    """The servers behind the targets, and the targets.

    Attributes:
        twin: A second process of the service, on the same stores.
    """

    redis_port: int
    dsn: str
    floor: Target
    service: Target
    twin: Target

    def refresh_prices(self) -> None:
        """Write a price for every symbol, seen now."""
        with redis.Redis(port=self.redis_port) as client:
            now = datetime.now(UTC).isoformat()
            client.mset(
                {
                    f"price:{symbol}": json.dumps(
                        {"symbol": symbol, "mid": "101.25", "timestamp": now}
                    )
                    for symbol in PRICED
                }
            )


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_stack(*, gateway_latency: float) -> Iterator[Stack]:
    """Bring everything up, and take it down again."""
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        dsn = stack.enter_context(postgres.fresh_database())
        redis_server = stack.enter_context(running_redis())
        peers_port, floor_port, service_port, twin_port = (free_port() for _ in range(4))
        stack.enter_context(_process("bench.peers", peers_port, gateway_latency))
        floor = stack.enter_context(
            _process("bench.floor", floor_port, peers_port, redis_server.port, dsn)
        )
        peers = f"http://127.0.0.1:{peers_port}"
        environment = {
            "DATABASE_URL": dsn,
            "REDIS_PORT": str(redis_server.port),
            "SIGNAL_SERVICE_URL": peers,
            "EXECUTION_GATEWAY_URL": peers,
            "PORT": str(service_port),
            "CAPITAL": "100000000",
            "FAT_FINGER_MAX_PRICE_AGE_SECONDS": "3600",
            "DB_POOL_MAX_SIZE": "32",
            "CIRCUIT_BREAKER_ENABLED": "true",
            "LOG_LEVEL": "INFO",
        }
        service = stack.enter_context(
            _process("orchestrator_entrypoints", "serve", environment=environment)
        )
        twin = stack.enter_context(
            _process(
                "orchestrator_entrypoints",
                *("serve", "--port", twin_port),
                environment=environment,
            )
        )
        initialise = ["kill-switch", "init", "--operator", "bench"]
        subprocess.run(
            [sys.executable, "-m", "orchestrator_entrypoints", *initialise],
            check=True,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
        )
        targets = Stack(
            redis_port=redis_server.port,
            dsn=dsn,
            floor=Target("floor", floor, floor_port, "/run"),
            service=Target("service", service, service_port, "/api/v1/orchestration/run"),
            twin=Target("service", twin, twin_port, "/api/v1/orchestration/run"),
        )
        for port in (peers_port, floor_port, service_port, twin_port):
            asyncio.run(_await_health(port))
        targets.refresh_prices()
        yield targets


@contextmanager
def _process(
    module: str, *arguments: object, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


async def _await_health(port: int) -> None:
    until = time.monotonic() + READY_SECONDS
    while True:
        client = LeanClient("127.0.0.1", port)
        try:
            await client.get("/health")
        except OSError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.05)
        else:
            return
        finally:
            client.close()


def run_body(target: Target, signals: int, key: str, *, sides: int = 2) -> bytes:
    """Return the body of a run of that many signals; each key is a decision of its own."""
    symbols = SYMBOLS if sides == 2 else PRICED
    body: dict[str, Any] = {"symbols": symbols[:signals]}
    if target.name == "service":
        body["rebalance_key"] = key
    return json.dumps(body).encode()
