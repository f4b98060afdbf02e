"""The schema of a SQLite file, as numbered steps that are applied once each."""

import sqlite3
from importlib import resources


def migrations() -> tuple[str, ...]:
    """Return the schema's steps, in order; step N brings a file from version N-1 to N."""
    folder = resources.files(__package__).joinpath("migrations")
    files = sorted(
        (entry for entry in folder.iterdir() if entry.name.endswith(".sql")),
        key=lambda entry: entry.name,
    )
    return tuple(entry.read_text(encoding="utf-8") for entry in files)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a file to the newest schema, in one transaction; nothing if it is there.

    Raises:
        sqlite3.Error: Nothing was changed: the file refused it, or is of a later program.
    """
    steps = migrations()
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(steps):
        raise sqlite3.NotSupportedError(
            f"the file has schema version {version}, this program knows up to {len(steps)}"
        )
    if version == len(steps):
        return
    script = "\n".join(steps[version:])
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version={len(steps)};\nCOMMIT;"
        )
    except (sqlite3.Error, sqlite3.Warning):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
