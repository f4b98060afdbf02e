"""Bringing a database's schema up to date.

Migrations are numbered SQL files, applied in order, each in a transaction of its own, under one
advisory lock: of several who try at once one applies, the others find it done. Each file's digest
is kept, and a file that was changed after it was applied is refused. A database that knows later
migrations than we do is taken as it is, so that a service can be rolled back: migrations only add.
"""

import asyncio
import hashlib
from importlib.resources import files
from typing import Any, Final

import psycopg
from attrs import frozen
from psycopg import AsyncConnection

from orchestrator_adapters.postgres.errors import PORT, describe
from orchestrator_core.errors import Refused, Unavailable

# Any number will do, as long as all who migrate use the same.
_LOCK_KEY: Final = 6_207_411_203

_CREATE_LEDGER: Final = """
    CREATE TABLE IF NOT EXISTS orchestrator_migrations (
        version INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        checksum TEXT NOT NULL,
        applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
    )
"""


@frozen
class Migration:
    """One step of the schema."""

    version: int
    name: str
    sql: bytes

    @property
    def checksum(self) -> str:
        """Digest of the file, as kept in the database; line ends do not count."""
        return hashlib.sha256(self.sql.replace(b"\r\n", b"\n")).hexdigest()


def known_migrations() -> tuple[Migration, ...]:
    """Return the migrations of this version, in order."""
    folder = files("orchestrator_adapters.postgres") / "migrations"
    found = (
        Migration(int(entry.name.split("_")[0]), entry.name, entry.read_bytes())
        for entry in folder.iterdir()
        if entry.name.endswith(".sql")
    )
    return tuple(sorted(found, key=lambda migration: migration.version))


async def pending_migrations(
    connection: AsyncConnection[Any], known: tuple[Migration, ...] | None = None
) -> tuple[Migration, ...]:
    """Return the migrations that the database does not have.

    Raises:
        Refused: An applied migration is not the one that we know under its number.
        psycopg.Error: The database cannot be asked.
    """
    cursor = await connection.execute("SELECT to_regclass('orchestrator_migrations')::text")
    row = await cursor.fetchone()
    if row is None or row[0] is None:
        applied = {}
    else:
        cursor = await connection.execute("SELECT version, checksum FROM orchestrator_migrations")
        applied = dict(await cursor.fetchall())
    pending = []
    for migration in known_migrations() if known is None else known:
        if migration.version not in applied:
            pending.append(migration)
        elif applied[migration.version] != migration.checksum:
            raise Refused(
                PORT, "upgrade", f"migration {migration.name} is not the one that was applied"
            )
    return tuple(pending)


async def upgrade(
    dsn: str,
    *,
    max_seconds: float = 600.0,
    migrations: tuple[Migration, ...] | None = None,
) -> tuple[str, ...]:
    """Apply what the database does not have yet; return the names applied. Repeating is harmless.

    Args:
        dsn: Connection string of a role that may change the schema.
        max_seconds: Bound for all of it, waiting for another who migrates included.
        migrations: Instead of this version's own.

    Raises:
        Refused: An applied migration is not the one that we know under its number.
        Unavailable: The database cannot be asked, or refuses. Migrations applied before stay.
    """
    try:
        async with asyncio.timeout(max_seconds):
            return await _upgrade(dsn, migrations)
    except TimeoutError:
        raise Unavailable(PORT, "upgrade", f"not done within {max_seconds:g} s") from None
    except psycopg.Error as error:
        raise Unavailable(PORT, "upgrade", describe(error)) from error


async def _upgrade(dsn: str, migrations: tuple[Migration, ...] | None) -> tuple[str, ...]:
    connection = await AsyncConnection.connect(dsn, autocommit=True)
    try:
        # The session's end gives the lock back, however it comes.
        await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
        applied = []
        for migration in await pending_migrations(connection, migrations):
            await _apply(connection, migration)
            applied.append(migration.name)
        return tuple(applied)
    finally:
        await connection.close()


async def _apply(connection: AsyncConnection[Any], migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(_CREATE_LEDGER)
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO orchestrator_migrations (version, name, checksum) VALUES (%s, %s, %s)",
            (migration.version, migration.name, migration.checksum),
        )
