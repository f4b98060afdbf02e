import pytest
from attrs import frozen

from orchestrator_adapters.conformance.runs import RunRepositoryConformance, RunStage
from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.memory.runs import MemoryRunRepository
from orchestrator_core.identifiers import RunId
from orchestrator_core.runs import Lease
from tests.unit.builders import NOW


@frozen
class MemoryStage:
    runs: MemoryRunRepository

    async def take_over(self, run_id: RunId) -> Lease:
        return await self.runs.take_over(run_id, seconds=90.0)


class TestMemoryRunRepository(RunRepositoryConformance):
    @pytest.fixture
    def stage(self) -> RunStage:
        return MemoryStage(MemoryRunRepository(VirtualClock(NOW)))
