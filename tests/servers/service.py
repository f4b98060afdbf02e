"""The service itself for tests: a process of its own, on a free port of loopback."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from attrs import define, field

START_SECONDS = 20.0
STOP_SECONDS = 20.0
WAIT_SECONDS = 20.0

INHERITED = {"PATH", "HOME", "TMPDIR", "PYTHONPATH", "COVERAGE_PROCESS_START"}

RUN = "/api/v1/orchestration/run"
RUNS = "/api/v1/orchestration/runs"


@define
class ServiceProcess:
    """A running service.

    Attributes:
        url: Where it answers.
        lines: Its log so far.
    """

    process: "subprocess.Popen[str]"
    client: httpx.Client = field(factory=lambda: httpx.Client(timeout=30, trust_env=False))
    lines: list[dict[str, Any]] = field(factory=list)
    url: str = ""

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))

    def get(self, path: str) -> httpx.Response:
        return self.client.get(self.url + path)

    def post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        return self.client.post(self.url + path, json=body)

    def run(self, *symbols: str, **fields: Any) -> httpx.Response:
        return self.post(RUN, {"symbols": symbols, **fields})

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in tuple(self.lines) if line["event"] == name]

    def stop(self) -> int:
        """Tell it to stop, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


def wait_until(holds: Callable[[], object], *, what: str = "it") -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not holds():
        assert time.monotonic() < until, f"{what} did not come to be"
        time.sleep(0.02)


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in INHERITED}
    return {**kept, "HOST": "127.0.0.1", "PORT": "0", **changes}


def command() -> list[str]:
    return [sys.executable, "-W", "error", "-m", "orchestrator_entrypoints.serve"]


@contextlib.contextmanager
def running_service(environ: Mapping[str, str], *, folder: Path) -> Iterator[ServiceProcess]:
    """Give a running service; it is ended afterwards."""
    process = subprocess.Popen(
        command(),
        env=environment(environ),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    service = ServiceProcess(process)
    reading = threading.Thread(target=service.read_log, daemon=True)
    reading.start()
    try:
        wait_until(lambda: service.events("serving") or process.poll() is not None, what="a start")
        assert process.poll() is None, service.lines
        service.url = service.events("serving")[0]["url"]
        yield service
    finally:
        service.client.close()
        process.kill()
        process.wait(STOP_SECONDS)
        reading.join(STOP_SECONDS)
        assert process.stderr is not None
        process.stderr.close()
