"""The stage that a run repository is tried on, and how another holder takes a run there."""

from typing import Protocol

from orchestrator_adapters.conformance.run_cases import ALPHA, LEASE_SECONDS
from orchestrator_core.commits import TakenRun
from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.ports import RunRepository


class RunStage(Protocol):
    """The world around a run repository."""

    @property
    def runs(self) -> RunRepository:
        """The adapter under test, over an empty store that holds no latch either."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let the store's clock go on by that much, as far as leases and looks tell."""
        ...


async def take(
    stage: RunStage,
    *,
    strategy: StrategyId = ALPHA,
    run_id: RunId | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> TakenRun | None:
    """Take over a run, as recovery does."""
    return await stage.runs.take_run(strategy, lease_seconds=lease_seconds, run_id=run_id)


async def taken_over(stage: RunStage, run_id: RunId) -> TakenRun:
    """Have the run taken over once its lease has ended."""
    await stage.pass_time(LEASE_SECONDS + 1)
    taken = await take(stage, run_id=run_id)
    assert taken is not None
    return taken
