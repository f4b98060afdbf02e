"""The kill switch's durable history as column values, and back."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator_adapters.run_rows import Row, json_of
from orchestrator_adapters.shared_keys import storable_details
from orchestrator_adapters.storable import storable_or_none, storable_text
from orchestrator_core.history import moment_of
from orchestrator_core.kill_switch import HistoryEntry, SwitchEvent
from orchestrator_core.record import canonical_json

# An entry of the same event, time and operator is the same entry.
HISTORY_COLUMNS: Final = ("event", "timestamp", "operator", "reason", "notes", "details")

_NO_TIME: Final = datetime.max.replace(tzinfo=UTC)


def history_values(entry: HistoryEntry) -> tuple[Any, ...]:
    """Return the values of `HISTORY_COLUMNS`; details as canonical JSON text.

    Never fails: stopping must not depend on the words that go with it.
    """
    details = storable_details(entry.details)
    return (
        entry.event.value,
        storable_text(entry.timestamp),
        storable_text(entry.operator),
        storable_or_none(entry.reason),
        storable_or_none(entry.notes),
        None if details is None else canonical_json(details),
    )


def newest_first(entries: Iterable[HistoryEntry]) -> list[HistoryEntry]:
    """Return entries by time, those of one time by their place; what tells no time counts as new.

    Args:
        entries: In the order of writing.
    """
    written = list(entries)[::-1]
    return sorted(written, key=lambda entry: moment_of(entry) or _NO_TIME, reverse=True)


def entry_of_row(row: Row) -> HistoryEntry:
    """Return the entry of a row of `HISTORY_COLUMNS`."""
    details = row["details"]
    return HistoryEntry(
        event=SwitchEvent(row["event"]),
        timestamp=row["timestamp"],
        operator=row["operator"],
        reason=row["reason"],
        notes=row["notes"],
        details=None if details is None else json_of(details),
    )
