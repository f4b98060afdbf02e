"""What a sweep has computed, on disk, one line a cell.

The first line names the inputs by a digest; a journal of other inputs is refused, not mixed. A line
counts once it ends in a newline: what a kill cut short is cut off when the file is opened again,
and that cell computed anew. Each line ends in a checksum of itself. A sweep's cells are no part
of the digest, so a grid may grow.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import Any
from zlib import crc32

from attrs import field, frozen

from orchestrator_entrypoints.sweeps.cells import Cell, Outcome

try:
    import fcntl
except ImportError:  # no POSIX system: two sweeps on one file are not told apart
    fcntl = None  # type: ignore[assignment]

VERSION = 2


class JournalError(Exception):
    """A journal cannot be gone on with; names the file."""


@frozen
class Journal:
    """An open journal.

    Attributes:
        done: What it holds, by cell.
    """

    _file: BufferedRandom
    done: dict[Cell, Outcome] = field(factory=dict)

    def append(self, outcome: Outcome) -> None:
        """Write an outcome, durably once this returns."""
        _write(
            self._file,
            _line_of({"cell": outcome.cell, "figures": outcome.figures, "error": outcome.error}),
        )
        self.done[outcome.cell] = outcome


@contextmanager
def open_journal(path: Path, digest: str) -> Iterator[Journal]:
    """Open a journal, or begin one; nobody else may have it open.

    Raises:
        JournalError: It is of other inputs, damaged, or another sweep has it open.
        OSError: The file cannot be opened, read or written.
    """
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
        _lock(file, path)
        head = _line_of({"sweep": VERSION, "inputs": digest})
        *lines, cut = file.read().split(b"\n")
        if lines:
            _require_same(path, lines[0], digest)
        elif not head.startswith(cut):
            raise JournalError(f"{path}: no journal of a sweep")
        done = dict(_read(path, number, line) for number, line in enumerate(lines[1:], start=2))
        # Only now is it known to be ours.
        file.seek(-len(cut), os.SEEK_END)
        file.truncate()
        if not lines:
            _write(file, head)
        yield Journal(file, done)


def _lock(file: BufferedRandom, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JournalError(f"{path}: another sweep is writing it") from None


def _require_same(path: Path, line: bytes, digest: str) -> None:
    head = _loaded(path, 1, line)
    if head.get("sweep") != VERSION:
        raise JournalError(f"{path}: no journal of a sweep that this version reads")
    if head.get("inputs") != digest:
        raise JournalError(
            f"{path}: is of other data, another policy, other fills or another version; "
            "write elsewhere with --out, or delete it"
        )


def _read(path: Path, number: int, line: bytes) -> tuple[Cell, Outcome]:
    value = _loaded(path, number, line)
    try:
        cell = tuple((str(name), str(text)) for name, text in value["cell"])
        return cell, Outcome(cell, dict(value["figures"]), value["error"])
    except (KeyError, TypeError, ValueError):
        raise JournalError(f"{path}: line {number} is damaged") from None


def _loaded(path: Path, number: int, line: bytes) -> dict[str, Any]:
    text, _, checksum = line.rpartition(b" ")
    try:
        value = json.loads(text) if checksum == _checksum(text) else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise JournalError(f"{path}: line {number} is damaged, or is no line of a sweep's journal")
    return value


def _line_of(value: dict[str, Any]) -> bytes:
    text = json.dumps(value, separators=(",", ":")).encode()
    return text + b" " + _checksum(text) + b"\n"


def _checksum(text: bytes) -> bytes:
    return f"{crc32(text):08x}".encode()


def _write(file: BufferedRandom, line: bytes) -> None:
    file.write(line)
    file.flush()
    os.fsync(file.fileno())
