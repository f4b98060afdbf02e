"""Controls: what operators set for a strategy."""

from datetime import timedelta

from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    START,
    at_once,
)
from orchestrator_adapters.conformance.run_recoveries import BETA
from orchestrator_adapters.conformance.run_stage import RunStage
from orchestrator_core.controls import ControlEvent, ControlEventKind, StrategyControls
from orchestrator_core.identifiers import StrategyId

K = ControlEventKind
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
        found = await stage.runs.control_events(ALPHA, limit=9)
        assert [event.kind for event in found] == [K.REDUCE_ONLY_OFF, K.REDUCE_ONLY_ON]

    async def test_a_clock_that_is_ahead_does_not_make_an_event_the_latest(
        self, stage: RunStage
    ) -> None:
        off, on = an_event(K.REDUCE_ONLY_OFF), an_event(K.REDUCE_ONLY_ON)
        off = evolve(off, at=off.at + timedelta(seconds=5))
        for event in (off, on):
            await stage.runs.add_control_event(event)
        assert (await controls(stage)).reduce_only
        assert list(await stage.runs.control_events(ALPHA, limit=9)) == [on, off]
        late_off = evolve(off, at=on.at - timedelta(seconds=5))
        await stage.runs.add_control_event(late_off)
        assert not (await controls(stage)).reduce_only
        assert list(await stage.runs.control_events(ALPHA, limit=1)) == [late_off]

    async def test_the_same_event_is_recorded_once(self, stage: RunStage) -> None:
        event = an_event()
        for each in (event, event, evolve(event, notes="other"), evolve(event, operator="other")):
            await stage.runs.add_control_event(each)
        found = list(await stage.runs.control_events(ALPHA, limit=9))
        assert len(found) == 3
        assert event in found

    async def test_an_event_that_is_recorded_again_keeps_its_place(self, stage: RunStage) -> None:
        on, off = an_event(K.REDUCE_ONLY_ON), an_event(K.REDUCE_ONLY_OFF)
        for event in (on, off, on):
            await stage.runs.add_control_event(event)
        assert list(await stage.runs.control_events(ALPHA, limit=9)) == [off, on]
        assert not (await controls(stage)).reduce_only

    async def test_an_event_that_is_recorded_at_once_by_many_is_one(self, stage: RunStage) -> None:
        event = an_event()
        answers = await at_once(*[lambda: stage.runs.add_control_event(event)] * 5)
        assert answers == [None] * 5
        assert list(await stage.runs.control_events(ALPHA, limit=9)) == [event]

    async def test_a_time_is_kept_to_the_microsecond(self, stage: RunStage) -> None:
        events = [evolve(an_event(), at=START + timedelta(microseconds=late)) for late in (1, 0)]
        for event in reversed(events):
            await stage.runs.add_control_event(event)
        assert list(await stage.runs.control_events(ALPHA, limit=9)) == events

    async def test_events_come_as_recorded_the_last_first_and_cut(self, stage: RunStage) -> None:
        events = [an_event(K.REARMED, minute) for minute in (1, 3, 2)]
        for event in (*events, an_event(strategy=BETA)):
            await stage.runs.add_control_event(event)
        newest = events[::-1]
        assert list(await stage.runs.control_events(ALPHA, limit=9)) == newest
        assert list(await stage.runs.control_events(ALPHA, limit=2)) == newest[:2]
        assert list(await stage.runs.control_events(ALPHA, limit=0)) == []
