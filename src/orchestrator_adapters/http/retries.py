"""Whether a read is tried again, and when: a pure policy.

Only reads are repeated by it. What a peer asks for in `Retry-After` is kept exactly, never cut
short: where it does not fit into the time left, the read is not repeated.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from attrs import frozen

MAX_RETRY_AFTER_SECONDS = 86_400.0


@frozen
class RetryPolicy:
    """Exponential back-off with full jitter.

    Attributes:
        attempts: Tries in all, the first included.
        first_seconds: Longest pause before the second try; doubles with each further one.
        longest_seconds: Longest pause that is ever drawn.
    """

    attempts: int = 3
    first_seconds: float = 0.1
    longest_seconds: float = 2.0

    def pause_after(
        self, tries: int, *, jitter: float, retry_after: float | None, seconds_left: float
    ) -> float | None:
        """Return the seconds to wait before the next try, or None to give up.

        Args:
            tries: Tries made so far, from 1.
            jitter: Drawn evenly from 0 to 1.
            retry_after: Seconds that the peer asked for.
            seconds_left: Of the deadline for all tries together.

        >>> RetryPolicy().pause_after(2, jitter=0.5, retry_after=None, seconds_left=9.0)
        0.1
        """
        if tries >= self.attempts:
            return None
        pause = retry_after
        if pause is None:
            pause = jitter * min(self.first_seconds * 2 ** (tries - 1), self.longest_seconds)
        return pause if pause < seconds_left else None


def parse_retry_after(text: str | None, *, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, 0 to a day; None if it says nothing.

    Args:
        text: Whole seconds, or an HTTP date.
        now: The time, aware.
    """
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_RETRY_AFTER_SECONDS)
    try:
        then = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return min(max((then - now).total_seconds(), 0.0), MAX_RETRY_AFTER_SECONDS)
