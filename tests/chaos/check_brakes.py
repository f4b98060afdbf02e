"""P3 and P4: what left while nothing should, by the gateway's own clock of arrivals.

The clock is the machine's monotonic one, which gateway and driver share. P3 is strict: no first
byte of an order after `drained: true` was read, until the next release begins. P4 allows what was
claimed before the doubt began to leave within its send window.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import httpx
from attrs import frozen

from orchestrator_core.lifecycle import OrderState
from tests.chaos.evidence import Evidence, Finding, Promise
from tests.chaos.journal import Deed, Mark
from tests.chaos.ledger import Entry
from tests.chaos.stage import SEND_WINDOW_SECONDS

RELEASES = (Deed.DISENGAGE, Deed.INIT, Deed.FOREIGN_DISENGAGE)
# A release that is not answered may still take effect for so long; one whose replica died under it
# may be on its way to a store.
UNANSWERED_SECONDS = 60.0
BROKEN_OFF_SECONDS = 3.0
# From a look at the switch to its claim, and a sender's last bytes on their way to the gateway.
CLAIM_SECONDS = 1.5
# How far bytes may lag behind the end of their claim, on a busy machine, through a slow network.
TRAVEL_SECONDS = 2.0
# Two processes' readings of one wall clock, and a statement's own time.
CLOCK_SECONDS = 0.05


@frozen
class Quiet:
    """A time in which no order may arrive."""

    begins: float
    ends: float
    why: str

    def arrivals(self, arrivals: Sequence[Entry]) -> Sequence[Entry]:
        """Return what arrived all the same, of arrivals in order of time."""
        first = bisect_left(arrivals, self.begins, key=lambda entry: entry.at)
        last = bisect_left(arrivals, self.ends, key=lambda entry: entry.at)
        return arrivals[first:last]


def drained_times(evidence: Evidence) -> list[Quiet]:
    """Return the times from a barrier's word to the next release's begin.

    A release that overlaps the engagement leaves it open which of the two was last.
    """
    releases = evidence.journal.of(*RELEASES)
    found = []
    for engage in evidence.journal.of(Deed.ENGAGE):
        if engage.status != httpx.codes.OK or not engage.body["drained"]:
            continue
        assert engage.ended_at is not None
        if any(_overlaps(release, engage) for release in releases):
            continue
        ends = _next_begin(releases, engage.ended_at)
        found.append(Quiet(engage.ended_at, ends, f"drained by replica {engage.target}"))
    return found


def _overlaps(release: Mark, engage: Mark) -> bool:
    assert engage.ended_at is not None
    if release.ended_at is None:
        ends = release.begun_at + UNANSWERED_SECONDS
    else:
        ends = release.ended_at + (BROKEN_OFF_SECONDS if release.status is None else 0.0)
    return release.begun_at <= engage.ended_at and ends >= engage.begun_at


def _next_begin(releases: Sequence[Mark], after: float) -> float:
    return min((mark.begun_at for mark in releases if mark.begun_at >= after), default=float("inf"))


def doubtful_times(evidence: Evidence) -> list[Quiet]:
    """Return the times in which the switch or the database was gone, or engaged elsewhere."""
    grace = SEND_WINDOW_SECONDS + CLAIM_SECONDS
    releases = evidence.journal.of(*RELEASES)
    found = [
        Quiet(mark.begun_at + grace, mark.ended_at, mark.deed)
        for mark in evidence.journal.of(Deed.POSTGRES_CRASH, Deed.REDIS_RESTART)
        if mark.ended_at is not None
    ]
    for mark in evidence.journal.of(Deed.FLUSH, Deed.FOREIGN_ENGAGE):
        if mark.ended_at is None or mark.body is False:
            continue
        if any(_overlaps(release, mark) for release in releases):
            continue
        ends = _next_begin(releases, mark.ended_at)
        found.append(Quiet(mark.ended_at + grace, ends, mark.deed))
    return [quiet for quiet in found if quiet.ends > quiet.begins]


def check_drained(evidence: Evidence) -> Iterator[Finding]:
    """Find orders that arrived after a barrier's word."""
    yield from _late(drained_times(evidence), Promise.DRAINED, evidence)


def check_doubt(evidence: Evidence) -> Iterator[Finding]:
    """Find orders that left in doubt, or without their own committed row."""
    yield from _late(doubtful_times(evidence), Promise.DOUBT, evidence)
    for entry in evidence.arrivals:
        problem = _without_claim(entry, evidence)
        if problem is not None:
            yield Finding(Promise.DOUBT, problem)


def _late(quiets: Sequence[Quiet], promise: Promise, evidence: Evidence) -> Iterator[Finding]:
    for quiet in quiets:
        for entry in quiet.arrivals(evidence.arrivals):
            after = entry.at - quiet.begins
            what = (
                f"{entry.order_id} of replica {entry.via} arrived {after:.3f} s into: {quiet.why}"
            )
            yield Finding(promise, f"{what}; {_story(entry, evidence)}")


def _without_claim(entry: Entry, evidence: Evidence) -> str | None:
    """Say why a POST had no right to leave, or return None.

    Its row must have been SENDING, at the latest as the first byte came, and not have left that
    state earlier than its bytes may take on their way.
    """
    arrived = entry.at + evidence.wall_offset
    changes = evidence.changes.get(entry.order_id, [])
    if not any(
        change.after == OrderState.SENDING and change.at <= arrived + CLOCK_SECONDS
        for change in changes
    ):
        return f"{entry.order_id} arrived without a SENDING row; {_story(entry, evidence)}"
    before = [change for change in changes if change.at <= arrived - TRAVEL_SECONDS]
    since = [change for change in changes if arrived - TRAVEL_SECONDS < change.at <= arrived]
    states = [*(change.after for change in before[-1:]), *(change.after for change in since)]
    if OrderState.SENDING not in states:
        return f"{entry.order_id} arrived after its claim had ended; {_story(entry, evidence)}"
    return None


def _story(entry: Entry, evidence: Evidence) -> str:
    """Tell an order's changes, and the POSTs of it, in seconds from this arrival."""
    steps = [
        (change.at - evidence.wall_offset - entry.at, f"{change.after}@{change.run_id[:8]}")
        for change in evidence.changes.get(entry.order_id, [])
    ]
    posts = [
        (each.at - entry.at, f"{each.event} {each.detail} via {each.via}".replace("  ", " "))
        for each in evidence.entries
        if each.order_id == entry.order_id
    ]
    return ", ".join(f"{at:+.3f} {what}" for at, what in sorted(steps + posts))
