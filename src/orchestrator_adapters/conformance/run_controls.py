"""Controls: what operators set for a strategy, and runs that failed in a row."""

from datetime import timedelta

from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    END,
    START,
    a_closing,
    a_record,
    a_request,
    a_settlement,
    an_opening,
    let_trade,
    opened,
    started,
)
from orchestrator_adapters.conformance.run_recoveries import BETA
from orchestrator_adapters.conformance.run_stage import RunStage
from orchestrator_core.controls import ControlEvent, ControlEventKind, StrategyControls
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.runs import FailureKind, RunFailure

K = ControlEventKind
NO_SIGNALS = RunFailure(FailureKind.SIGNALS_UNAVAILABLE, "down")
MANY = 100


def an_event(
    kind: ControlEventKind = K.REDUCE_ONLY_ON,
    minute: int = 0,
    *,
    strategy: StrategyId = ALPHA,
    operator: str = "O'Neil; DROP TABLE",
    notes: str = "a “quoted” reason\nof two lines",
) -> ControlEvent:
    """Return what an operator did, that many minutes after the first run's start."""
    return ControlEvent(strategy, kind, START + timedelta(minutes=minute), operator, notes)


async def controls(
    stage: RunStage, strategy: StrategyId = ALPHA, *, count: int = MANY
) -> StrategyControls:
    """Return how a strategy's controls stand."""
    return await stage.runs.read_controls(strategy, count_failures=count)


async def failed(
    stage: RunStage, minute: int, *, strategy: StrategyId = ALPHA, dry_run: bool = False
) -> None:
    """Have a run fail at that minute."""
    request = a_request(dry_run=dry_run)
    opening = an_opening(strategy=strategy, request=request)
    lease = await opened(stage.runs, opening)
    at = END + timedelta(minutes=minute)
    await stage.runs.close_run(lease, a_closing(failure=NO_SIGNALS, at=at))


async def succeeded(stage: RunStage, minute: int, *, dry_run: bool = False) -> None:
    """Have a run that needs no order complete at that minute."""
    opening = an_opening(request=a_request(dry_run=dry_run, capital="1"))
    lease = await opened(stage.runs, opening)
    record = a_record(opening)
    assert not record.plan.intents
    await stage.runs.commit_plan(lease, record, None)
    await stage.runs.close_run(lease, a_closing(at=END + timedelta(minutes=minute)))


class ControlCases:
    """Cases of `add_control_event`, `control_events` and `read_controls`."""

    async def test_nothing_is_set_at_first(self, stage: RunStage) -> None:
        assert await controls(stage) == StrategyControls(reduce_only=False, failed_runs=0)
        assert list(await stage.runs.control_events(ALPHA, limit=5)) == []

    async def test_the_latest_event_says_whether_only_reductions_go(self, stage: RunStage) -> None:
        for minute, kind in enumerate([K.REDUCE_ONLY_ON, K.REARMED, K.REDUCE_ONLY_OFF]):
            await stage.runs.add_control_event(an_event(kind, minute))
            assert (await controls(stage)).reduce_only is (kind is not K.REDUCE_ONLY_OFF)
        await stage.runs.add_control_event(an_event(K.REDUCE_ONLY_ON, 3, strategy=BETA))
        assert not (await controls(stage)).reduce_only
        assert (await controls(stage, BETA)).reduce_only

    async def test_of_two_events_of_one_moment_the_later_recorded_stands(
        self, stage: RunStage
    ) -> None:
        await stage.runs.add_control_event(an_event(K.REDUCE_ONLY_ON))
        await stage.runs.add_control_event(an_event(K.REDUCE_ONLY_OFF))
        assert not (await controls(stage)).reduce_only

    async def test_the_same_event_is_recorded_once(self, stage: RunStage) -> None:
        event = an_event()
        for each in (event, event, evolve(event, notes="other"), evolve(event, operator="other")):
            await stage.runs.add_control_event(each)
        found = list(await stage.runs.control_events(ALPHA, limit=9))
        assert len(found) == 3
        assert event in found

    async def test_events_come_newest_first_and_cut(self, stage: RunStage) -> None:
        events = [an_event(K.REARMED, minute) for minute in (1, 3, 2)]
        for event in (*events, an_event(strategy=BETA)):
            await stage.runs.add_control_event(event)
        newest = sorted(events, key=lambda event: event.at, reverse=True)
        assert list(await stage.runs.control_events(ALPHA, limit=9)) == newest
        assert list(await stage.runs.control_events(ALPHA, limit=2)) == newest[:2]
        assert list(await stage.runs.control_events(ALPHA, limit=0)) == []


class FailureCountCases:
    """Cases of failed runs in a row."""

    async def test_failed_runs_are_counted_as_far_as_asked(self, stage: RunStage) -> None:
        for minute in range(3):
            assert (await controls(stage)).failed_runs == minute
            await failed(stage, minute)
        counted = [(await controls(stage, count=most)).failed_runs for most in range(5)]
        assert counted == [0, 1, 2, 3, 3]
        assert (await controls(stage, BETA)).failed_runs == 0

    async def test_a_run_that_did_not_fail_ends_the_row(self, stage: RunStage) -> None:
        await failed(stage, 0)
        await succeeded(stage, 1)
        assert (await controls(stage)).failed_runs == 0
        await failed(stage, 2)
        await failed(stage, 3)
        assert (await controls(stage)).failed_runs == 2

    async def test_the_order_is_that_of_their_ends(self, stage: RunStage) -> None:
        await succeeded(stage, 5)
        await failed(stage, 1)
        assert (await controls(stage)).failed_runs == 0
        await failed(stage, 6)
        assert (await controls(stage)).failed_runs == 1

    async def test_a_partial_run_ends_the_row(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        await failed(stage, 0)
        run = await started(stage.runs, ("A", "B"), claims=True)
        states = (OrderState.ACCEPTED, OrderState.REJECTED)
        outcomes = [a_settlement(id_, state) for id_, state in zip(run.ids, states, strict=True)]
        at = END + timedelta(minutes=1)
        await stage.runs.close_run(run.lease, a_closing(*outcomes, at=at))
        assert (await controls(stage)).failed_runs == 0

    async def test_a_run_whose_orders_were_all_refused_is_a_failed_one(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        refused = a_settlement(run.ids[0], OrderState.REJECTED)
        await stage.runs.close_run(run.lease, a_closing(refused))
        assert (await controls(stage)).failed_runs == 1

    async def test_re_arming_begins_the_row_anew(self, stage: RunStage) -> None:
        for minute in range(3):
            await failed(stage, minute)
        await stage.runs.add_control_event(an_event(K.REARMED, 4))
        assert (await controls(stage)).failed_runs == 0
        await failed(stage, 5)
        assert (await controls(stage)).failed_runs == 1
        await stage.runs.add_control_event(an_event(K.REARMED, 2))
        assert (await controls(stage)).failed_runs == 1

    async def test_a_dry_run_neither_counts_nor_ends_the_row(self, stage: RunStage) -> None:
        await failed(stage, 0)
        await failed(stage, 1, dry_run=True)
        assert (await controls(stage)).failed_runs == 1
        await succeeded(stage, 2, dry_run=True)
        assert (await controls(stage)).failed_runs == 1

    async def test_an_open_run_neither_counts_nor_ends_the_row(self, stage: RunStage) -> None:
        await failed(stage, 0)
        await started(stage.runs, ("A",))
        await opened(stage.runs, an_opening(("B",)))
        assert await controls(stage) == StrategyControls(failed_runs=1)
