"""The plan of what goes wrong: a function of the seed and the duration alone."""

import random
from enum import StrEnum

from attrs import frozen

FIRST_SECONDS = 2.0
PAUSE_SECONDS = (0.3, 2.5)


class Kind(StrEnum):
    """What goes wrong."""

    KILL = "kill"
    KILL_AT_POST = "kill at a post"
    FREEZE = "freeze"
    FREEZE_AT_POST = "freeze at a post"
    STOP = "stop"
    POSTGRES_CRASH = "postgres crash"
    REDIS_RESTART = "redis restart"
    FLUSH = "flush"
    OLD_COPY = "old copy"
    ENGAGE = "engage"
    ENGAGE_TWICE = "engage twice"
    FOREIGN_ENGAGE = "foreign engage"
    CUT = "cut"
    SILENCE = "silence"
    DELAY = "delay"
    LOSE_ANSWER = "lose an answer"
    STORM = "storm"


# How often each comes, and how long it lasts, in seconds.
SHARES: dict[Kind, tuple[float, float, float]] = {
    Kind.KILL: (4, 0.3, 4),
    Kind.KILL_AT_POST: (9, 0.3, 4),
    Kind.FREEZE: (4, 0.2, 14),
    Kind.FREEZE_AT_POST: (4, 0.2, 11),
    Kind.STOP: (2, 0.3, 2),
    Kind.POSTGRES_CRASH: (3, 0.3, 6),
    Kind.REDIS_RESTART: (3, 0.1, 6),
    Kind.FLUSH: (2, 0, 0),
    Kind.OLD_COPY: (2, 0, 0),
    Kind.ENGAGE: (6, 0.2, 2),
    Kind.ENGAGE_TWICE: (2, 0.2, 2),
    Kind.FOREIGN_ENGAGE: (4, 0.5, 9),
    Kind.CUT: (5, 0.2, 4),
    Kind.SILENCE: (5, 0.2, 8),
    Kind.DELAY: (5, 0.5, 5),
    Kind.LOSE_ANSWER: (8, 0.3, 1),
    Kind.STORM: (4, 0.5, 4),
}
TARGETS = ("postgres", "redis", "gateway")
STORMS = ("paced", "gated", "deaf")
# When a signal meets a POST: as it arrives, as the order is taken, after the answer.
POINTS = ("arrived", "taken", None)


@frozen
class Trouble:
    """One thing that goes wrong.

    Attributes:
        at: Seconds from the beginning.
        seconds: How long it lasts.
        replicas: All of them, the first ones first to suffer.
        target: The connection that suffers.
        storm: What the gateway does for a while.
        point: Of a POST, when a signal meets one.
        count: POSTs to let pass, or answers to lose.
    """

    at: float
    kind: Kind
    seconds: float
    replicas: tuple[int, ...]
    target: str
    storm: str
    point: str | None
    count: int


def plan_troubles(seed: int, seconds: float, *, replicas: int = 3) -> tuple[Trouble, ...]:
    """Return what goes wrong within a trial of that many seconds."""
    draw = random.Random(f"{seed}:troubles")  # noqa: S311 - a plan, no secret
    kinds, weights = list(SHARES), [share for share, _, _ in SHARES.values()]
    troubles = []
    at = FIRST_SECONDS
    while at < seconds:
        [kind] = draw.choices(kinds, weights)
        _, least, most = SHARES[kind]
        troubles.append(
            Trouble(
                at=at,
                kind=kind,
                # Short ones are more frequent than long ones.
                seconds=least + (most - least) * draw.random() ** 2,
                replicas=tuple(draw.sample(range(replicas), replicas)),
                target=draw.choice(TARGETS),
                storm=draw.choice(STORMS),
                point=draw.choice(POINTS),
                count=draw.randint(0, 3),
            )
        )
        at += draw.uniform(*PAUSE_SECONDS)
    return tuple(troubles)
