"""What an operator sets at run time for one strategy, and what its failures call for.

Every change is an event in a history that is never rewritten; how things stand follows from the
latest event of each kind. The latest is the one recorded last, whatever its time: the clock of a
replica may be ahead of another's. A run reads the controls after it has read the latch. Turning
reduce-only on is recorded first, and raises the latch's epoch then: a run that read the controls
before can claim nothing more.

Failed runs in a row go by when they began, not by when they ended: a run that was begun before the
failures, and that recovery completes after them, says nothing of what stands now.
"""

from datetime import datetime
from enum import StrEnum

from attrs import evolve, frozen

from orchestrator_core.identifiers import StrategyId
from orchestrator_core.limits import Limits


class ControlEventKind(StrEnum):
    """What an operator did."""

    REDUCE_ONLY_ON = "REDUCE_ONLY_ON"
    REDUCE_ONLY_OFF = "REDUCE_ONLY_OFF"
    REARMED = "REARMED"


@frozen
class ControlEvent:
    """One thing that an operator did, for one strategy.

    Attributes:
        at: By the clock of the replica that recorded it.
        operator: By name.
        notes: Why, in the operator's words.
    """

    strategy_id: StrategyId
    kind: ControlEventKind
    at: datetime
    operator: str
    notes: str


@frozen
class StrategyControls:
    """How one strategy's controls stand.

    Attributes:
        reduce_only: Only orders that shrink a position may go.
        failed_runs: Runs that ended as failed, one after the other in the order of their
            beginning, the latest first: those begun since the latest run that did not fail, and
            after the time of the latest re-arming; as far as was counted. Left out are runs still
            open, runs that a request made dry, and runs whose request the strategy refused: no
            client stops a strategy by asking for nonsense.
    """

    reduce_only: bool = False
    failed_runs: int = 0

    def tighten(self, limits: Limits) -> Limits:
        """Return the limits with what an operator has set on top of them."""
        return evolve(limits, reduce_only=limits.reduce_only or self.reduce_only)
