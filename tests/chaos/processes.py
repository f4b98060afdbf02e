"""The processes on trial: replicas of the service, and the one that holds both peers."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from attrs import define, field

from tests.servers.service import command, environment

ROOT = Path(__file__).parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 10.0
LOOK_SECONDS = 0.05


@define
class Replica:
    """One replica of the service, on the same port in all its lives.

    Attributes:
        number: From 0.
        starts: How often it was started.
    """

    number: int
    port: int
    environ: dict[str, str]
    folder: Path
    starts: int = 0
    is_frozen: bool = False
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / f"replica-{self.number}.log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start a dead replica; it serves a moment later."""
        assert not self.is_alive
        self.is_frozen = False
        self.starts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command(),
                env=environment({**self.environ, "PORT": str(self.port)}),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """Tell it to stop, as a deployment would."""
        if self._process is not None:
            self._process.terminate()

    def freeze(self) -> None:
        """Let it stand still, as a paused machine would."""
        if self.is_alive:
            self.is_frozen = True
            os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen replica go on."""
        if self.is_alive and self.is_frozen:
            os.kill(self.pid, signal.SIGCONT)
        self.is_frozen = False

    async def wait_until_serving(self, http: httpx.AsyncClient) -> None:
        """Return when it answers.

        Raises:
            RuntimeError: It ended, or did not answer in time.
        """
        async with asyncio.timeout(START_SECONDS):
            while True:
                if not self.is_alive:
                    said = self.log.read_text(errors="replace")
                    raise RuntimeError(f"replica {self.number} ended: {said[-2000:]}")
                try:
                    await http.get(f"{self.url}/", timeout=2)
                except httpx.HTTPError:
                    await asyncio.sleep(LOOK_SECONDS)
                else:
                    return


@define
class Peers:
    """The gateway and the Signal Service.

    Attributes:
        ledger: What the gateway wrote down.
        gateways: The gateway's ports, one a replica.
    """

    ledger: Path
    gateways: list[int]
    signals: int
    control: int

    async def tell(self, http: httpx.AsyncClient, what: str, **said: Any) -> Any:
        """Use the gateway's control port; return its answer."""
        answer = await http.post(
            f"http://127.0.0.1:{self.control}/{what}", json=said, timeout=START_SECONDS
        )
        assert answer.status_code == httpx.codes.OK, what
        return answer.json()


@contextmanager
def running_peers(
    folder: Path, *, seed: int, share: float, latency: float, replicas: int
) -> Iterator[Peers]:
    """Give running peers; they are ended afterwards."""
    ledger = folder / "ledger.jsonl"
    ledger.touch()
    arguments = {
        "ledger": ledger,
        "seed": seed,
        "share": share,
        "latency": latency,
        "replicas": replicas,
    }
    with (folder / "peers.log").open("ab") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                *("-m", "tests.chaos.peers"),
                *(text for name, value in arguments.items() for text in (f"--{name}", str(value))),
            ],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peers did not start: {(folder / 'peers.log').read_text()}")
        yield Peers(ledger, **json.loads(line))
    finally:
        process.kill()
        process.communicate(timeout=STOP_SECONDS)


def free_port() -> int:
    """Return a port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until it holds, for that long at most; say whether it does."""
    for _ in range(int(seconds / LOOK_SECONDS)):
        if holds():
            return True
        await asyncio.sleep(LOOK_SECONDS)
    return holds()
