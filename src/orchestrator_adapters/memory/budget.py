"""The order budget, in memory: of one process alone."""

from collections import deque
from collections.abc import Sequence

from attrs import define, field
from attrs.validators import ge, optional

from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.ports import Allowance, Clock

WINDOW_MICROSECONDS = 60_000_000
LONGEST_WAIT_FOR_PLACE_MICROSECONDS = 100_000


@define(eq=False)
class MemoryOrderBudget:
    """Counts in whole microseconds of monotonic time; nothing suspends, so each call is atomic.

    Attributes:
        max_in_flight: Orders between taking a place and giving it back; None: no limit.
        max_per_minute: Orders let go in any 60 seconds (a half-open window); None: no limit.
    """

    _clock: Clock
    max_in_flight: int | None = field(validator=optional(ge(1)))
    max_per_minute: int | None = field(validator=optional(ge(1)))
    _free_at: dict[ClientOrderId, int] = field(factory=dict, init=False)
    _sent_at: deque[int] = field(factory=deque, init=False)

    async def take(self, ids: Sequence[ClientOrderId], *, hold_seconds: float) -> Allowance:
        if self.max_in_flight is None and self.max_per_minute is None:
            return Allowance(len(ids))
        now = self._now()
        self._forget_what_is_past(now)
        until = now + max(round(hold_seconds * 1_000_000), 1)
        for granted, id_ in enumerate(ids):
            if id_ not in self._free_at:
                wait = self._wait(now)
                if wait > 0:
                    return Allowance(granted, wait / 1_000_000)
                if self.max_per_minute is not None:
                    self._sent_at.append(now)
            self._free_at[id_] = max(until, self._free_at.get(id_, until))
        return Allowance(len(ids))

    async def give_back(self, ids: Sequence[ClientOrderId]) -> None:
        for id_ in ids:
            self._free_at.pop(id_, None)

    def _now(self) -> int:
        return round(self._clock.monotonic() * 1_000_000)

    def _forget_what_is_past(self, now: int) -> None:
        self._free_at = {id_: at for id_, at in self._free_at.items() if at > now}
        while self._sent_at and self._sent_at[0] <= now - WINDOW_MICROSECONDS:
            self._sent_at.popleft()

    def _wait(self, now: int) -> int:
        """Return the microseconds until there may be room for one more; 0: now."""
        wait = 0
        if self.max_in_flight is not None and len(self._free_at) >= self.max_in_flight:
            wait = min(min(self._free_at.values()) - now, LONGEST_WAIT_FOR_PLACE_MICROSECONDS)
        if self.max_per_minute is not None and len(self._sent_at) >= self.max_per_minute:
            leaving = self._sent_at[-self.max_per_minute]
            wait = max(wait, leaving + WINDOW_MICROSECONDS - now)
        return wait
