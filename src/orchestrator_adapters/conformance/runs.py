"""What every run repository does.

class TestMine(RunRepositoryConformance):
    @pytest.fixture
    async def stage(self) -> AsyncIterator[RunStage]:
        ...
"""

import pytest

from orchestrator_adapters.conformance.run_cases import RunStage
from orchestrator_adapters.conformance.run_openings import RunOpeningCases

__all__ = ["RunRepositoryConformance", "RunStage"]


class RunRepositoryConformance(RunOpeningCases):
    """Subclass it, and override `stage`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def stage(self) -> RunStage:
        raise NotImplementedError("override this fixture: give a fresh stage")
