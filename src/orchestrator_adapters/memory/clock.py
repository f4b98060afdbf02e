"""A clock that stands still until it is told otherwise."""

from datetime import datetime, timedelta

from attrs import define, field


def _require_aware(_instance: object, _attribute: object, value: datetime) -> None:
    if value.utcoffset() != timedelta(0):
        raise ValueError(f"expected a time in UTC, got {value!r}")


@define
class VirtualClock:
    """Time that passes only by `sleep` and `advance`, at once and without suspending.

    Attributes:
        _now: Time of day at the start, in UTC.
    """

    _now: datetime = field(validator=_require_aware)
    _monotonic: float = field(default=0.0, init=False)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let that many seconds pass; a negative number passes none."""
        passed = max(seconds, 0.0)
        self._monotonic += passed
        self._now += timedelta(seconds=passed)

    def set_time_of_day(self, now: datetime) -> None:
        """Let the time of day jump, as a machine's may; monotonic time does not."""
        self._now = now
