"""What the two stores of the kill switch mean together.

Theory of operation. The *shared state* stands where other services read and write it too; it can be
flushed, or fall back to an old copy. The *latch* stands in the run database, is durable, and is
locked by every claim of a wave. ENGAGED in either store halts. ACTIVE counts only with the latch's
own epoch: each engagement raises the epoch, so an old copy, or a state re-created by whoever, names
another one or none. No clocks are compared. Anything missing or unreadable halts.

A verdict may ask for a *follow-up*: one store shows what a person did through the other, and is to
be brought to it by compare-and-set, between runs.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from attrs import field, frozen

FIRST_EPOCH = 1


class SwitchState(StrEnum):
    """The shared word: ACTIVE means that trading is allowed."""

    ACTIVE = "ACTIVE"
    ENGAGED = "ENGAGED"


@frozen
class KillSwitchState:
    """The shared state, as every service on it reads it.

    Attributes:
        latch_epoch: Epoch of the latch that this state belongs to; None when another service made
            the state.
    """

    state: SwitchState
    engaged_at: str | None = None
    engaged_by: str | None = None
    engagement_reason: str | None = None
    engagement_details: Mapping[str, Any] | None = field(default=None, hash=False)
    disengaged_at: str | None = None
    disengaged_by: str | None = None
    disengagement_notes: str | None = None
    engagement_count_today: int = 0
    latch_epoch: int | None = None


@frozen
class Engagement:
    """An operator's order to stop."""

    operator: str
    reason: str
    at: datetime
    details: Mapping[str, Any] | None = field(default=None, hash=False)


@frozen
class Disengagement:
    """An operator's word that trading may go on."""

    operator: str
    at: datetime
    notes: str | None = None


@frozen
class Latch:
    """The durable half of the kill switch.

    Attributes:
        engaged: Whether it halts.
        epoch: Raised by one at each engagement.
        changed_by: Operator who last moved it.
        reason: Why, in the operator's words.
        changed_at: When.
        breaker_seen: A circuit-breaker state has existed, so its absence now is a fault.
    """

    engaged: bool
    epoch: int
    changed_by: str
    reason: str
    changed_at: datetime
    breaker_seen: bool = False


class SwitchEvent(StrEnum):
    """What the history records."""

    ENGAGED = "ENGAGED"
    DISENGAGED = "DISENGAGED"


EntryIdentity = tuple[SwitchEvent, str, str]


@frozen
class HistoryEntry:
    """One change of the shared state, as the history keeps it."""

    event: SwitchEvent
    timestamp: str
    operator: str
    reason: str | None = None
    notes: str | None = None
    details: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def identity(self) -> EntryIdentity:
        """Event, time and operator: an entry of the same is the same entry."""
        return self.event, self.timestamp, self.operator


@frozen
class Absent:
    """A store that answered, and holds nothing."""


@frozen
class Unreadable:
    """A store that did not answer, or answered what cannot be understood.

    Attributes:
        cause: Why, in one line.
        answered: The store answers, but no state: an operator can make a new one.
    """

    cause: str
    answered: bool = False


SharedReading = KillSwitchState | Absent | Unreadable
LatchReading = Latch | Absent | Unreadable


class FollowUp(StrEnum):
    """How one store is to be brought to the other."""

    TAKE_OVER = "take_over"
    ENGAGE_LATCH = "engage_latch"
    RELEASE_LATCH = "release_latch"
    STAMP_SHARED = "stamp_shared"
    RAISE_LATCH = "raise_latch"


class HeldBy(StrEnum):
    """Which store halts."""

    LATCH = "run_database"
    SHARED = "shared_state"


@frozen
class Trading:
    """Orders may leave, at this epoch of the latch."""

    epoch: int


@frozen
class Halted:
    """No order may leave.

    Attributes:
        engaged: A person engaged the switch; False when its state is in doubt.
        reason: Why, for a human.
        held_by: Stores that halt.
        release: What would let trading go on.
        follow_up: Compare-and-set that would bring the stores together.
    """

    engaged: bool
    reason: str
    held_by: tuple[HeldBy, ...]
    release: str
    engaged_by: str | None = None
    engaged_at: str | None = None
    follow_up: FollowUp | None = None


Verdict = Trading | Halted

_DISENGAGE = "disengage the kill switch"
_INIT = "an operator must initialise the kill switch: `orchestrator kill-switch init`"
_WAIT_SHARED = "the kill-switch store must answer again"
_WAIT_LATCH = "the run database must answer again"


def judge(shared: SharedReading, latch: LatchReading) -> Verdict:
    """Return what both stores mean together."""
    if isinstance(shared, KillSwitchState) and shared.state is SwitchState.ENGAGED:
        return _engaged_in_shared(shared, latch)
    if isinstance(latch, Latch) and latch.engaged:
        return _engaged_in_latch(shared, latch)
    if isinstance(latch, Unreadable):
        return _in_doubt(f"latch unreadable: {latch.cause}", HeldBy.LATCH, _WAIT_LATCH)
    if isinstance(shared, Unreadable):
        release = _INIT if shared.answered else _WAIT_SHARED
        return _in_doubt(f"state unreadable: {shared.cause}", HeldBy.SHARED, release)
    if isinstance(shared, Absent):
        return _in_doubt("state missing", HeldBy.SHARED, _INIT)
    if isinstance(latch, Absent) and shared.latch_epoch is not None:
        return _in_doubt(
            f"state says ACTIVE at epoch {shared.latch_epoch} of a latch that this run database "
            "does not hold: lost, or of another database",
            HeldBy.LATCH,
            _INIT,
        )
    if isinstance(latch, Absent):
        return _in_doubt(
            "state found on a run database without a latch: it is being taken over",
            HeldBy.LATCH,
            "the first start takes the state over; ask again",
            FollowUp.TAKE_OVER,
        )
    if shared.latch_epoch != latch.epoch:
        return _in_doubt(
            f"state says ACTIVE at epoch {shared.latch_epoch}, the latch is at {latch.epoch}: "
            "an old copy, or re-created by another hand",
            HeldBy.SHARED,
            _INIT,
        )
    return Trading(latch.epoch)


def _engaged_in_shared(shared: KillSwitchState, latch: LatchReading) -> Halted:
    held_by: tuple[HeldBy, ...] = (HeldBy.SHARED,)
    follow_up = None
    if isinstance(latch, Absent):
        follow_up = FollowUp.TAKE_OVER
    elif isinstance(latch, Latch) and latch.engaged:
        held_by = (HeldBy.LATCH, HeldBy.SHARED)
        follow_up = _alignment(shared.latch_epoch, latch.epoch)
    elif isinstance(latch, Latch):
        follow_up = FollowUp.ENGAGE_LATCH
    return Halted(
        engaged=True,
        reason=shared.engagement_reason or "no reason given",
        held_by=held_by,
        release=_DISENGAGE,
        engaged_by=shared.engaged_by,
        engaged_at=shared.engaged_at,
        follow_up=follow_up,
    )


def _alignment(shared_epoch: int | None, latch_epoch: int) -> FollowUp | None:
    """Return what brings two engaged stores to one epoch: whichever is behind moves up."""
    if shared_epoch == latch_epoch:
        return None
    if shared_epoch is None or shared_epoch < latch_epoch:
        return FollowUp.STAMP_SHARED
    return FollowUp.RAISE_LATCH


def _engaged_in_latch(shared: KillSwitchState | Absent | Unreadable, latch: Latch) -> Halted:
    released_elsewhere = (
        isinstance(shared, KillSwitchState)
        and shared.latch_epoch == latch.epoch
        and shared.disengaged_by is not None
    )
    return Halted(
        engaged=True,
        reason=latch.reason,
        held_by=(HeldBy.LATCH,),
        release="the latch is following" if released_elsewhere else _DISENGAGE,
        engaged_by=latch.changed_by,
        engaged_at=f"{latch.changed_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        follow_up=FollowUp.RELEASE_LATCH if released_elsewhere else None,
    )


def _in_doubt(
    reason: str, held_by: HeldBy, release: str, follow_up: FollowUp | None = None
) -> Halted:
    return Halted(
        engaged=False, reason=reason, held_by=(held_by,), release=release, follow_up=follow_up
    )
