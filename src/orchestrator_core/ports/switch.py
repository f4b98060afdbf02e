"""The brakes: the shared kill switch, and the circuit breaker."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from attrs import frozen

from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    HistoryEntry,
    KillSwitchState,
)


@frozen
class SwitchChange:
    """The shared state after a change, and whether it was this call that changed it."""

    state: KillSwitchState
    changed: bool


class KillSwitch(Protocol):
    """The shared half of the kill switch. Each change is atomic and goes into the history.

    Each method raises `Unavailable` when certainly nothing was done, and a write `OutcomeUnknown`
    when it may have been. Repeating a write is safe.
    """

    async def read(self) -> KillSwitchState | None:
        """Return the state, or None where there is none.

        Asks in a way that only a writable store answers: an old copy must not say ACTIVE.

        Raises:
            MalformedReply: What stands there is no state.
        """
        ...

    async def engage(self, engagement: Engagement, *, latch_epoch: int | None) -> SwitchChange:
        """Set ENGAGED, whatever stood there.

        A state that is ENGAGED already keeps who engaged it and why, and is not changed but for
        its epoch. The state's epoch becomes the larger of its own and `latch_epoch`.
        """
        ...

    async def disengage(
        self, disengagement: Disengagement, *, latch_epoch: int, only_create: bool = False
    ) -> SwitchChange:
        """Set ACTIVE at that epoch; unchanged if it stands so already.

        A state at a later epoch is left as it stands: somebody changed the switch since the latch
        was read. Anything else that stood there gives way, also what is no state.

        Args:
            disengagement: Who lets go.
            latch_epoch: Epoch of the latch, as it was read before.
            only_create: Leave a state that is ENGAGED as it stands.
        """
        ...

    async def stamp(self, expected: KillSwitchState, *, latch_epoch: int) -> bool:
        """Write the epoch into the state if it still equals `expected`; say whether it did."""
        ...

    async def history(self, *, limit: int) -> Sequence[HistoryEntry]:
        """Return the last changes, newest first. A read."""
        ...

    async def check(self) -> None:
        """Return if the store answers. A read."""
        ...


class BreakerState(StrEnum):
    """The circuit breaker's word."""

    OPEN = "OPEN"
    TRIPPED = "TRIPPED"


@frozen
class Breaker:
    """The shared circuit breaker.

    Attributes:
        state: OPEN lets trading go on, as the breaker's owner writes it.
        reason: Why it tripped.
    """

    state: BreakerState
    reason: str | None = None


class CircuitBreaker(Protocol):
    """A brake that other services pull."""

    async def read(self) -> Breaker | None:
        """Return the breaker, or None where none was ever set. A read.

        Raises:
            Unavailable: The store cannot be asked.
            MalformedReply: What stands there is no state.
        """
        ...
