"""How runs are opened, and what an idempotency key stands for."""

from collections.abc import Awaitable, Callable

import pytest
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    START,
    TRADING,
    a_closing,
    a_record,
    a_request,
    a_settlement,
    an_opening,
    at_once,
    let_trade,
    opened,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_stage import RunStage, taken_over
from orchestrator_core.commits import EarlierRun, Lease, RunOpening, WaveClaim
from orchestrator_core.errors import Conflict, IllegalTransition, LeaseLost
from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.runs import FailureKind, Run, RunFailure, RunFilter

DOWN = RunFailure(FailureKind.SIGNALS_UNAVAILABLE, "signals down")


class RunOpeningCases:
    """Cases of `open_run`."""

    async def test_an_opened_run_stands_as_opened_and_runs(self, stage: RunStage) -> None:
        opening = an_opening(["AAPL", "MSFT"])
        await opened(stage.runs, opening)
        run = await stored(stage.runs, opening.run_id)
        assert run == Run(
            run_id=opening.run_id,
            strategy_id=opening.strategy_id,
            as_of_date=opening.as_of_date,
            request=opening.request,
            started_at=opening.started_at,
        )
        assert run.status is RunStatus.RUNNING

    async def test_a_run_never_opened_is_unknown(self, stage: RunStage) -> None:
        assert await stage.runs.get_run(an_opening().run_id) is None

    async def test_the_lease_is_the_runs_own(self, stage: RunStage) -> None:
        opening = an_opening()
        lease = await opened(stage.runs, opening)
        assert (lease.run_id, lease.seconds) == (opening.run_id, opening.lease_seconds)

    async def test_a_request_comes_back_exactly(self, stage: RunStage) -> None:
        request = a_request(
            ["A" * 32, "BRK.B", "X/Y_Z-0"],
            capital="999999999999999.0000000000000000000000001",
            as_of_date=None,
            dry_run=True,
            rebalance_key="""it's "2";--""",
        )
        opening = an_opening(request=request)
        await opened(stage.runs, opening)
        run = await stored(stage.runs, opening.run_id)
        assert run.request == request
        assert str(run.request.capital) == str(request.capital)
        assert run.started_at == START

    async def test_opening_a_run_again_gives_its_lease_again(self, stage: RunStage) -> None:
        opening = an_opening(key="k")
        first = await stage.runs.open_run(opening)
        assert await stage.runs.open_run(opening) == first
        page = await stage.runs.list_runs(RunFilter(), limit=10, offset=0)
        assert page.total == 1

    async def test_a_run_id_stands_for_one_request(self, stage: RunStage) -> None:
        opening = an_opening()
        await opened(stage.runs, opening)
        other = an_opening(["MSFT"])
        with pytest.raises(IllegalTransition):
            await stage.runs.open_run(_with_id(other, opening.run_id))
        assert (await stored(stage.runs, opening.run_id)).request == opening.request

    async def test_opening_a_run_that_another_took_over_is_refused(self, stage: RunStage) -> None:
        opening = an_opening()
        await opened(stage.runs, opening)
        await taken_over(stage, opening.run_id)
        with pytest.raises(LeaseLost):
            await stage.runs.open_run(opening)

    async def test_runs_without_a_key_never_meet(self, stage: RunStage) -> None:
        for _ in range(3):
            await opened(stage.runs, an_opening())

    async def test_a_key_of_a_finished_run_gives_that_run(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        first = await started(stage.runs, opening=an_opening(key="k"), claims=True)
        settled = a_settlement(first.ids[0], OrderState.ACCEPTED)
        await stage.runs.close_run(first.lease, a_closing(settled))
        again = an_opening(key="k")
        assert await stage.runs.open_run(again) == EarlierRun(first.run_id)
        assert await stage.runs.get_run(again.run_id) is None

    @pytest.mark.parametrize("finished", [True, False])
    async def test_a_key_with_another_body_is_refused(
        self, stage: RunStage, *, finished: bool
    ) -> None:
        opening = an_opening(key="k", fingerprint="one")
        lease = await opened(stage.runs, opening)
        if finished:
            await stage.runs.close_run(lease, a_closing(failure=DOWN))
        other = an_opening(key="k", fingerprint="two")
        with pytest.raises(Conflict) as raised:
            await stage.runs.open_run(other)
        assert (raised.value.kind, raised.value.run_id) == ("other_request", opening.run_id)
        assert await stage.runs.get_run(other.run_id) is None

    async def test_a_key_of_a_run_still_going_is_refused(self, stage: RunStage) -> None:
        opening = an_opening(key="k")
        await opened(stage.runs, opening)
        again = an_opening(key="k")
        with pytest.raises(Conflict) as raised:
            await stage.runs.open_run(again)
        assert (raised.value.kind, raised.value.run_id) == ("still_running", opening.run_id)
        assert await stage.runs.get_run(again.run_id) is None

    async def test_a_run_left_open_keeps_its_key(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        first = await started(stage.runs, opening=an_opening(key="k"), claims=True)
        settled = a_settlement(first.ids[0], OrderState.UNKNOWN)
        await stage.runs.close_run(first.lease, a_closing(settled))
        with pytest.raises(Conflict, match="still going"):
            await stage.runs.open_run(an_opening(key="k"))

    async def test_a_run_that_failed_before_any_claim_frees_its_key(self, stage: RunStage) -> None:
        lease = await opened(stage.runs, an_opening(key="k"))
        await stage.runs.close_run(lease, a_closing(failure=DOWN, frees_key=True))
        await opened(stage.runs, an_opening(key="k", fingerprint="another body"))

    async def test_freeing_a_key_takes_it_from_no_later_run(self, stage: RunStage) -> None:
        lease = await opened(stage.runs, an_opening(key="k"))
        closing = a_closing(failure=DOWN, frees_key=True)
        await stage.runs.close_run(lease, closing)
        later = an_opening(key="k")
        await opened(stage.runs, later)
        await stage.runs.close_run(lease, closing)
        with pytest.raises(Conflict) as raised:
            await stage.runs.open_run(an_opening(key="k"))
        assert raised.value.run_id == later.run_id

    async def test_a_run_that_failed_after_a_claim_keeps_its_key(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        first = await started(stage.runs, opening=an_opening(key="k"), claims=True)
        settled = a_settlement(first.ids[0], OrderState.REJECTED)
        run = await stage.runs.close_run(first.lease, a_closing(settled))
        assert run.status is RunStatus.FAILED
        assert await stage.runs.open_run(an_opening(key="k")) == EarlierRun(first.run_id)

    async def test_a_run_that_needed_no_order_keeps_its_key(self, stage: RunStage) -> None:
        opening = an_opening(key="k")
        first = await started(stage.runs, opening=opening, record=a_record(opening, signals=[]))
        run = await stage.runs.close_run(first.lease, a_closing(frees_key=True))
        assert run.status is RunStatus.COMPLETED
        assert await stage.runs.open_run(an_opening(key="k")) == EarlierRun(first.run_id)

    async def test_strategies_have_keys_of_their_own(self, stage: RunStage) -> None:
        await opened(stage.runs, an_opening(key="k"))
        await opened(stage.runs, an_opening(key="k", strategy=StrategyId("beta")))

    async def test_of_two_runs_with_one_key_at_once_one_is_opened(self, stage: RunStage) -> None:
        for attempt in range(10):
            openings = [an_opening(key=f"k{attempt}") for _ in range(3)]
            answers = await at_once(*[_opening_call(stage, opening) for opening in openings])
            leases = [answer for answer in answers if isinstance(answer, Lease)]
            refusals = [answer for answer in answers if isinstance(answer, Conflict)]
            assert len(leases) == 1, answers
            assert {(r.kind, r.run_id) for r in refusals} == {("still_running", leases[0].run_id)}
            assert len(refusals) == 2

    async def test_a_keyed_run_opened_twice_at_once_is_one_run(self, stage: RunStage) -> None:
        for attempt in range(10):
            call = _opening_call(stage, an_opening(key=f"k{attempt}"))
            first, second = await at_once(call, call)
            assert isinstance(first, Lease)
            assert first == second

    async def test_a_lease_given_back_sends_nothing_more(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs)
        await stage.runs.close_run(run.lease, a_closing())
        with pytest.raises(LeaseLost):
            await stage.runs.commit_wave(run.lease, (), WaveClaim(1, run.ids, TRADING.epoch))
        with pytest.raises(LeaseLost):
            await stage.runs.commit_plan(run.lease, run.record, None)
        assert not await stage.runs.open_orders()


def _with_id(opening: RunOpening, run_id: RunId) -> RunOpening:
    return evolve(opening, run_id=run_id)


def _opening_call(stage: RunStage, opening: RunOpening) -> Callable[[], Awaitable[object]]:
    return lambda: stage.runs.open_run(opening)
