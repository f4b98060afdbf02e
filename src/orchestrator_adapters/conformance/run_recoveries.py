"""How runs are taken over from a holder who fell silent, or gave them back."""

import pytest
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    END,
    LEASE_SECONDS,
    a_closing,
    a_record,
    a_report,
    a_settlement,
    an_opening,
    let_trade,
    only_order,
    opened,
    order_states,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_closings import outcomes_of
from orchestrator_adapters.conformance.run_stage import RunStage, take, taken_over
from orchestrator_adapters.conformance.run_waves import claim_of
from orchestrator_core.commits import TAKEN_OVER, Lease
from orchestrator_core.errors import LeaseLost
from orchestrator_core.identifiers import StrategyId
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.model import OrderReport
from orchestrator_core.orders import Settlement

S = OrderState
BETA = StrategyId("beta")
# A store with a clock of its own goes on while a test runs.
SLACK = 8.0


def about(seconds: float, expected: float) -> bool:
    """Whether an age is what it should be, or a little more."""
    return expected - 0.001 <= seconds <= expected + SLACK


class TakingCases:
    """Cases of `take_run`: what is taken, and as what."""

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
