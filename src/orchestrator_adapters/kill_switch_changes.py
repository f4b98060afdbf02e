"""What each change of the shared kill-switch state comes to: pure, and the same for every store.

Each function takes the text that stands there now and says what is to stand there after. A store
applies the answer only if that text still stands: in one transaction, or by compare-and-set.
"""

from collections.abc import Callable
from datetime import datetime

from attrs import evolve, fields, frozen

from orchestrator_adapters.shared_keys import (
    Json,
    Text,
    encode_entry,
    encode_object,
    parse_object,
    parse_utc,
    state_of,
    storable_details,
    storable_text,
    utc_text,
)
from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    HistoryEntry,
    KillSwitchState,
    SwitchEvent,
    SwitchState,
)
from orchestrator_core.ports import SwitchChange


@frozen
class Change:
    """What a change comes to.

    Attributes:
        answer: What the caller is told.
        text: What is to stand there; None leaves what does.
        entry: Line for the history, if any; only ever with `text`.
    """

    answer: SwitchChange
    text: str | None = None
    entry: str | None = None


Decide = Callable[[Text | None], Change]


def engage(found: Text | None, engagement: Engagement, *, latch_epoch: int | None) -> Change:
    """Return the change that engages; see `orchestrator_core.ports.KillSwitch.engage`."""
    document, before = _standing(found)
    own_epoch = None if before is None else before.latch_epoch
    epoch = max((e for e in (own_epoch, latch_epoch) if e is not None), default=None)
    if before is not None and before.state is SwitchState.ENGAGED:
        return _restamped(document, before, epoch)
    details = storable_details(engagement.details)
    operator, reason = storable_text(engagement.operator), storable_text(engagement.reason)
    at = utc_text(engagement.at)
    after = document | {
        "state": str(SwitchState.ENGAGED),
        "engaged_at": at,
        "engaged_by": operator,
        "engagement_reason": reason,
        "engagement_details": details,
        "disengaged_at": None,
        "disengaged_by": None,
        "disengagement_notes": None,
        "engagement_count_today": _engagements_before(before, engagement.at) + 1,
    }
    entry = HistoryEntry(
        SwitchEvent.ENGAGED, timestamp=at, operator=operator, reason=reason, details=details
    )
    return _written(after, epoch, entry)


def disengage(
    found: Text | None,
    disengagement: Disengagement,
    *,
    latch_epoch: int,
    only_create: bool,
) -> Change:
    """Return the change that lets go; see `orchestrator_core.ports.KillSwitch.disengage`."""
    document, before = _standing(found)
    if before is not None:
        is_later = before.latch_epoch is not None and before.latch_epoch > latch_epoch
        stands_so = before.state is SwitchState.ACTIVE and before.latch_epoch == latch_epoch
        is_kept = only_create and before.state is SwitchState.ENGAGED
        if is_later or stands_so or is_kept:
            return Change(SwitchChange(before, changed=False))
    at = utc_text(disengagement.at)
    operator = storable_text(disengagement.operator)
    notes = None if disengagement.notes is None else storable_text(disengagement.notes)
    after = document | {
        "state": str(SwitchState.ACTIVE),
        "engaged_at": None if before is None else before.engaged_at,
        "engaged_by": None if before is None else before.engaged_by,
        "engagement_reason": None if before is None else before.engagement_reason,
        "engagement_details": None if before is None else before.engagement_details,
        "disengaged_at": at,
        "disengaged_by": operator,
        "disengagement_notes": notes,
        "engagement_count_today": _engagements_before(before, disengagement.at),
    }
    entry = HistoryEntry(SwitchEvent.DISENGAGED, timestamp=at, operator=operator, notes=notes)
    return _written(after, latch_epoch, entry)


def stamp(found: Text | None, expected: KillSwitchState, *, latch_epoch: int) -> Change:
    """Return the change that writes the epoch; `changed` says whether it stands there after.

    Repeating a stamp whose answer was lost finds it done.
    """
    document, before = _standing(found)
    if before is not None and before == evolve(expected, latch_epoch=latch_epoch):
        return Change(SwitchChange(before, changed=True))
    if before is None or before != expected:
        return Change(SwitchChange(expected, changed=False))
    change = _restamped(document, before, latch_epoch)
    return evolve(change, answer=SwitchChange(change.answer.state, changed=True))


_OURS = frozenset(attribute.name for attribute in fields(KillSwitchState))


def _standing(found: Text | None) -> tuple[Json, KillSwitchState | None]:
    """Return the fields to be kept, and the state; of what is no state only foreign fields."""
    if found is None:
        return {}, None
    try:
        document = parse_object(found)
    except ValueError:
        return {}, None
    try:
        return document, state_of(document)
    except ValueError:
        return {name: value for name, value in document.items() if name not in _OURS}, None


def _engagements_before(state: KillSwitchState | None, now: datetime) -> int:
    """Return how often the switch was engaged on the UTC day of `now`."""
    if state is None:
        return 0
    try:
        engaged_on = parse_utc(state.engaged_at).date()
    except ValueError:
        return 0
    return state.engagement_count_today if engaged_on == parse_utc(utc_text(now)).date() else 0


def _restamped(document: Json, before: KillSwitchState, epoch: int | None) -> Change:
    if epoch == before.latch_epoch:
        return Change(SwitchChange(before, changed=False))
    after = _with_epoch(document, epoch)
    return Change(SwitchChange(state_of(after), changed=False), text=encode_object(after))


def _written(document: Json, epoch: int | None, entry: HistoryEntry) -> Change:
    after = _with_epoch(document, epoch)
    return Change(
        SwitchChange(state_of(after), changed=True),
        text=encode_object(after),
        entry=encode_entry(entry),
    )


def _with_epoch(document: Json, epoch: int | None) -> Json:
    return document if epoch is None else document | {"latch_epoch": epoch}
