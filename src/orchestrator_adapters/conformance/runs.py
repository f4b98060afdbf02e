"""What every run repository does.

    class TestMine(RunRepositoryConformance):
        @pytest.fixture
        async def stage(self) -> AsyncIterator[RunStage]:
            ...

The stage is described in `run_stage`; the cases stand in the modules beside it.
"""

import pytest

from orchestrator_adapters.conformance.run_book_versions import BookVersionCases
from orchestrator_adapters.conformance.run_books import BookCases
from orchestrator_adapters.conformance.run_closings import AdopterCases, ClosingCases, ListingCases
from orchestrator_adapters.conformance.run_controls import ControlCases
from orchestrator_adapters.conformance.run_dues import DueCases
from orchestrator_adapters.conformance.run_failures import FailureCountCases
from orchestrator_adapters.conformance.run_followings import FollowingCases
from orchestrator_adapters.conformance.run_histories import HistoryCases
from orchestrator_adapters.conformance.run_latches import LatchCases
from orchestrator_adapters.conformance.run_news import CanceledCases, NewsCases
from orchestrator_adapters.conformance.run_openings import RunOpeningCases
from orchestrator_adapters.conformance.run_plans import AdoptionCases, PlanCases
from orchestrator_adapters.conformance.run_records import RecordCases
from orchestrator_adapters.conformance.run_recoveries import TakingCases
from orchestrator_adapters.conformance.run_resends import ResendCases
from orchestrator_adapters.conformance.run_sizings import ReferenceCases, SizingCases
from orchestrator_adapters.conformance.run_stage import RunStage
from orchestrator_adapters.conformance.run_waves import ClaimCases, OutcomeCases

__all__ = ["RunRepositoryConformance", "RunStage"]


class RunRepositoryConformance(
    RunOpeningCases,
    PlanCases,
    AdoptionCases,
    ClaimCases,
    OutcomeCases,
    ClosingCases,
    AdopterCases,
    ListingCases,
    TakingCases,
    DueCases,
    ResendCases,
    FollowingCases,
    NewsCases,
    CanceledCases,
    LatchCases,
    HistoryCases,
    RecordCases,
    BookVersionCases,
    BookCases,
    SizingCases,
    ReferenceCases,
    ControlCases,
    FailureCountCases,
):
    """Subclass it, and override `stage`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def stage(self) -> RunStage:
        raise NotImplementedError("override this fixture: give a fresh stage")
