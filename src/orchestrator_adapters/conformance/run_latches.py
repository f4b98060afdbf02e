"""How the latch is read and swapped."""

from collections.abc import Awaitable, Callable

import pytest
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    END,
    STOPPED,
    TRADING,
    at_once,
    let_trade,
)
from orchestrator_adapters.conformance.run_stage import RunStage
from orchestrator_core.kill_switch import Latch


class LatchCases:
    """Cases of `read_latch` and `swap_latch`."""

    async def test_there_is_no_latch_at_first(self, stage: RunStage) -> None:
        assert await stage.runs.read_latch() is None

    @pytest.mark.parametrize(
        "latch",
        [
            TRADING,
            STOPPED,
            evolve(STOPPED, epoch=2**40, breaker_seen=True, changed_by="東京", reason=""),
        ],
    )
    async def test_a_latch_comes_back_as_it_was_set(self, stage: RunStage, latch: Latch) -> None:
        assert await stage.runs.swap_latch(None, latch)
        assert await stage.runs.read_latch() == latch

    async def test_a_latch_is_swapped_for_the_next(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        assert await stage.runs.swap_latch(TRADING, STOPPED)
        assert await stage.runs.read_latch() == STOPPED

    @pytest.mark.parametrize(
        "wrong",
        [
            evolve(TRADING, engaged=True),
            evolve(TRADING, epoch=TRADING.epoch + 1),
            evolve(TRADING, changed_by="other"),
            evolve(TRADING, reason="other"),
            evolve(TRADING, changed_at=END),
            evolve(TRADING, breaker_seen=True),
            None,
        ],
    )
    async def test_a_latch_unlike_the_expected_in_anything_stays(
        self, stage: RunStage, wrong: Latch | None
    ) -> None:
        await let_trade(stage.runs)
        assert not await stage.runs.swap_latch(wrong, STOPPED)
        assert await stage.runs.read_latch() == TRADING

    async def test_a_missing_latch_is_not_what_was_expected(self, stage: RunStage) -> None:
        assert not await stage.runs.swap_latch(TRADING, STOPPED)
        assert await stage.runs.read_latch() is None

    async def test_of_swaps_at_once_one_is_made(self, stage: RunStage) -> None:
        current: Latch | None = None
        for attempt in range(1, 16):
            wishes = [evolve(TRADING, epoch=attempt, changed_by=f"ops{n}") for n in range(3)]
            answers = await at_once(*[_swap_call(stage, current, wish) for wish in wishes])
            assert sorted(answers, key=bool) == [False, False, True], answers
            current = await stage.runs.read_latch()
            assert current == wishes[answers.index(True)]


def _swap_call(
    stage: RunStage, expected: Latch | None, new: Latch
) -> Callable[[], Awaitable[bool]]:
    return lambda: stage.runs.swap_latch(expected, new)
