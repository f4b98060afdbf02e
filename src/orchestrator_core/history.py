"""The history of the kill switch: what goes into it, and one view of both its copies.

The shared copy is written by every service and lost with its store. Ours stands in the run
database beside the latch, in the commit that moves it. An entry is the same in both by its event,
time and operator.
"""

from datetime import UTC, datetime

from orchestrator_core.errors import PortError
from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    EntryIdentity,
    HistoryEntry,
    KillSwitchState,
    SwitchEvent,
)
from orchestrator_core.ports import KillSwitch, RunRepository
from orchestrator_core.record import encode_time

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def entry_of_engagement(engagement: Engagement) -> HistoryEntry:
    """Return what the history keeps of an engagement."""
    return HistoryEntry(
        SwitchEvent.ENGAGED,
        timestamp=encode_time(engagement.at.astimezone(UTC)),
        operator=engagement.operator,
        reason=engagement.reason,
        details=engagement.details,
    )


def entry_of_disengagement(disengagement: Disengagement) -> HistoryEntry:
    """Return what the history keeps of a disengagement."""
    return HistoryEntry(
        SwitchEvent.DISENGAGED,
        timestamp=encode_time(disengagement.at.astimezone(UTC)),
        operator=disengagement.operator,
        notes=disengagement.notes,
    )


def entry_of_engaged_state(state: KillSwitchState) -> HistoryEntry | None:
    """Return the entry of an engagement by another service; None where it told no time."""
    if state.engaged_at is None:
        return None
    return HistoryEntry(
        SwitchEvent.ENGAGED,
        timestamp=state.engaged_at,
        operator=state.engaged_by or "another service",
        reason=state.engagement_reason,
        details=state.engagement_details,
    )


def entry_of_released_state(state: KillSwitchState) -> HistoryEntry | None:
    """Return the entry of a disengagement by another service; None where it told no time."""
    if state.disengaged_at is None:
        return None
    return HistoryEntry(
        SwitchEvent.DISENGAGED,
        timestamp=state.disengaged_at,
        operator=state.disengaged_by or "another service",
        notes=state.disengagement_notes,
    )


def moment_of(entry: HistoryEntry) -> datetime | None:
    """Return the entry's time in UTC; None where another service's word for it is none."""
    try:
        time = datetime.fromisoformat(entry.timestamp)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


async def read_history(
    kill_switch: KillSwitch, runs: RunRepository, *, limit: int
) -> tuple[HistoryEntry, ...]:
    """Return the last changes that either copy holds, newest first.

    Raises:
        PortError: Neither copy can be read.
    """
    found: list[HistoryEntry] = []
    failures: list[PortError] = []
    for read in (kill_switch.history, runs.switch_history):
        try:
            found += await read(limit=limit)
        except PortError as error:
            failures.append(error)
    if len(failures) > 1:
        raise failures[0]
    seen: dict[EntryIdentity, HistoryEntry] = {}
    for entry in found:
        seen.setdefault(entry.identity, entry)
    newest_first = sorted(
        seen.values(), key=lambda entry: moment_of(entry) or _LONG_AGO, reverse=True
    )
    return tuple(newest_first[: max(limit, 0)])
