"""A Postgres database that is asked with bounds.

Theory of operation. Constructing connects to nothing: the pool opens at the first call, and the
first call also makes sure of the schema. Nothing is remembered of a failure: each call that finds
no connection has a new one tried, and learns at once when that fails, instead of waiting out the
pool's patience. A connection that the server closed meanwhile is noticed before it is used.

A call ends in one of four ways. It returns; or nothing was done (`Unavailable`); or, for a write
whose commit was on its way when the session was lost, nobody can tell (`OutcomeUnknown`); or the
fault is ours (`IllegalTransition`). Work of which certainly nothing was done is tried once more
where the session was lost, and a few times where the server undid it for another's sake.

Every wait has a bound: for a connection, to connect, of a statement (by the server, so that no
forgotten statement lives on), and of the whole call, which ends with its socket shut.
"""

import asyncio
import logging
import os
import select
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, LiteralString, Self, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow, dict_row
from psycopg_pool import AsyncConnectionPool

from orchestrator_adapters.postgres.errors import (
    PORT,
    describe,
    is_lost_connection,
    is_worth_repeating,
    map_error,
)
from orchestrator_adapters.postgres.migrate import pending_migrations, upgrade
from orchestrator_core.errors import OutcomeUnknown, PortError, Unavailable

Answer = TypeVar("Answer")
Row = dict[str, Any]
Parameters = Sequence[Any] | Mapping[str, Any]
Statement = tuple[LiteralString, Parameters]
Connection = AsyncConnection[TupleRow]
Work = Callable[["Session"], Awaitable[Answer]]

MAX_TRIES: Final = 4
MIGRATION_SECONDS: Final = 600.0
CLOSE_SECONDS: Final = 3.0

# The stored functions rely on each statement seeing what is committed when it begins; a commit that
# was answered must be on disk; and a session keeps its plans, so that one made while the tables
# were small must not read them whole later.
_CONFIGURE: Final = """
    SELECT set_config('statement_timeout', %s, false),
           set_config('idle_in_transaction_session_timeout', %s, false),
           set_config('default_transaction_isolation', 'read committed', false),
           set_config('jit', 'off', false),
           set_config('plan_cache_mode', 'force_generic_plan', false),
           set_config('enable_seqscan', 'off', false),
           set_config('enable_hashjoin', 'off', false),
           set_config('enable_mergejoin', 'off', false),
           set_config('synchronous_commit', CASE current_setting('synchronous_commit')
               WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)
"""

_logger = logging.getLogger(__name__)


class Session:
    """One connection, lent for one piece of work."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.may_be_committed = False

    async def fetch(self, statement: LiteralString, parameters: Parameters = ()) -> list[Row]:
        """Run one statement, prepared, and return its rows."""
        async with self.connection.cursor(binary=True, row_factory=dict_row) as cursor:
            await cursor.execute(statement, parameters, prepare=True)
            return await cursor.fetchall()

    async def fetch_each(self, *statements: Statement) -> list[list[Row]]:
        """Run statements, prepared, in one round trip; return the rows of each.

        Each sees what is committed when it begins. If one fails, those after it are not run.
        """
        cursors = []
        async with self.connection.pipeline():
            for statement, parameters in statements:
                cursor = self.connection.cursor(binary=True, row_factory=dict_row)
                await cursor.execute(statement, parameters, prepare=True)
                cursors.append(cursor)
        return [
            await cursor.fetchall() if cursor.description is not None else [] for cursor in cursors
        ]


class PostgresDatabase:
    """A database and its pool.

    Args:
        dsn: Connection string or URL.
        min_size: Connections kept.
        max_size: Connections at most.
        pool_timeout: Seconds to wait for a connection.
        connect_timeout: Whole seconds for one try to connect.
        statement_timeout: Seconds for one statement, kept by the server.
        call_timeout: Seconds for one call in all, after it has its connection.
        migrate: Bring an older schema up to date at the first call; else such a database is
            unavailable until `upgrade` has run.

    Raises:
        ValueError: `dsn` is no connection string.
    """

    def __init__(
        self,
        dsn: str,
        *,
        min_size: int = 2,
        max_size: int = 10,
        pool_timeout: float = 10.0,
        connect_timeout: int = 3,
        statement_timeout: float = 5.0,
        call_timeout: float = 8.0,
        migrate: bool = True,
    ) -> None:
        self.dsn = _bounded_dsn(dsn, connect_timeout)
        self._pool_timeout = pool_timeout
        self._statement_timeout = statement_timeout
        self._call_timeout = call_timeout
        self._migrate = migrate
        self._preparation: asyncio.Task[None] | None = None
        self._is_ready = False
        self._waiting: set[asyncio.Timeout] = set()
        self._connect_error = ""
        self._pool = AsyncConnectionPool[Connection](
            self.dsn,
            connection_class=_connection_class(self._note_connect_error),
            kwargs={"autocommit": True},
            min_size=min_size,
            max_size=max_size,
            configure=self._configure,
            # One try a call that needs it: retrying with growing pauses would outlast the outage.
            reconnect_timeout=0.0,
            reconnect_failed=self._end_waiting,
            open=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; a later call raises `Unavailable`."""
        if self._preparation is not None:
            self._preparation.cancel()
            await asyncio.wait({self._preparation})
        await self._pool.close(CLOSE_SECONDS)

    async def fetch(
        self,
        operation: str,
        statement: LiteralString,
        parameters: Parameters = (),
    ) -> list[Row]:
        """Return the rows of a statement that changes nothing.

        Raises:
            Unavailable: The database cannot be asked.
        """

        async def read(session: Session) -> list[Row]:
            return await session.fetch(statement, parameters)

        return await self.run(operation, read)

    async def execute(
        self,
        operation: str,
        statement: LiteralString,
        parameters: Parameters = (),
    ) -> list[Row]:
        """Run one statement that is a transaction by itself: one round trip.

        Raises:
            Unavailable: Nothing was done.
            OutcomeUnknown: It may have been committed.
        """

        async def write(session: Session) -> list[Row]:
            session.may_be_committed = True
            return await session.fetch(statement, parameters)

        return await self.run(operation, write)

    async def run(self, operation: str, work: Work[Answer]) -> Answer:
        """Run a piece of work on one connection.

        The work may run more than once, but never after its commit may have happened.

        Raises:
            Unavailable: Nothing was done.
            OutcomeUnknown: The work's commit may have happened.
            IllegalTransition: The schema refuses what was to be stored.
        """
        await self._prepare(operation)
        for tries_left in reversed(range(MAX_TRIES)):
            async with self._connection(operation) as connection:
                session = Session(connection)
                try:
                    async with _shut_after(connection, self._call_timeout):
                        return await work(session)
                except psycopg.Error as error:
                    mapped = map_error(
                        error, operation=operation, may_be_done=session.may_be_committed
                    )
                    again = is_worth_repeating(error) or (
                        is_lost_connection(error) and tries_left == MAX_TRIES - 1
                    )
                    if isinstance(mapped, OutcomeUnknown) or not again or not tries_left:
                        raise mapped from error
        raise AssertionError("the last try returns or raises")

    @asynccontextmanager
    async def _connection(self, operation: str) -> AsyncIterator[Connection]:
        connection = await self._acquire(operation)
        try:
            yield connection
        finally:
            if connection.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                await connection.close()
            await self._pool.putconn(connection)

    async def _acquire(self, operation: str) -> Connection:
        patience = asyncio.timeout(self._pool_timeout)
        try:
            async with patience:
                self._waiting.add(patience)
                while True:
                    connection = await self._pool.getconn(2 * self._pool_timeout)
                    if not _was_closed_by_server(connection):
                        return connection
                    await connection.close()
                    await self._pool.putconn(connection)
        except TimeoutError:
            cause = self._connect_error or f"no connection within {self._pool_timeout:g} s"
            raise Unavailable(PORT, operation, cause) from None
        except psycopg.Error as error:
            raise map_error(error, operation=operation, may_be_done=False) from error
        finally:
            self._waiting.discard(patience)

    async def _end_waiting(self, pool: AsyncConnectionPool[Connection]) -> None:
        """Tell who waits that there is nothing to wait for: no connection, and none to be had."""
        if pool.get_stats().get("pool_size", 0) > 0:
            return
        now = asyncio.get_running_loop().time()
        for patience in self._waiting:
            if not patience.expired():
                patience.reschedule(now)

    def _note_connect_error(self, cause: str) -> None:
        self._connect_error = cause

    async def _configure(self, connection: Connection) -> None:
        milliseconds = str(int(self._statement_timeout * 1000))
        await connection.execute(_CONFIGURE, (milliseconds, milliseconds))

    # The schema

    async def _prepare(self, operation: str) -> None:
        if self._is_ready:
            return
        if self._preparation is None or self._preparation.done():
            self._preparation = asyncio.create_task(self._open_and_check())
        done, _ = await asyncio.wait({self._preparation}, timeout=self._pool_timeout)
        if not done:
            raise Unavailable(PORT, operation, "the run database's schema is being brought up")
        if self._preparation.cancelled():
            raise Unavailable(PORT, operation, "the run database was closed")
        error = self._preparation.exception()
        if isinstance(error, PortError):
            raise Unavailable(PORT, operation, error.cause) from error
        if error is not None:
            raise error

    async def _open_and_check(self) -> None:
        try:
            await self._pool.open()
        except psycopg.Error as error:
            raise map_error(error, operation="open", may_be_done=False) from error
        async with self._connection("open") as connection:
            try:
                pending = await pending_migrations(connection)
            except psycopg.Error as error:
                raise map_error(error, operation="open", may_be_done=False) from error
        if pending:
            if not self._migrate:
                raise Unavailable(
                    PORT, "open", "the schema is older than this service: `orchestrator db upgrade`"
                )
            applied = await upgrade(self.dsn, max_seconds=MIGRATION_SECONDS)
            _logger.info("brought the run database up to date", extra={"migrations": applied})
        self._is_ready = True


def _bounded_dsn(dsn: str, connect_timeout: int) -> str:
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.Error:
        # The library's own words repeat the string, and a password with it.
        raise ValueError("expected a Postgres connection string or URL") from None
    bounds = {"connect_timeout": connect_timeout, "keepalives_idle": 10, "keepalives_interval": 5}
    return make_conninfo("", **{"application_name": "orchestrator", **bounds, **given})


def _connection_class(note: Callable[[str], None]) -> type[Connection]:
    class NotingConnection(AsyncConnection[TupleRow]):
        """Tells why it could not be made; the pool keeps that to itself."""

        @classmethod
        async def connect(cls, *args: Any, **kwargs: Any) -> Self:
            try:
                connection = await super().connect(*args, **kwargs)
            except psycopg.Error as error:
                note(describe(error))
                raise
            note("")
            return connection

    return NotingConnection


def _was_closed_by_server(connection: Connection) -> bool:
    """Whether something came on an idle connection: its end, or a notice with its end behind.

    Costs no round trip.
    """
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


@asynccontextmanager
async def _shut_after(connection: Connection, seconds: float) -> AsyncIterator[None]:
    """Shut the connection's socket if the block takes longer.

    Cancelling would have psycopg ask the server to cancel, and wait for its word: on a dead network
    in vain. A shut socket ends the wait at once, and as what it is, a lost session.
    """
    handle = asyncio.get_running_loop().call_later(seconds, _shut, connection)
    try:
        yield
    finally:
        handle.cancel()


def _shut(connection: Connection) -> None:
    with suppress(OSError, psycopg.Error):
        twin = socket.socket(fileno=os.dup(connection.pgconn.socket))
        with twin:
            twin.shutdown(socket.SHUT_RDWR)
