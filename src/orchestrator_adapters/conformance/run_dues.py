"""When runs are due to be taken over, and who gets them."""

from collections.abc import Awaitable, Callable

import pytest

from orchestrator_adapters.conformance.run_cases import (
    LEASE_SECONDS,
    StartedRun,
    a_closing,
    a_settlement,
    an_opening,
    at_once,
    let_trade,
    order_states,
    started,
)
from orchestrator_adapters.conformance.run_closings import as_known, outcomes_of
from orchestrator_adapters.conformance.run_recoveries import BETA, SLACK, about
from orchestrator_adapters.conformance.run_stage import RunStage, take
from orchestrator_core.commits import Backlog, TakenRun
from orchestrator_core.identifiers import RunId
from orchestrator_core.lifecycle import OrderState

S = OrderState
LOOK = 30.0


class DueCases:
    """Cases of `take_run`: when a run is due, and who gets it."""

    async def test_a_lease_that_was_renewed_ends_later(self, stage: RunStage) -> None:
        run = await started(stage.runs)
        await stage.pass_time(60)
        await stage.runs.commit_wave(run.lease, (), None)
        await stage.pass_time(60)
        assert await take(stage) is None
        await stage.pass_time(31)
        assert (await take(stage)) is not None

    async def test_a_run_that_was_taken_is_due_when_its_new_lease_ends(
        self, stage: RunStage
    ) -> None:
        run = await started(stage.runs)
        await stage.pass_time(LEASE_SECONDS + 1)
        assert await take(stage, lease_seconds=40) is not None
        assert await take(stage) is None
        await stage.pass_time(40 - SLACK)
        assert await take(stage) is None
        await stage.pass_time(SLACK)
        taken = await take(stage)
        assert taken is not None
        assert taken.lease.epoch == run.lease.epoch + 2

    async def test_the_longest_due_is_taken_first(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        renewed = await started(stage.runs, ["AAPL"])
        given_back = await started(stage.runs, ["IBM"], claims=True)
        await stage.pass_time(10)
        silent = await started(stage.runs, ["MSFT"])
        await stage.pass_time(60)
        await stage.runs.commit_wave(renewed.lease, (), None)
        unknown = outcomes_of(given_back, [S.UNKNOWN])
        await stage.runs.close_run(given_back.lease, a_closing(*unknown, look_again=1))
        await stage.pass_time(2 * LEASE_SECONDS)
        order = [await take(stage) for _ in range(4)]
        assert [taken and taken.run.run_id for taken in order] == [
            given_back.run_id,
            silent.run_id,
            renewed.run_id,
            None,
        ]

    @pytest.mark.parametrize("knows", [False, True])
    async def test_a_run_left_open_is_looked_at_again_in_time(
        self, stage: RunStage, *, knows: bool
    ) -> None:
        run = await _left_in_doubt(stage, look_again=LOOK, knows=knows)
        assert await take(stage) is None
        await stage.pass_time(LOOK - SLACK)
        assert await take(stage) is None
        await stage.pass_time(SLACK)
        taken = await take(stage)
        assert taken is not None
        assert taken.lease.run_id == run.run_id
        assert await order_states(stage.runs, run.run_id) == [S.UNKNOWN]

    @pytest.mark.parametrize("knows", [False, True])
    async def test_a_run_that_nothing_can_settle_is_not_due(
        self, stage: RunStage, *, knows: bool
    ) -> None:
        await _left_in_doubt(stage, look_again=None, knows=knows)
        await stage.pass_time(100 * LEASE_SECONDS)
        assert await take(stage) is None

    async def test_the_last_closing_says_when_a_run_is_looked_at_again(
        self, stage: RunStage
    ) -> None:
        run = await _left_in_doubt(stage, look_again=LOOK)
        await stage.runs.close_run(run.lease, a_closing())
        await stage.pass_time(2 * LOOK)
        assert await take(stage) is None
        await stage.runs.close_run(run.lease, a_closing(look_again=LOOK))
        await stage.pass_time(LOOK + 1)
        assert await take(stage) is not None

    async def test_a_completed_run_is_never_taken(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        settled = outcomes_of(run, [S.ACCEPTED])
        await stage.runs.close_run(run.lease, a_closing(*settled, look_again=LOOK))
        await stage.pass_time(100 * LEASE_SECONDS)
        assert await take(stage) is None
        assert await take(stage, run_id=run.run_id) is None

    async def test_a_run_of_another_strategy_is_not_taken(self, stage: RunStage) -> None:
        run = await started(stage.runs)
        await stage.pass_time(LEASE_SECONDS + 1)
        assert await take(stage, strategy=BETA) is None
        assert await take(stage, strategy=BETA, run_id=run.run_id) is None
        assert await take(stage) is not None

    async def test_a_run_is_taken_by_name_if_nobody_holds_it(self, stage: RunStage) -> None:
        run = await _left_in_doubt(stage, look_again=None)
        other = await started(stage.runs, ["IBM"])
        assert await take(stage, run_id=other.run_id) is None
        taken = await take(stage, run_id=run.run_id)
        assert taken is not None
        assert (taken.lease.run_id, taken.lease.epoch) == (run.run_id, run.lease.epoch + 1)
        assert await take(stage, run_id=run.run_id) is None
        await stage.pass_time(LEASE_SECONDS + 1)
        again = await take(stage, run_id=run.run_id)
        assert again is not None
        assert again.lease.epoch == run.lease.epoch + 2
        assert await take(stage, run_id=an_opening().run_id) is None

    async def test_of_two_who_take_at_once_each_gets_another_run(self, stage: RunStage) -> None:
        for attempt in range(10):
            runs = [await started(stage.runs, [f"T{attempt}N{n}"]) for n in range(3)]
            await stage.pass_time(LEASE_SECONDS + 1)
            # Earlier rounds' runs are due again too.
            answers = await at_once(*[_take_call(stage) for _ in range(5)])
            taken = [a.lease.run_id for a in answers if isinstance(a, TakenRun)]
            assert len(taken) == len(set(taken))
            assert len(taken) >= min(len(runs), 5)

    async def test_of_two_who_take_one_run_at_once_one_gets_it(self, stage: RunStage) -> None:
        for attempt in range(10):
            run = await started(stage.runs, [f"T{attempt}"])
            await stage.pass_time(LEASE_SECONDS + 1)
            call = _take_call(stage, run.run_id)
            answers = await at_once(call, call, call)
            assert sum(isinstance(answer, TakenRun) for answer in answers) == 1, answers
            assert answers.count(None) == 2, answers

    async def test_an_owner_that_ends_leaves_its_adopters_due_time_alone(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        owner = await started(stage.runs, ["AAPL"], claims=True)
        adopter = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        unknown = a_settlement(adopter.answer.claimed[0], S.UNKNOWN)
        await stage.runs.close_run(adopter.lease, a_closing(unknown, look_again=LOOK))
        await stage.runs.close_run(owner.lease, a_closing(*outcomes_of(owner, [S.ACCEPTED])))
        await stage.pass_time(LOOK + 1)
        taken = await take(stage)
        assert taken is not None
        assert taken.lease.run_id == adopter.run_id

    async def test_the_backlog_counts_what_is_due(self, stage: RunStage) -> None:
        assert await stage.runs.backlog() == Backlog()
        await let_trade(stage.runs)
        await started(stage.runs, ["AAPL"])
        await _left_in_doubt(stage, look_again=LOOK, symbol="IBM")
        await started(stage.runs, opening=an_opening(["MSFT"], strategy=BETA))
        assert await stage.runs.backlog() == Backlog()
        await stage.pass_time(LOOK + 50)
        backlog = await stage.runs.backlog()
        assert backlog.runs_due == 1
        assert about(backlog.oldest_due_seconds, 50)
        await stage.pass_time(LEASE_SECONDS)
        assert (await stage.runs.backlog()).runs_due == 3
        assert await take(stage) is not None
        assert (await stage.runs.backlog()).runs_due == 2


async def _left_in_doubt(
    stage: RunStage, *, look_again: float | None, knows: bool = False, symbol: str = "AAPL"
) -> StartedRun:
    """Leave a run open with its one order UNKNOWN."""
    if await stage.runs.read_latch() is None:
        await let_trade(stage.runs)
    run = await started(stage.runs, [symbol], claims=True)
    closing = a_closing(*outcomes_of(run, [S.UNKNOWN]), look_again=look_again)
    await stage.runs.close_run(run.lease, await as_known(stage, run, closing) if knows else closing)
    return run


def _take_call(
    stage: RunStage, run_id: RunId | None = None
) -> Callable[[], Awaitable[TakenRun | None]]:
    return lambda: take(stage, run_id=run_id)
