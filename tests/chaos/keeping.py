"""Keeping what a trial left behind, for whoever wants to look closer."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import attrs

from tests.chaos.evidence import Evidence
from tests.chaos.stage import Stage


def keep(stage: Stage, evidence: Evidence, folder: Path) -> None:
    """Copy logs and ledger to a folder, and write everything else there as lines of JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (*stage.folder.glob("*.log"), stage.peers.ledger):
        shutil.copy(path, folder)
    journal, books = evidence.journal, evidence.books
    _write(folder / "marks.jsonl", journal.marks)
    _write(folder / "answers.jsonl", journal.answers)
    _write(folder / "runs.jsonl", books.runs)
    _write(folder / "orders.jsonl", books.orders)
    _write(folder / "order-changes.jsonl", books.order_changes)
    _write(folder / "run-changes.jsonl", books.run_changes)
    (folder / "wall-offset").write_text(f"{evidence.wall_offset}\n")


def _write(path: Path, values: Iterable[attrs.AttrsInstance]) -> None:
    with path.open("w") as lines:
        for value in values:
            lines.write(json.dumps(attrs.asdict(value), default=str) + "\n")
