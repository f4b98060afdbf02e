"""What the driver asked, was answered and did, with monotonic times."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from attrs import define, field, frozen

from tests.chaos.decisions import Decision


class Deed(StrEnum):
    """What was done to the system."""

    ENGAGE = "engage"
    DISENGAGE = "disengage"
    INIT = "init"
    FOREIGN_ENGAGE = "foreign engage"
    FOREIGN_DISENGAGE = "foreign disengage"
    FLUSH = "flush"
    OLD_COPY = "old copy"
    KILL = "kill"
    KILL_AT_POST = "kill at a post"
    STOP = "stop"
    FREEZE = "freeze"
    START = "start"
    POSTGRES_CRASH = "postgres crash"
    REDIS_RESTART = "redis restart"
    CUT = "cut"
    SILENCE = "silence"
    DELAY = "delay"
    LOST_ANSWER = "lost answer"
    STORM = "storm"
    RESOLVE = "resolve"
    CEASE = "cease"


@frozen
class AnswerSeen:
    """One request of a client, and what it saw.

    Attributes:
        decision: None for a look at a run.
        replica: That was asked.
        status: None where no answer came.
        body: What the answer held; the error's name where none came.
    """

    begun_at: float
    ended_at: float
    decision: Decision | None
    replica: int
    status: int | None
    body: Any
    is_replayed: bool = False

    @property
    def run_id(self) -> str | None:
        """The run that the answer speaks of."""
        if not isinstance(self.body, dict):
            return None
        detail = self.body.get("detail")
        found = self.body.get("run_id") or (
            detail.get("run_id") if isinstance(detail, dict) else None
        )
        return None if found is None else str(found)

    @property
    def error(self) -> str | None:
        """The words of a refusal."""
        detail = self.body.get("detail") if isinstance(self.body, dict) else None
        return detail.get("error") if isinstance(detail, dict) else None


@define
class Mark:
    """Something done to the system.

    Attributes:
        ended_at: When it was answered or undone; None while it is not, or if that is not known.
        status: HTTP status of an operator's answer.
        body: What was answered.
        target: Replica, or what else it was done to.
    """

    deed: Deed
    begun_at: float
    ended_at: float | None = None
    status: int | None = None
    body: Any = None
    target: str = ""


@define
class Journal:
    """All of a trial.

    Attributes:
        decisions: All that was asked for, by name, answered or not.
    """

    decisions: dict[str, Decision] = field(factory=dict)
    answers: list[AnswerSeen] = field(factory=list)
    marks: list[Mark] = field(factory=list)

    @contextmanager
    def doing(self, deed: Deed, target: object = "") -> Iterator[Mark]:
        """Note something that lasts; its end is noted where no error leaves it open."""
        mark = Mark(deed, time.monotonic(), target=str(target))
        self.marks.append(mark)
        yield mark
        mark.ended_at = time.monotonic()

    def note(self, deed: Deed, target: object = "") -> Mark:
        """Note something done at once."""
        now = time.monotonic()
        mark = Mark(deed, now, now, target=str(target))
        self.marks.append(mark)
        return mark

    def of(self, *deeds: Deed) -> list[Mark]:
        """Return the marks of these kinds, by their begin."""
        return sorted(
            (mark for mark in self.marks if mark.deed in deeds), key=lambda mark: mark.begun_at
        )

    def counts(self) -> Counter[str]:
        return Counter(str(mark.deed) for mark in self.marks)
