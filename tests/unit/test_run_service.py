import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from orchestrator_core.errors import Conflict, Unavailable
from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.runs import FailureKind, RecordedOutcome, Run, RunFailure
from orchestrator_entrypoints.answers import answer_run
from orchestrator_entrypoints.health import HealthObserver, Observation
from orchestrator_entrypoints.keeper import Keeper
from orchestrator_entrypoints.run_service import (
    LOOK_SECONDS,
    RunService,
    ServiceStopping,
    new_run_id,
)
from orchestrator_entrypoints.wire import OrchestrationResult, Refusal, RefusalError
from tests.unit.builders import TODAY, a_request
from tests.unit.http_stage import Stage, a_stage

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with a_stage(RUN_ANSWER_SECONDS="0.05") as ready:
        yield ready


async def test_draining_waits_for_runs_under_way_and_no_longer_than_told(stage: Stage) -> None:
    service = RunService(stage.orchestrator)
    assert await service.drain(0)
    stage.faulty_sink.gate = asyncio.Event()
    stage.faulty_sink.only = frozenset({"submit"})
    run_id = new_run_id()
    shown = await service.run(a_request(), run_id=run_id)
    assert (shown.run_id, shown.status, service.count) == (run_id, RunStatus.RUNNING, 1)
    assert not await service.drain(0.01)
    stage.orchestrator.stop.set()
    with pytest.raises(ServiceStopping):
        await service.run(a_request(), run_id=new_run_id())
    stage.faulty_sink.gate.set()
    assert await service.drain(5)
    stored = await stage.orchestrator.ports.runs.get_run(run_id)
    assert stored is not None
    assert stored.status is RunStatus.COMPLETED


async def test_a_row_that_cannot_be_read_in_time_is_shown_as_begun(stage: Stage) -> None:
    released = asyncio.Event()
    stage.faulty_signals.gate = stage.faulty_runs.gate = released
    stage.faulty_runs.only = frozenset({"get_run"})
    service = RunService(stage.orchestrator)
    request = a_request(as_of_date=TODAY)
    async with asyncio.timeout(LOOK_SECONDS + 2):
        shown = await service.run(request, run_id=new_run_id())
    assert (shown.status, shown.request, shown.as_of_date) == (RunStatus.RUNNING, request, TODAY)
    released.set()
    assert await service.drain(5)


async def test_a_refusal_after_the_client_was_answered_is_not_lost_in_silence(
    stage: Stage,
) -> None:
    stage.faulty_runs.only = frozenset({"commit_plan"})
    stage.faulty_runs.gate = asyncio.Event()
    stage.faulty_runs.error = Unavailable("runs", "commit_plan", "gone")
    service = RunService(stage.orchestrator)
    shown = await service.run(a_request(), run_id=new_run_id())
    assert shown.status is RunStatus.RUNNING
    stage.faulty_runs.gate.set()
    assert await service.drain(5)
    assert stage.count("orchestrator_runs_refused_total", reason="database") == 1


async def test_nobody_is_told_of_a_run_that_is_not_stored_yet(stage: Stage) -> None:
    stage.faulty_runs.only = frozenset({"open_run"})
    stage.faulty_runs.gate = asyncio.Event()
    stage.faulty_runs.error = Conflict("still_running", uuid4())
    service = RunService(stage.orchestrator)
    asking = asyncio.create_task(service.run(a_request(), run_id=new_run_id()))
    done, _ = await asyncio.wait({asking}, timeout=0.2)
    assert not done
    stage.faulty_runs.gate.set()
    with pytest.raises(Conflict):
        await asking


async def test_the_keeper_goes_on_after_a_broken_round(stage: Stage) -> None:
    third_round = asyncio.Event()

    class BrokenObserver(HealthObserver):
        rounds = 0

        async def observe(self) -> Observation:
            self.rounds += 1
            if self.rounds == 3:
                third_round.set()
            raise ZeroDivisionError

    keeper = Keeper(stage.orchestrator, BrokenObserver(stage.orchestrator), pause_seconds=0.0)
    keeping = asyncio.create_task(keeper.rounds().keep())
    async with asyncio.timeout(5):
        await third_round.wait()
    keeping.cancel()
    await asyncio.wait({keeping})


def a_run(**fields: object) -> Run:
    began = datetime(2026, 3, 2, 15, tzinfo=UTC)
    return Run(
        run_id=RunId(uuid4()),
        strategy_id=StrategyId("alpha_baseline"),
        as_of_date=TODAY,
        request=a_request(),
        started_at=began,
        completed_at=began + timedelta(seconds=1, microseconds=500),
        **fields,  # type: ignore[arg-type]
    )


def test_a_run_of_the_replaced_service_is_shown_as_it_was_recorded() -> None:
    recorded = RecordedOutcome(RunStatus.PARTIAL, 3, 2, 1, None, "old words")
    answer = answer_run(a_run(recorded=recorded))
    body = answer.body
    assert isinstance(body, OrchestrationResult)
    assert (answer.status, body.status, body.error_message) == (200, "partial", "old words")
    assert (body.num_orders_submitted, body.num_orders_accepted) == (3, 2)
    assert (body.num_orders_rejected, body.num_orders_filled) == (1, None)
    assert body.duration_seconds == Decimal("1.0005")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FailureKind.SIGNALS_UNAVAILABLE, 503),
        (FailureKind.SIGNALS_REFUSED, 400),
        (FailureKind.SIGNALS_MALFORMED, 502),
        (FailureKind.PRICES_UNAVAILABLE, 503),
        (FailureKind.BASKET_REFUSED, 400),
        (FailureKind.GATEWAY_UNAVAILABLE, 503),
        (FailureKind.GATEWAY_UNSAFE, 503),
        (FailureKind.HALTED, 503),
        (FailureKind.BUDGET_UNAVAILABLE, 503),
        (FailureKind.DATABASE_UNAVAILABLE, 503),
        (FailureKind.STOPPED, 503),
        (FailureKind.ABANDONED, 503),
        (FailureKind.UNFORESEEN, 500),
    ],
)
def test_every_kind_of_failure_has_its_answer(kind: FailureKind, status: int) -> None:
    run = a_run(failure=RunFailure(kind, "why"))
    answer = answer_run(run)
    assert answer.status == status
    assert isinstance(answer.body, RefusalError)
    refusal = answer.body.detail
    assert isinstance(refusal, Refusal)
    assert (refusal.message, refusal.run_id) == ("why", run.run_id)


def test_no_kind_of_failure_is_left_without_an_answer() -> None:
    for kind in FailureKind:
        assert answer_run(a_run(failure=RunFailure(kind, "why"))).status >= 400
