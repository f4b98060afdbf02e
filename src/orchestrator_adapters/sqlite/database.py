"""One SQLite file, kept safe: one thread, one connection, one writing process at a time.

Theory of operation. All work on the connection is done in one thread of its own, in order, so the
event loop never waits for the disk. SQLite's write-ahead log has, in versions that are still
shipped (3.40.1 among them), a fault that corrupts the file when two connections write or checkpoint
at the same moment. Several processes may use one file, so each write transaction, with the
checkpoint that its commit may make, and each close is made under an exclusive lock on a side file,
`<path>.lock`. Readers take no lock.

A commit is on the disk before it is answered (`synchronous=FULL`). Each error of `sqlite3` is
mapped in `port_error`. A connection that met anything but contention is dropped, and the next call
opens another: nothing is sticky.
"""

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from orchestrator_adapters.sqlite.schema import migrate
from orchestrator_core.errors import OutcomeUnknown, PortError, Unavailable

Answer = TypeVar("Answer")
Work = Callable[[sqlite3.Connection], Answer]

LOCK_WAIT_SECONDS = 5.0
# For programs that know nothing of the side file, such as SQLite's own shell.
BUSY_SECONDS = 1.0
FIRST_LOCK_POLL_SECONDS = 0.001
LAST_LOCK_POLL_SECONDS = 0.02

# `sqlite3.Warning` stands outside the tree of `sqlite3.Error`.
SQLITE_ERRORS = (sqlite3.Error, sqlite3.Warning)

_CONTENTION = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_REFUSALS = _CONTENTION | {sqlite3.SQLITE_CONSTRAINT}
_PRIMARY_CODE = 0xFF


def port_error(
    error: Exception, port: str, operation: str, *, commit_began: bool = False
) -> PortError:
    """Return what an error of `sqlite3`, or of reaching its file, means.

    Until its commit began, a transaction leaves nothing behind. A commit refused for contention or
    a constraint was not made; one that fails for anything else may stand in the log.
    """
    cause = f"SQLite: {_one_line(error)}"
    if commit_began and not _has_code(error, _REFUSALS):
        return OutcomeUnknown(port, operation, cause)
    return Unavailable(port, operation, cause)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    return f"{name}: {error}".replace("\n", " ")


def _has_code(error: BaseException, codes: frozenset[int]) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & _PRIMARY_CODE in codes


class SqliteDatabase:
    """One SQLite file, opened at the first call and brought to the newest schema then.

    Safe to share among tasks of one event loop, and the file among processes. A call that is
    cancelled ends when its work in the thread has ended.
    """

    def __init__(self, path: Path, *, lock_wait_seconds: float = LOCK_WAIT_SECONDS) -> None:
        """Remember where the file is; touch nothing.

        Args:
            path: The file; created if missing, its directory is not.
            lock_wait_seconds: How long a call waits for another process that writes.
        """
        self._path = path
        self._lock_path = path.with_name(f"{path.name}.lock")
        self._lock_wait_seconds = lock_wait_seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
        self._closed = False
        # The rest is touched by that thread alone.
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    async def write(self, port: str, operation: str, work: Work[Answer]) -> Answer:
        """Run `work` in one write transaction and commit it; return what it returned.

        An exception of `work` rolls back and goes through.

        Raises:
            Unavailable: Nothing was done: the file cannot be opened or written, or another
                process holds it.
            OutcomeUnknown: The commit failed in a way that may have left it on the disk.
        """
        deadline = time.monotonic() + self._lock_wait_seconds
        return await self._in_thread(
            port, operation, partial(self._write, port, operation, work, deadline)
        )

    async def read(self, port: str, operation: str, work: Work[Answer]) -> Answer:
        """Run `work` on one consistent state of the file; return what it returned.

        Raises:
            Unavailable: The file cannot be opened or read.
        """
        deadline = time.monotonic() + self._lock_wait_seconds
        return await self._in_thread(
            port, operation, partial(self._read, port, operation, work, deadline)
        )

    async def aclose(self) -> None:
        """Close the file for good, after the work that is queued. Closing twice is harmless."""
        if self._closed:
            return
        self._closed = True
        deadline = time.monotonic() + self._lock_wait_seconds
        try:
            await self._end_of(partial(self._close, deadline), may_drop=False)
        finally:
            self._thread.shutdown()

    async def _in_thread(self, port: str, operation: str, call: Callable[[], Answer]) -> Answer:
        if self._closed:
            raise Unavailable(port, operation, "SQLite: the database was closed")
        return await self._end_of(call)

    async def _end_of(self, call: Callable[[], Answer], *, may_drop: bool = True) -> Answer:
        job = self._thread.submit(call)
        future = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # What has not begun never will; what has begun ends before the caller goes on.
            if may_drop and job.cancel():
                raise
            while not future.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([future])
            if not future.cancelled():
                future.exception()
            raise

    # From here on: in the thread

    def _write(self, port: str, operation: str, work: Work[Answer], deadline: float) -> Answer:
        connection = self._opened(port, operation, deadline)
        with self._lock(port, operation, deadline):
            try:
                connection.execute("BEGIN IMMEDIATE")
                answer = work(connection)
            except BaseException as error:
                self._give_up(connection, error)
                if isinstance(error, SQLITE_ERRORS):
                    raise port_error(error, port, operation) from error
                raise
            try:
                connection.execute("COMMIT")
            except SQLITE_ERRORS as error:
                self._give_up(connection, error)
                raise port_error(error, port, operation, commit_began=True) from error
        return answer

    def _read(self, port: str, operation: str, work: Work[Answer], deadline: float) -> Answer:
        connection = self._opened(port, operation, deadline)
        try:
            connection.execute("BEGIN")
            answer = work(connection)
            connection.execute("COMMIT")
        except BaseException as error:
            self._give_up(connection, error)
            if isinstance(error, SQLITE_ERRORS):
                raise port_error(error, port, operation) from error
            raise
        return answer

    def _give_up(self, connection: sqlite3.Connection, error: BaseException) -> None:
        """Roll back; drop a connection that may be damaged."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except SQLITE_ERRORS:
            self._drop()
            return
        if isinstance(error, SQLITE_ERRORS) and not _has_code(error, _REFUSALS):
            self._drop()

    def _drop(self) -> None:
        connection, self._connection, self._identity = self._connection, None, None
        if connection is not None:
            with suppress(*SQLITE_ERRORS):
                connection.close()

    def _opened(self, port: str, operation: str, deadline: float) -> sqlite3.Connection:
        if self._connection is not None and self._identity == _identity_of(self._path):
            return self._connection
        # A file moved or deleted under us would take commits that nobody finds again.
        self._drop()
        try:
            # Locked throughout: opening may recover the log of a process that died.
            with self._lock(port, operation, deadline):
                self._connection = _connect(self._path)
                migrate(self._connection)
                self._identity = _identity_of(self._path)
        except (*SQLITE_ERRORS, OSError) as error:
            self._drop()
            raise port_error(error, port, operation) from error
        except BaseException:
            self._drop()
            raise
        return self._connection

    def _close(self, deadline: float) -> None:
        if self._connection is None:
            return
        # The last connection to close writes the log into the file. Whoever holds the lock beyond
        # our patience has a connection of its own, so ours is not the last.
        try:
            with self._lock("sqlite", "close", deadline):
                self._drop()
        except PortError:
            self._drop()

    @contextmanager
    def _lock(self, port: str, operation: str, deadline: float) -> Iterator[None]:
        """Hold the side file's lock, alone among processes."""
        try:
            file = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise port_error(error, port, operation) from error
        try:
            poll = FIRST_LOCK_POLL_SECONDS
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= deadline:
                        raise Unavailable(port, operation, self._held_by(file)) from None
                time.sleep(poll)
                poll = min(2 * poll, LAST_LOCK_POLL_SECONDS)
            os.pwrite(file, f"{os.getpid():<20}\n".encode(), 0)
            yield
        finally:
            os.close(file)

    def _held_by(self, file: int) -> str:
        holder = os.pread(file, 20, 0).decode("ascii", "replace").strip()
        return f"SQLite: {self._lock_path} is held by process {holder or 'unknown'}"


def _identity_of(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
    except BaseException:
        connection.close()
        raise
    return connection
