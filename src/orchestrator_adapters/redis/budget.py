"""The order budget of all replicas, in Redis.

Theory of operation. Two sorted sets, changed by one script each time, so that takers at once are
served one after another: the places in flight, by when each comes free, and what was let go in the
last minute, by when. Time is Redis's own. In any 60 seconds by that clock no more than
`max_per_minute` orders are let go (a half-open window; what reaches the gateway lags by the time
between taking a place and sending). What one order adds to either set goes within its hold, or a
minute, and so do the keys.

Both scripts do the same when they are repeated, so a call whose answer was lost is tried once more,
as the client does with reads: a server that was restarted between two runs fails none.

It is a limit, and no promise of one order: a Redis that lost its data has forgotten the last
minute, one that cannot be asked lets nothing go.
"""

from collections.abc import Sequence
from typing import Any

from attrs import field, frozen
from attrs.validators import ge, optional

from orchestrator_adapters.redis.client import RedisClient, Script, load_script
from orchestrator_core.errors import OutcomeUnknown
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.ports import Allowance

PORT = "budget"
DEFAULT_PREFIX = "orchestrator:budget"
WINDOW_MICROSECONDS = 60_000_000
# Places mostly come free by being given back, which nobody is told of.
LONGEST_WAIT_FOR_PLACE_MICROSECONDS = 100_000
NO_LIMIT = -1


@frozen
class RedisOrderBudget:
    """What all replicas on one Redis may send together; see the module.

    Attributes:
        max_in_flight: Orders between taking a place and giving it back; None: no limit.
        max_per_minute: Orders let go in any 60 seconds; None: no limit.
        prefix: Of the keys; one budget a prefix.
    """

    client: RedisClient
    max_in_flight: int | None = field(validator=optional(ge(1)))
    max_per_minute: int | None = field(validator=optional(ge(1)))
    prefix: str = DEFAULT_PREFIX
    _take: Script = field(factory=lambda: load_script("take_places.lua"), init=False)
    _give_back: Script = field(factory=lambda: load_script("give_places_back.lua"), init=False)

    @property
    def keys(self) -> tuple[str, str]:
        """The places in flight, and what was let go."""
        return f"{self.prefix}:in_flight", f"{self.prefix}:sent"

    async def take(self, ids: Sequence[ClientOrderId], *, hold_seconds: float) -> Allowance:
        if not ids or self._grants_all:
            return Allowance(len(ids))
        reply = await self.client.write_script(
            PORT,
            "take",
            self._take,
            *self.keys,
            NO_LIMIT if self.max_in_flight is None else self.max_in_flight,
            NO_LIMIT if self.max_per_minute is None else self.max_per_minute,
            max(round(hold_seconds * 1_000_000), 1),
            WINDOW_MICROSECONDS,
            LONGEST_WAIT_FOR_PLACE_MICROSECONDS,
            *ids,
            keys=len(self.keys),
            may_repeat=True,
        )
        return _allowance_of(reply, asked=len(ids))

    async def give_back(self, ids: Sequence[ClientOrderId]) -> None:
        if not ids or self._grants_all:
            return
        await self.client.write_script(
            PORT, "give_back", self._give_back, self.keys[0], *ids, keys=1, may_repeat=True
        )

    @property
    def _grants_all(self) -> bool:
        return self.max_in_flight is None and self.max_per_minute is None


def _allowance_of(reply: Any, *, asked: int) -> Allowance:
    """Return the allowance of a script's answer: how many, and microseconds to wait for more."""
    match reply:
        case [int(granted), int(wait)] if granted == asked and wait == 0:
            return Allowance(granted)
        case [int(granted), int(wait)] if 0 <= granted < asked and wait > 0:
            return Allowance(granted, wait / 1_000_000)
        case _:
            raise OutcomeUnknown(PORT, "take", f"the script answered {reply!r:.60}")
