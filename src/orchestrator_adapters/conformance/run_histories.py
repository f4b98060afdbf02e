"""How the kill switch's history is kept beside the latch."""

from collections.abc import Awaitable, Callable

import pytest
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import STOPPED, TRADING, at_once, let_trade
from orchestrator_adapters.conformance.run_stage import RunStage
from orchestrator_core.kill_switch import HistoryEntry, Latch, SwitchEvent

ENGAGED = HistoryEntry(
    SwitchEvent.ENGAGED,
    timestamp="2026-03-02T15:00:00.250000Z",
    operator="O'Neil; DROP TABLE",
    reason="a “quoted” reason\nof two lines",
    details={"ticket": "東京", "levels": [1, 2.5, None, {"deep": True}], "big": 10**30},
)
RELEASED = HistoryEntry(
    SwitchEvent.DISENGAGED,
    timestamp="2026-03-02T16:30:00+00:00",
    operator="ops",
    notes="all is well",
)


class HistoryCases:
    """Cases of `swap_latch` with an entry, and of `switch_history`."""

    async def test_there_is_no_history_at_first(self, stage: RunStage) -> None:
        assert list(await stage.runs.switch_history(limit=10)) == []
        await let_trade(stage.runs)
        assert list(await stage.runs.switch_history(limit=10)) == []

    async def test_an_entry_comes_back_as_it_was_written(self, stage: RunStage) -> None:
        assert await stage.runs.swap_latch(None, TRADING, entry=RELEASED)
        assert await stage.runs.swap_latch(TRADING, STOPPED, entry=ENGAGED)
        found = {entry.event: entry for entry in await stage.runs.switch_history(limit=10)}
        assert found == {SwitchEvent.ENGAGED: ENGAGED, SwitchEvent.DISENGAGED: RELEASED}
        # Comparing entries passes over the details.
        assert found[SwitchEvent.ENGAGED].details == ENGAGED.details
        assert found[SwitchEvent.DISENGAGED].details is None

    async def test_a_swap_that_fails_writes_nothing(self, stage: RunStage) -> None:
        assert not await stage.runs.swap_latch(TRADING, STOPPED, entry=ENGAGED)
        await let_trade(stage.runs)
        assert not await stage.runs.swap_latch(None, STOPPED, entry=ENGAGED)
        assert not await stage.runs.swap_latch(STOPPED, TRADING, entry=RELEASED)
        assert list(await stage.runs.switch_history(limit=10)) == []

    async def test_an_entry_is_written_once(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        assert await stage.runs.swap_latch(TRADING, STOPPED, entry=ENGAGED)
        await stage.runs.swap_latch(TRADING, STOPPED, entry=ENGAGED)
        raised = evolve(STOPPED, epoch=STOPPED.epoch + 1)
        told_otherwise = evolve(ENGAGED, reason="another", details=None)
        assert await stage.runs.swap_latch(STOPPED, raised, entry=told_otherwise)
        assert list(await stage.runs.switch_history(limit=10)) == [ENGAGED]

    @pytest.mark.parametrize(
        "other",
        [
            evolve(ENGAGED, event=SwitchEvent.DISENGAGED),
            evolve(ENGAGED, timestamp="2026-03-02T15:00:00.250001Z"),
            evolve(ENGAGED, operator="ops"),
        ],
    )
    async def test_an_entry_unlike_the_other_is_written_too(
        self, stage: RunStage, other: HistoryEntry
    ) -> None:
        assert await stage.runs.swap_latch(None, TRADING, entry=ENGAGED)
        assert await stage.runs.swap_latch(TRADING, STOPPED, entry=other)
        assert list(await stage.runs.switch_history(limit=10)) == [other, ENGAGED]

    async def test_the_history_tells_the_newest_first_whatever_came_in_first(
        self, stage: RunStage
    ) -> None:
        times = [
            "2026-03-02T16:00:00Z",
            "2026-03-02T17:30:00.5Z",
            # An hour before the one above, though its text is greater.
            "2026-03-02T18:30:00+02:00",
            "2026-03-02T16:00:00.000000+00:00",
        ]
        entries = [evolve(RELEASED, timestamp=time) for time in times]
        latch: Latch | None = None
        for epoch, entry in enumerate(entries):
            following = evolve(TRADING, epoch=epoch)
            assert await stage.runs.swap_latch(latch, following, entry=entry)
            latch = following
        newest_first = [entries[1], entries[2], entries[3], entries[0]]
        assert list(await stage.runs.switch_history(limit=10)) == newest_first
        assert list(await stage.runs.switch_history(limit=2)) == newest_first[:2]

    async def test_words_that_no_database_stores_do_not_hinder_an_engagement(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        words = "a\x00b\ud800c\udfff"
        entry = HistoryEntry(
            SwitchEvent.ENGAGED,
            timestamp=words,
            operator=words * 1_000,
            reason=words,
            details={words: words},
        )
        assert await stage.runs.swap_latch(TRADING, STOPPED, entry=entry)
        assert len(await stage.runs.switch_history(limit=10)) == 1

    async def test_of_swaps_at_once_the_one_that_is_made_is_told(self, stage: RunStage) -> None:
        current: Latch | None = None
        for attempt in range(1, 11):
            time = f"2026-03-02T15:00:{attempt:02d}Z"
            entries = [
                evolve(RELEASED, timestamp=time, operator=f"ops{number}") for number in range(3)
            ]
            answers = await at_once(
                *[_swap_call(stage, current, attempt, entry) for entry in entries]
            )
            [newest, *_] = history = await stage.runs.switch_history(limit=100)
            assert len(history) == attempt
            assert newest == entries[answers.index(True)]
            current = await stage.runs.read_latch()


def _swap_call(
    stage: RunStage, expected: Latch | None, epoch: int, entry: HistoryEntry
) -> Callable[[], Awaitable[bool]]:
    new = evolve(TRADING, epoch=epoch, changed_by=entry.operator)
    return lambda: stage.runs.swap_latch(expected, new, entry=entry)
