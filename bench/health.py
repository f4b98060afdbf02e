"""`/health` while both peers hang: how long it takes, alone and 50 at once."""

import asyncio
import os
import subprocess
import sys
import time

from bench.lean_http import LeanClient
from bench.stack import free_port
from bench.tables import print_table

# Longer than one answer serves others.
ANSWER_STANDS_SECONDS = 1.0


async def _hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.read()
    finally:
        writer.close()


async def _timed(port: int) -> float:
    client = LeanClient("127.0.0.1", port)
    started = time.perf_counter()
    status, _ = await client.get("/health")
    client.close()
    if status != 200:
        raise RuntimeError(f"/health answered {status}")
    return time.perf_counter() - started


def _service(port: int, hanging: int) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "SIGNAL_SERVICE_URL": f"http://127.0.0.1:{hanging}",
        "EXECUTION_GATEWAY_URL": f"http://127.0.0.1:{hanging}",
        "DATABASE_URL": f"postgresql://x:x@127.0.0.1:{hanging}/x",
        "REDIS_PORT": f"{hanging}",
        "PORT": f"{port}",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "orchestrator_entrypoints", "serve"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def _measure() -> tuple[float, float]:
    server = await asyncio.start_server(_hang, "127.0.0.1", 0)
    port = free_port()
    process = _service(port, server.sockets[0].getsockname()[1])
    try:
        for _ in range(200):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.05)
        one = await _timed(port)
        await asyncio.sleep(ANSWER_STANDS_SECONDS)
        many = max(await asyncio.gather(*(_timed(port) for _ in range(50))))
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)
        server.close()
    return one, many


def health(*, quick: bool = False) -> None:
    """Print the answer times with peers, database and Redis all hanging."""
    one, many = asyncio.run(_measure())
    print_table(
        "/health, everything behind it hanging",
        ["asked", "slowest answer s"],
        [["once", f"{one:.2f}"], ["50 at once", f"{many:.2f}"]],
    )
