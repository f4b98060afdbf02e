"""Connections to Redis: bounded waits, and one map from the library's errors to the core's.

Theory of operation. Each command is one exchange on a pooled connection: connect where needed,
send, read the answer. What is known of a failed exchange depends on how far it came. Before our
command is sent, nothing was done. An error that the server answers means not done as well. Anything
else after the first byte may have been done. A read that was lost is tried once more on a fresh
connection, since a pooled one may be older than the server behind it; a write only where its script
does the same when it is repeated.

The library's own retries are off: they keep the caller of a dead server waiting for seconds, and
what reads here is a brake.
"""

import asyncio
import hashlib
from enum import Enum
from importlib.resources import files
from typing import Any

import redis.exceptions
from attrs import define, field, frozen
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from orchestrator_core.errors import OutcomeUnknown, PortError, Unavailable

# Redis's classes have no single root; the list is the library's own.
LIBRARY_ERRORS: tuple[type[Exception], ...] = tuple(
    kind
    for kind in vars(redis.exceptions).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)
# ValueError: a reply that is not of Redis's protocol. OSError holds TimeoutError.
# RuntimeError is how uvloop says that a connection was closed before the write.
EXCHANGE_ERRORS: tuple[type[Exception], ...] = (
    *LIBRARY_ERRORS,
    OSError,
    RuntimeError,
    ValueError,
)
# What the server answers instead of doing it; some derive from ConnectionError.
ANSWERED_ERRORS = (
    redis.exceptions.ResponseError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.AuthenticationError,
    redis.exceptions.AuthorizationError,
    redis.exceptions.MaxConnectionsError,
)
MAX_CAUSE_CHARACTERS = 200

Part = str | bytes | int


@frozen
class RedisAddress:
    """Where Redis is, and who we are there."""

    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)


@frozen
class Script:
    """A Lua script of this package."""

    source: str
    digest: str


def load_script(name: str) -> Script:
    """Return a script by its file name."""
    source = files(__package__).joinpath(name).read_text(encoding="utf-8")
    # Redis names scripts by this digest; nothing rests on its strength.
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class Fate(Enum):
    """What is known of a command whose exchange failed."""

    NOT_DONE = "not done"
    UNKNOWN = "unknown"


def fate_of(error: BaseException, *, is_sent: bool) -> Fate:
    """Say whether a command may have been done although its exchange failed."""
    if not is_sent or isinstance(error, ANSWERED_ERRORS):
        return Fate.NOT_DONE
    return Fate.UNKNOWN


class _ExchangeFailedError(Exception):
    """One exchange failed."""

    def __init__(self, fate: Fate, cause: str, *, is_script_missing: bool) -> None:
        super().__init__(cause)
        self.fate = fate
        self.cause = cause
        self.is_script_missing = is_script_missing


@define(eq=False)
class RedisClient:
    """A pool of connections to one Redis; opened by the first command.

    Attributes:
        address: Where, and who we are.
        timeout_seconds: Bound of one exchange, connecting included; a read takes two at most.
        max_connections: Above these a command waits for another to end, within its bound.
    """

    address: RedisAddress
    timeout_seconds: float = 0.25
    max_connections: int = 32
    _pool: BlockingConnectionPool = field(init=False, repr=False)

    @_pool.default
    def _build_pool(self) -> BlockingConnectionPool:
        return BlockingConnectionPool(
            max_connections=self.max_connections,
            timeout=self.timeout_seconds,
            host=self.address.host,
            port=self.address.port,
            db=self.address.db,
            username=self.address.username,
            password=self.address.password,
            # Our own bound is around the whole exchange. The library's would run each sending in a
            # task of its own, behind which a cancellation can get lost (before Python 3.12).
            socket_timeout=None,
            socket_connect_timeout=self.timeout_seconds,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    async def read(self, port: str, operation: str, *command: Part) -> Any:
        """Return the answer to a command that changes nothing.

        Raises:
            Unavailable: Redis did not answer, or answered an error.
        """
        try:
            return await self._exchange_again_if_lost(command)
        except _ExchangeFailedError as failed:
            raise Unavailable(port, operation, failed.cause) from failed

    async def read_script(
        self, port: str, operation: str, script: Script, *keys_and_args: Part, keys: int
    ) -> Any:
        """Return the answer of a script that changes nothing; errors as for `read`."""
        try:
            return await self._run_script(script, keys, keys_and_args, may_repeat=True)
        except _ExchangeFailedError as failed:
            raise Unavailable(port, operation, failed.cause) from failed

    async def write_script(
        self,
        port: str,
        operation: str,
        script: Script,
        *keys_and_args: Part,
        keys: int,
        may_repeat: bool = False,
    ) -> Any:
        """Return the answer of a script that writes.

        Args:
            port: Named in an error.
            operation: Named in an error.
            script: What to run.
            keys_and_args: Its keys, then its arguments.
            keys: How many of them are keys.
            may_repeat: Repeating it is harmless: it is tried once more if it was lost.

        Raises:
            Unavailable: Certainly not done.
            OutcomeUnknown: Sent, and no answer came.
        """
        try:
            return await self._run_script(script, keys, keys_and_args, may_repeat=may_repeat)
        except _ExchangeFailedError as failed:
            kind: type[PortError] = Unavailable if failed.fate is Fate.NOT_DONE else OutcomeUnknown
            raise kind(port, operation, failed.cause) from failed

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def _run_script(
        self, script: Script, keys: int, arguments: tuple[Part, ...], *, may_repeat: bool
    ) -> Any:
        exchange = self._exchange_again_if_lost if may_repeat else self._exchange
        try:
            return await exchange(("EVALSHA", script.digest, keys, *arguments))
        except _ExchangeFailedError as failed:
            if not failed.is_script_missing:
                raise
        return await exchange(("EVAL", script.source, keys, *arguments))

    async def _exchange_again_if_lost(self, command: tuple[Part, ...]) -> Any:
        try:
            return await self._exchange(command)
        except _ExchangeFailedError as failed:
            if failed.fate is Fate.NOT_DONE:
                raise
        try:
            return await self._exchange(command, reconnect=True)
        except _ExchangeFailedError as failed:
            # Whatever became of this try, the first may have been done.
            failed.fate = Fate.UNKNOWN
            raise

    async def _exchange(self, command: tuple[Part, ...], *, reconnect: bool = False) -> Any:
        is_sent = False
        try:
            async with asyncio.timeout(self.timeout_seconds):
                connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
                try:
                    if reconnect:
                        await connection.disconnect(nowait=True)
                        await connection.connect()
                    is_sent = True
                    await connection.send_command(*command)
                    return await connection.read_response()
                finally:
                    await self._pool.release(connection)
        except EXCHANGE_ERRORS as error:
            raise _ExchangeFailedError(
                fate_of(error, is_sent=is_sent),
                self._describe(error),
                is_script_missing=isinstance(error, redis.exceptions.NoScriptError),
            ) from error

    def _describe(self, error: Exception) -> str:
        text = " ".join(str(error).split()) or "no answer in time"
        password = self.address.password
        if password is not None:
            text = text.replace(password, "***")
        return f"{type(error).__name__}: {text}"[:MAX_CAUSE_CHARACTERS]
