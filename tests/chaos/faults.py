"""What the gateway does wrong, and how often: a draw by seed, order and attempt alone.

A refusal before the order is taken is always true: what is answered 422, 429 or 503-by-its-gates on
a first try was not taken. Lies of other kinds would break any client.
"""

import random
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from attrs import frozen

Kind = TypeVar("Kind", bound=StrEnum)


class Trick(StrEnum):
    """What is done with one POST of an order that is not held yet."""

    HONEST = "taken and answered"
    TAKEN_RESET = "taken, then reset"
    TAKEN_500 = "taken, then 500"
    TAKEN_BROKER = "taken, then 503 of the broker"
    TAKEN_GARBAGE = "taken, then garbage"
    TAKEN_DRIP = "taken, then a dripping answer"
    TAKEN_LATE = "taken after the caller gave up"
    LOST_RESET = "reset, not taken"
    LOST_500 = "500, not taken"
    REFUSED_422 = "422"
    PACED = "429"
    GATED = "503 by a gate"
    PARKED = "503 by quarantine"


class Fate(StrEnum):
    """What becomes of an order that is taken."""

    FILLS = "filled in parts"
    RESTS = "stays new"
    CANCELED_LATER = "canceled after a while"
    CANCELED_ON_ARRIVAL = "canceled on arrival"
    REJECTED = "rejected on arrival"
    PENDING = "without a broker's id for a while"


class ReadTrick(StrEnum):
    """What is done with one look-up."""

    HONEST = "answered"
    FAILS = "500"
    RESET = "reset"
    TWICE = "answered twice"
    SLOW = "late"
    DRIP = "dripping"


TRICKS = {
    Trick.TAKEN_RESET: 0.05,
    Trick.TAKEN_500: 0.04,
    Trick.TAKEN_BROKER: 0.02,
    Trick.TAKEN_GARBAGE: 0.03,
    Trick.TAKEN_DRIP: 0.02,
    Trick.TAKEN_LATE: 0.05,
    Trick.LOST_RESET: 0.015,
    Trick.LOST_500: 0.01,
    Trick.REFUSED_422: 0.02,
    Trick.PACED: 0.03,
    Trick.GATED: 0.01,
    Trick.PARKED: 0.02,
}
FATES = {
    Fate.RESTS: 0.1,
    Fate.CANCELED_LATER: 0.05,
    Fate.CANCELED_ON_ARRIVAL: 0.03,
    Fate.REJECTED: 0.04,
    Fate.PENDING: 0.04,
}
READ_TRICKS = {
    ReadTrick.FAILS: 0.06,
    ReadTrick.RESET: 0.03,
    ReadTrick.TWICE: 0.03,
    ReadTrick.SLOW: 0.03,
    ReadTrick.DRIP: 0.01,
}
# A repeat of a live order meets the gates before the look at what is held.
REPEAT_REFUSED = 0.5
REPEAT_REFUSALS = (Trick.REFUSED_422, Trick.GATED, Trick.PARKED, Trick.PACED, Trick.TAKEN_RESET)

SOON_SECONDS = (0.0, 0.02)
LATE_SECONDS = (0.3, 6.0)
FILL_SECONDS = (0.5, 5.0)
PENDING_SECONDS = (0.5, 4.0)


@frozen
class PostFault:
    """What is done with one POST.

    Attributes:
        pause: Seconds before anything is done with it.
        late: Seconds until an order that is taken late is taken.
    """

    trick: Trick
    pause: float = 0.0
    late: float = 0.0


@frozen
class Destiny:
    """What becomes of an order after it was taken.

    Attributes:
        seconds: From the taking to the end of its changes.
    """

    fate: Fate
    seconds: float


@frozen
class Faults:
    """The gateway's misbehaviour.

    Attributes:
        share: Scales every probability; 0 is an honest gateway.
    """

    seed: int
    share: float = 1.0

    def of_post(self, order_id: str, attempt: int, *, is_live: bool) -> PostFault:
        """Return what is done with an order's POST, attempts counted from 1."""
        draw = self._draw("post", order_id, attempt)
        pause = draw.uniform(*SOON_SECONDS)
        if is_live:
            refused = draw.random() < REPEAT_REFUSED * self.share
            return PostFault(draw.choice(REPEAT_REFUSALS) if refused else Trick.HONEST, pause)
        trick = _pick(draw, TRICKS, self.share) or Trick.HONEST
        return PostFault(trick, pause, draw.uniform(*LATE_SECONDS))

    def of_read(self, order_id: str, attempt: int) -> ReadTrick:
        """Return what is done with a look-up."""
        draw = self._draw("read", order_id, attempt)
        return _pick(draw, READ_TRICKS, self.share) or ReadTrick.HONEST

    def destiny(self, order_id: str) -> Destiny:
        """Return what becomes of an order once it is taken."""
        draw = self._draw("fate", order_id, 0)
        fate = _pick(draw, FATES, self.share) or Fate.FILLS
        spread = PENDING_SECONDS if fate is Fate.PENDING else FILL_SECONDS
        return Destiny(fate, draw.uniform(*spread))

    def _draw(self, what: str, order_id: str, attempt: int) -> random.Random:
        return random.Random(f"{self.seed}:{what}:{order_id}:{attempt}")  # noqa: S311 - a plan


def _pick(draw: random.Random, shares: Mapping[Kind, float], scale: float) -> Kind | None:
    left = draw.random()
    for kind, share in shares.items():
        left -= share * scale
        if left < 0:
            return kind
    return None
