"""Strategies' controls, in memory: what operators did, and which runs failed."""

from bisect import insort
from datetime import datetime

from attrs import define, field, frozen

from orchestrator_adapters.run_rules import counts_in_row
from orchestrator_core.controls import ControlEvent, ControlEventKind, StrategyControls
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.runs import Run

_SWITCHES = frozenset({ControlEventKind.REDUCE_ONLY_ON, ControlEventKind.REDUCE_ONLY_OFF})
_REARMING = frozenset({ControlEventKind.REARMED})


@frozen(order=True)
class _Completed:
    """A run that has ended; of several that began at one moment, the one opened later is later."""

    started_at: datetime
    number: int
    is_failed: bool


@define
class MemoryControls:
    """What operators did, and the completed runs that count, by strategy, as they began."""

    _events: list[ControlEvent] = field(factory=list, init=False)
    _completed: dict[StrategyId, list[_Completed]] = field(factory=dict, init=False, repr=False)

    def add(self, event: ControlEvent) -> None:
        """Record what an operator did, once."""
        if event not in self._events:
            self._events.append(event)

    def events(self, strategy_id: StrategyId) -> list[ControlEvent]:
        """Return what operators did for the strategy, what was recorded last first."""
        return [event for event in reversed(self._events) if event.strategy_id == strategy_id]

    def end(self, run: Run, *, number: int) -> None:
        """Take in that a run is completed, which was opened as the one of that number."""
        if run.completed_at is not None and counts_in_row(run):
            completed = _Completed(run.started_at, number, run.status is RunStatus.FAILED)
            insort(self._completed.setdefault(run.strategy_id, []), completed)

    def read(self, strategy_id: StrategyId, *, count_failures: int) -> StrategyControls:
        """Return how the strategy's controls stand."""
        switched = self._latest(strategy_id, _SWITCHES)
        rearmed = self._latest(strategy_id, _REARMING)
        failed = 0
        for run in reversed(self._completed.get(strategy_id, ())):
            is_past = rearmed is not None and run.started_at <= rearmed.at
            if failed == count_failures or is_past or not run.is_failed:
                break
            failed += 1
        is_on = switched is not None and switched.kind is ControlEventKind.REDUCE_ONLY_ON
        return StrategyControls(is_on, failed)

    def _latest(
        self, strategy_id: StrategyId, kinds: frozenset[ControlEventKind]
    ) -> ControlEvent | None:
        return next((event for event in self.events(strategy_id) if event.kind in kinds), None)
