"""How runs are taken over from a holder who fell silent, or gave them back."""

from collections.abc import Awaitable, Callable

import pytest
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    END,
    LEASE_SECONDS,
    StartedRun,
    a_closing,
    a_record,
    a_report,
    a_settlement,
    an_opening,
    at_once,
    let_trade,
    only_order,
    opened,
    order_states,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_closings import as_known, outcomes_of
from orchestrator_adapters.conformance.run_stage import RunStage, take, taken_over
from orchestrator_adapters.conformance.run_waves import claim_of
from orchestrator_core.commits import TAKEN_OVER, Backlog, Lease, TakenRun
from orchestrator_core.errors import LeaseLost
from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.model import OrderReport
from orchestrator_core.orders import Settlement

S = OrderState
BETA = StrategyId("beta")
LOOK = 30.0
# A store with a clock of its own goes on while a test runs.
SLACK = 8.0


def about(seconds: float, expected: float) -> bool:
    """Whether an age is what it should be, or a little more."""
    return expected - 0.001 <= seconds <= expected + SLACK


class TakingCases:
    """Cases of `take_run`: what is taken."""

    async def test_a_run_whose_lease_ended_is_taken_one_epoch_later(self, stage: RunStage) -> None:
        run = await started(stage.runs)
        assert await take(stage) is None
        await stage.pass_time(LEASE_SECONDS - SLACK)
        assert await take(stage) is None
        await stage.pass_time(SLACK)
        taken = await take(stage, lease_seconds=45.0)
        assert taken is not None
        assert taken.lease == Lease(run.run_id, run.lease.epoch + 1, 45.0)
        assert taken.run == await stored(stage.runs, run.run_id)
        assert taken.snapshot == run.record.snapshot

    async def test_what_was_being_sent_is_in_doubt_and_what_was_planned_is_not(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM", "MSFT"])
        await stage.runs.commit_wave(run.lease, (), claim_of(1, *run.ids[:2]))
        await stage.runs.commit_wave(run.lease, outcomes_of(run, [S.ACCEPTED]), None)
        taken = await taken_over(stage, run.run_id)
        assert await order_states(stage.runs, run.run_id) == [S.ACCEPTED, S.UNKNOWN, S.PLANNED]
        doubtful = (taken.run.orders or ())[1]
        assert doubtful.reason == TAKEN_OVER
        assert doubtful.order_status == "unknown"
        assert doubtful.skip_reason == f"outcome_unknown: {TAKEN_OVER}"
        assert taken.run == await stored(stage.runs, run.run_id)
        assert [order.state for order in await stage.runs.open_orders()] == [S.UNKNOWN]

    async def test_a_word_heard_before_a_resend_outlives_its_takeover(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        word = a_report(run.ids[0], "pending_new")
        unknown = Settlement(run.ids[0], S.UNKNOWN, reason="?", report=word)
        resend = evolve(claim_of(2, *run.ids), resends=True)
        await stage.runs.commit_wave(run.lease, (unknown,), resend)
        await taken_over(stage, run.run_id)
        order = await only_order(stage.runs, run)
        assert (order.state, order.report) == (S.UNKNOWN, word)

    async def test_the_former_holder_changes_nothing(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        await taken_over(stage, run.run_id)
        before = await stored(stage.runs, run.run_id)
        outcomes = outcomes_of(run, [S.ACCEPTED, S.ACCEPTED])
        with pytest.raises(LeaseLost):
            await stage.runs.commit_wave(run.lease, outcomes, None)
        with pytest.raises(LeaseLost):
            await stage.runs.close_run(run.lease, a_closing(*outcomes))
        with pytest.raises(LeaseLost):
            await stage.runs.commit_plan(run.lease, run.record, None)
        assert await stored(stage.runs, run.run_id) == before

    async def test_the_new_holder_goes_on(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"])
        lease = (await taken_over(stage, run.run_id)).lease
        answer = await stage.runs.commit_wave(lease, (), claim_of(1, *run.ids))
        assert answer.claimed == run.ids
        settled = outcomes_of(run, [S.ACCEPTED, S.ACCEPTED])
        closed = await stage.runs.close_run(lease, a_closing(*settled))
        assert (closed.status, closed.completed_at) == (RunStatus.COMPLETED, END)

    async def test_a_run_without_a_plan_is_taken_as_it_is(self, stage: RunStage) -> None:
        opening = an_opening()
        await opened(stage.runs, opening)
        taken = await taken_over(stage, opening.run_id)
        assert (taken.run.orders, taken.snapshot, taken.claim_ages) == (None, None, {})
        assert taken.run == await stored(stage.runs, opening.run_id)
        record = a_record(opening)
        assert len((await stage.runs.commit_plan(taken.lease, record, None)).orders) == 1

    async def test_each_claim_tells_its_age(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM", "MSFT", "NKE"])
        deferred = a_settlement(run.ids[0], S.PLANNED)
        await stage.runs.commit_wave(run.lease, (), claim_of(1, *run.ids[:2]))
        await stage.pass_time(20)
        await stage.runs.commit_wave(run.lease, (deferred,), claim_of(2, run.ids[2]))
        await stage.pass_time(20)
        # One that was deferred and not claimed again was claimed once all the same.
        await stage.runs.commit_wave(run.lease, outcomes_of(run, [S.PLANNED, S.UNKNOWN]), None)
        taken = await taken_over(stage, run.run_id)
        expected = {run.ids[0]: 40, run.ids[1]: 40, run.ids[2]: 20}
        ages = {id_: age - LEASE_SECONDS - 1 for id_, age in taken.claim_ages.items()}
        assert ages.keys() == expected.keys()
        assert all(about(ages[id_], age) for id_, age in expected.items()), ages

    async def test_claims_with_the_plan_tell_their_age_too(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        taken = await taken_over(stage, run.run_id)
        assert list(taken.claim_ages) == list(run.ids)
        assert about(taken.claim_ages[run.ids[0]], LEASE_SECONDS + 1)

    @pytest.mark.parametrize("heard", [[], [True], [False], [True, False], [False, True]])
    async def test_the_last_acknowledgement_tells_whether_the_gateway_keeps_ids(
        self, stage: RunStage, heard: list[bool]
    ) -> None:
        await let_trade(stage.runs)
        # Another strategy may have another gateway.
        opening = an_opening(["OTHER"], strategy=BETA)
        other = await started(stage.runs, opening=opening, claims=True)
        foreign = OrderReport("accepted", "theirs" if heard[-1:] == [True] else other.ids[0])
        await stage.runs.commit_wave(
            other.lease, (Settlement(other.ids[0], S.ACCEPTED, report=foreign),), None
        )
        run = await started(stage.runs, ["AAPL", "IBM", "MSFT"], claims=True)
        for id_, keeps in zip(run.ids, heard, strict=False):
            word = OrderReport("accepted", gateway_order_id=id_ if keeps else "theirs")
            settled = Settlement(id_, S.ACCEPTED, report=word)
            await stage.runs.commit_wave(run.lease, (settled,), None)
        silent = a_settlement(run.ids[2], S.REJECTED)
        await stage.runs.commit_wave(run.lease, (silent,), None)
        taken = await taken_over(stage, run.run_id)
        assert taken.keeps_ids is (heard[-1] if heard else None)


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
