"""How runs are left, what their adopters become, and how they are listed."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import pytest
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    END,
    START,
    StartedRun,
    a_closing,
    a_record,
    a_settlement,
    an_opening,
    at_once,
    let_trade,
    opened,
    order_states,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_stage import RunStage, taken_over
from orchestrator_core.commits import EarlierRun, Lease, RunClosing, RunOpening
from orchestrator_core.errors import IllegalTransition, LeaseLost
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.orders import Order, Settlement, settle
from orchestrator_core.runs import FailureKind, Run, RunFailure, RunFilter, RunSummary

S = OrderState
LATER = END + timedelta(minutes=1)
BETA = StrategyId("beta")


class ClosingCases:
    """Cases of `close_run`."""

    @pytest.mark.parametrize(
        ("states", "status"),
        [
            ([S.ACCEPTED, S.ACCEPTED], RunStatus.COMPLETED),
            ([S.ACCEPTED, S.REJECTED], RunStatus.PARTIAL),
            ([S.ACCEPTED, S.NOT_PLACED], RunStatus.PARTIAL),
            ([S.REJECTED, S.NOT_PLACED], RunStatus.FAILED),
            ([S.ACCEPTED, S.UNKNOWN], RunStatus.RUNNING),
            ([S.REJECTED, S.CONFLICT], RunStatus.RUNNING),
            ([S.ACCEPTED, S.PLANNED], RunStatus.RUNNING),
        ],
    )
    async def test_a_run_ends_as_its_orders_stand(
        self, stage: RunStage, states: list[OrderState], status: RunStatus
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        closed = await stage.runs.close_run(run.lease, a_closing(*outcomes_of(run, states)))
        assert closed.status is status
        assert closed.completed_at == (None if status is RunStatus.RUNNING else END)
        assert closed.orders is not None
        assert [order.state for order in closed.orders] == states
        assert await stored(stage.runs, run.run_id) == closed
        assert await listed(stage, closed) == _summary(closed)

    async def test_a_run_that_its_closer_knows_ends_as_its_orders_stand(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        closing = await as_known(stage, run, a_closing(*outcomes_of(run, [S.ACCEPTED, S.REJECTED])))
        closed = await stage.runs.close_run(run.lease, closing)
        assert (closed.status, closed.completed_at) == (RunStatus.PARTIAL, END)
        assert await stored(stage.runs, run.run_id) == closed
        assert await listed(stage, closed) == _summary(closed)
        assert await stage.runs.close_run(run.lease, closing) == closed

    async def test_what_stands_counts_and_not_what_its_closer_believes(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        believed = await as_known(
            stage, run, a_closing(*outcomes_of(run, [S.ACCEPTED, S.ACCEPTED]))
        )
        closing = evolve(a_closing(*outcomes_of(run, [S.ACCEPTED])), known=believed.known)
        closed = await stage.runs.close_run(run.lease, closing)
        assert [order.state for order in closed.orders or ()] == [S.ACCEPTED, S.SENDING]
        assert (closed.status, closed.completed_at) == (RunStatus.RUNNING, None)
        assert await stored(stage.runs, run.run_id) == closed

    async def test_a_run_halted_before_any_claim_fails(self, stage: RunStage) -> None:
        run = await started(stage.runs)
        failure = RunFailure(FailureKind.HALTED, "engaged by ops")
        halted = a_settlement(run.ids[0], S.HALTED)
        closed = await stage.runs.close_run(run.lease, a_closing(halted, failure=failure))
        assert (closed.status, closed.failure) == (RunStatus.FAILED, failure)

    @pytest.mark.parametrize(
        "failure",
        [
            RunFailure(FailureKind.SIGNALS_UNAVAILABLE, "signals: 503", retry_after=1.5),
            RunFailure(FailureKind.UNFORESEEN, "naïve “words”; DROP TABLE\n'"),
        ],
    )
    async def test_a_run_without_a_plan_fails_with_its_cause(
        self, stage: RunStage, failure: RunFailure
    ) -> None:
        opening = an_opening()
        lease = await opened(stage.runs, opening)
        closed = await stage.runs.close_run(lease, a_closing(failure=failure))
        assert (closed.status, closed.failure, closed.orders) == (RunStatus.FAILED, failure, None)
        assert closed.completed_at == END
        assert await stored(stage.runs, opening.run_id) == closed
        assert await listed(stage, closed) == _summary(closed)

    async def test_a_run_that_needed_no_order_is_completed(self, stage: RunStage) -> None:
        opening = an_opening()
        run = await started(stage.runs, opening=opening, record=a_record(opening, []))
        closed = await stage.runs.close_run(run.lease, a_closing())
        assert (closed.status, closed.orders) == (RunStatus.COMPLETED, ())

    async def test_closing_again_changes_nothing(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        closing = a_closing(*outcomes_of(run, [S.ACCEPTED, S.REJECTED]))
        closed = await stage.runs.close_run(run.lease, closing)
        assert await stage.runs.close_run(run.lease, closing) == closed
        later = RunClosing((), RunFailure(FailureKind.STOPPED, "late"), LATER)
        assert await stage.runs.close_run(run.lease, later) == closed
        assert await stored(stage.runs, run.run_id) == closed

    async def test_leaving_a_run_open_again_changes_nothing(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        closing = a_closing(*outcomes_of(run, [S.UNKNOWN]))
        closed = await stage.runs.close_run(run.lease, closing)
        assert await stage.runs.close_run(run.lease, closing) == closed

    async def test_a_run_left_open_is_completed_by_its_next_holder(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        await stage.runs.close_run(run.lease, a_closing(*outcomes_of(run, [S.UNKNOWN])))
        lease = (await taken_over(stage, run.run_id)).lease
        settled = outcomes_of(run, [S.ACCEPTED])
        closed = await stage.runs.close_run(lease, a_closing(*settled, at=LATER))
        assert (closed.status, closed.completed_at) == (RunStatus.COMPLETED, LATER)
        assert await listed(stage, closed) == _summary(closed)

    async def test_closing_under_an_old_lease_changes_nothing(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        await taken_over(stage, run.run_id)
        with pytest.raises(LeaseLost):
            await stage.runs.close_run(run.lease, a_closing(*outcomes_of(run, [S.ACCEPTED])))
        assert await order_states(stage.runs, run.run_id) == [S.UNKNOWN]

    async def test_closing_by_a_step_outside_the_table_changes_nothing(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        before = await stored(stage.runs, run.run_id)
        with pytest.raises(IllegalTransition):
            await stage.runs.close_run(
                run.lease, a_closing(*outcomes_of(run, [S.ACCEPTED, S.HALTED]))
            )
        assert await stored(stage.runs, run.run_id) == before
        # The lease was not given back either.
        await stage.runs.commit_wave(run.lease, outcomes_of(run, [S.ACCEPTED]), None)


class AdopterCases:
    """Cases of runs that settle with the owners of their orders."""

    @pytest.mark.parametrize(
        ("state", "status"),
        [
            (S.ACCEPTED, RunStatus.COMPLETED),
            (S.REJECTED, RunStatus.FAILED),
            (S.NOT_PLACED, RunStatus.FAILED),
        ],
    )
    @pytest.mark.parametrize("knows", [False, True])
    async def test_an_adopting_run_ends_with_its_owner(
        self, stage: RunStage, state: OrderState, status: RunStatus, *, knows: bool
    ) -> None:
        await let_trade(stage.runs)
        owner = await started(stage.runs, claims=True)
        adopter = await started(stage.runs)
        left = await stage.runs.close_run(adopter.lease, a_closing())
        assert (left.status, left.completed_at) == (RunStatus.RUNNING, None)
        closing = a_closing(*outcomes_of(owner, [state]), at=LATER)
        await stage.runs.close_run(
            owner.lease, await as_known(stage, owner, closing) if knows else closing
        )
        run = await stored(stage.runs, adopter.run_id)
        assert (run.status, run.completed_at) == (status, LATER)
        assert await listed(stage, run) == _summary(run)

    @pytest.mark.parametrize(
        ("state", "freed"), [(S.NOT_PLACED, True), (S.REJECTED, True), (S.ACCEPTED, False)]
    )
    async def test_an_adopting_run_that_fails_with_its_owner_frees_its_key(
        self, stage: RunStage, state: OrderState, *, freed: bool
    ) -> None:
        await let_trade(stage.runs)
        owner = await started(stage.runs, claims=True)
        adopter = await started(stage.runs, opening=an_opening(key="k"))
        await stage.runs.close_run(adopter.lease, a_closing(frees_key=True))
        await stage.runs.close_run(owner.lease, a_closing(*outcomes_of(owner, [state])))
        again = await stage.runs.open_run(an_opening(key="k"))
        assert isinstance(again, Lease) is freed
        assert freed or again == EarlierRun(adopter.run_id)

    async def test_an_adopter_of_what_is_settled_ends_at_once(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        owner = await started(stage.runs, claims=True)
        await stage.runs.close_run(owner.lease, a_closing(*outcomes_of(owner, [S.ACCEPTED])))
        adopter = await started(stage.runs)
        closed = await stage.runs.close_run(adopter.lease, a_closing(frees_key=True))
        assert (closed.status, closed.completed_at) == (RunStatus.COMPLETED, END)
        assert closed.tally.accepted == 1

    async def test_an_owner_left_open_leaves_its_adopter_open(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        owner = await started(stage.runs, claims=True)
        adopter = await started(stage.runs)
        await stage.runs.close_run(adopter.lease, a_closing())
        await stage.runs.close_run(owner.lease, a_closing(*outcomes_of(owner, [S.UNKNOWN])))
        assert (await stored(stage.runs, adopter.run_id)).status is RunStatus.RUNNING
        lease = (await taken_over(stage, owner.run_id)).lease
        await stage.runs.close_run(lease, a_closing(*outcomes_of(owner, [S.ACCEPTED]), at=LATER))
        run = await stored(stage.runs, adopter.run_id)
        assert (run.status, run.completed_at) == (RunStatus.COMPLETED, LATER)

    async def test_an_adopter_with_an_open_order_of_its_own_stays(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        owner = await started(stage.runs, ["AAPL"], claims=True)
        adopter = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        own = adopter.answer.claimed
        assert len(own) == 1
        await stage.runs.close_run(adopter.lease, a_closing(a_settlement(own[0], S.UNKNOWN)))
        await stage.runs.close_run(owner.lease, a_closing(*outcomes_of(owner, [S.ACCEPTED])))
        assert (await stored(stage.runs, adopter.run_id)).completed_at is None

    async def test_an_adopter_of_two_owners_waits_for_both(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        first = await started(stage.runs, ["AAPL"], claims=True)
        second = await started(stage.runs, ["IBM"], claims=True)
        adopter = await started(stage.runs, ["AAPL", "IBM"])
        await stage.runs.close_run(adopter.lease, a_closing())
        await stage.runs.close_run(first.lease, a_closing(*outcomes_of(first, [S.ACCEPTED])))
        assert (await stored(stage.runs, adopter.run_id)).completed_at is None
        rejected = outcomes_of(second, [S.REJECTED])
        await stage.runs.close_run(second.lease, a_closing(*rejected, at=LATER))
        run = await stored(stage.runs, adopter.run_id)
        assert (run.status, run.completed_at) == (RunStatus.PARTIAL, LATER)

    async def test_closing_an_owner_again_leaves_its_adopter_as_it_ended(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        owner = await started(stage.runs, claims=True)
        adopter = await started(stage.runs)
        await stage.runs.close_run(adopter.lease, a_closing())
        settled = outcomes_of(owner, [S.ACCEPTED])
        await stage.runs.close_run(owner.lease, a_closing(*settled))
        before = await stored(stage.runs, adopter.run_id)
        await stage.runs.close_run(owner.lease, a_closing(*settled, at=LATER))
        assert await stored(stage.runs, adopter.run_id) == before

    async def test_owner_and_adopters_closing_at_once_leave_none_running(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        for attempt in range(20):
            symbols = [f"A{attempt}N0", f"A{attempt}N1"]
            owner = await started(stage.runs, symbols, claims=True)
            adopters = [await started(stage.runs, symbols) for _ in range(2)]
            settled = a_closing(*outcomes_of(owner, [S.ACCEPTED, S.ACCEPTED]))
            if attempt % 4 > 1:
                settled = await as_known(stage, owner, settled)
            calls = [
                _close_call(stage, owner, settled),
                *[_close_call(stage, adopter, a_closing()) for adopter in adopters],
            ]
            answers = await at_once(*(calls if attempt % 2 else reversed(calls)))
            assert all(isinstance(answer, Run) for answer in answers), answers
            for adopter in adopters:
                run = await stored(stage.runs, adopter.run_id)
                assert run.completed_at == END
                assert (await listed(stage, run)).status is RunStatus.COMPLETED

    async def test_two_owners_and_their_adopter_closing_at_once_leave_none_running(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        for attempt in range(20):
            here, there = f"B{attempt}N0", f"B{attempt}N1"
            first = await started(stage.runs, [here], claims=True)
            second = await started(stage.runs, [there], claims=True)
            third = await started(stage.runs, [here, there])
            answers = await at_once(
                _close_call(stage, first, a_closing(*outcomes_of(first, [S.ACCEPTED]))),
                _close_call(stage, third, a_closing()),
                _close_call(stage, second, a_closing(*outcomes_of(second, [S.REJECTED]))),
            )
            assert all(isinstance(answer, Run) for answer in answers), answers
            run = await stored(stage.runs, third.run_id)
            assert (run.status, run.completed_at) == (RunStatus.PARTIAL, END)
            assert (await listed(stage, run)).status is RunStatus.PARTIAL


class ListingCases:
    """Cases of `list_runs` and `check`."""

    async def test_an_empty_store_lists_nothing(self, stage: RunStage) -> None:
        page = await stage.runs.list_runs(RunFilter(), limit=50, offset=0)
        assert (page.runs, page.total) == ((), 0)

    async def test_runs_are_listed_newest_first(self, stage: RunStage) -> None:
        times = [3, 1, 2, 2, 0]
        ids = [await _open_at(stage, seconds) for seconds in times]
        page = await stage.runs.list_runs(RunFilter(), limit=50, offset=0)
        # Of two runs of one moment, the one opened later comes first.
        assert [run.run_id for run in page.runs] == [ids[0], ids[3], ids[2], ids[1], ids[4]]
        assert page.total == 5

    async def test_pages_follow_each_other(self, stage: RunStage) -> None:
        ids = [await _open_at(stage, seconds) for seconds in range(5)]
        pages = [
            await stage.runs.list_runs(RunFilter(), limit=2, offset=offset)
            for offset in (0, 2, 4, 6)
        ]
        listed = [[run.run_id for run in page.runs] for page in pages]
        assert listed == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]], []]
        assert {page.total for page in pages} == {5}

    async def test_runs_are_filtered_and_counted(self, stage: RunStage) -> None:
        running = await _open_at(stage, 0)
        failed = await self._failed(stage, ALPHA, 1)
        other = await self._failed(stage, BETA, 2)
        await _open_at(stage, 3, strategy=BETA)
        cases: list[tuple[RunFilter, list[RunId]]] = [
            (RunFilter(strategy_id=ALPHA), [failed, running]),
            (RunFilter(status=RunStatus.FAILED), [other, failed]),
            (RunFilter(strategy_id=ALPHA, status=RunStatus.FAILED), [failed]),
            (RunFilter(strategy_id=BETA, status=RunStatus.PARTIAL), []),
            (RunFilter(strategy_id=StrategyId("x' OR '1'='1")), []),
        ]
        for matching, expected in cases:
            page = await stage.runs.list_runs(matching, limit=50, offset=0)
            assert [run.run_id for run in page.runs] == expected
            assert page.total == len(expected)

    async def test_the_total_counts_all_pages_of_what_matches(self, stage: RunStage) -> None:
        for seconds in range(4):
            await _open_at(stage, seconds, strategy=BETA if seconds % 2 else ALPHA)
        page = await stage.runs.list_runs(RunFilter(strategy_id=BETA), limit=1, offset=0)
        assert (len(page.runs), page.total) == (1, 2)

    async def test_a_store_that_answers_passes_its_check(self, stage: RunStage) -> None:
        await stage.runs.check()

    async def _failed(self, stage: RunStage, strategy: StrategyId, seconds: int) -> RunId:
        opening = _opening_at(seconds, strategy)
        lease = await opened(stage.runs, opening)
        failure = RunFailure(FailureKind.SIGNALS_REFUSED, "no")
        await stage.runs.close_run(lease, a_closing(failure=failure, at=LATER))
        return opening.run_id


def _opening_at(seconds: int, strategy: StrategyId) -> RunOpening:
    opening = an_opening(strategy=strategy)
    return evolve(opening, started_at=START + timedelta(seconds=seconds))


async def _open_at(stage: RunStage, seconds: int, strategy: StrategyId = ALPHA) -> RunId:
    opening = _opening_at(seconds, strategy)
    await opened(stage.runs, opening)
    return opening.run_id


def outcomes_of(run: StartedRun, states: list[OrderState]) -> tuple[Settlement, ...]:
    """Return an outcome for each of the run's orders, in the order of sending."""
    return tuple(a_settlement(id_, state) for id_, state in zip(run.ids, states, strict=False))


async def as_known(stage: RunStage, run: StartedRun, closing: RunClosing) -> RunClosing:
    """Return the closing by one who knows the run's orders."""
    before = await stored(stage.runs, run.run_id)
    settlements = {settlement.client_order_id: settlement for settlement in closing.settlements}
    orders = tuple(_settled(order, settlements) for order in before.orders or ())
    return evolve(closing, known=evolve(before, orders=orders))


def _settled(order: Order, settlements: Mapping[ClientOrderId, Settlement]) -> Order:
    if order.intent is None or order.owner is not None:
        return order
    settlement = settlements.get(order.intent.client_order_id)
    return order if settlement is None else settle(order, settlement)


async def listed(stage: RunStage, run: Run) -> RunSummary:
    """Return the run's row in the list of runs."""
    page = await stage.runs.list_runs(RunFilter(status=run.status), limit=100, offset=0)
    return next(summary for summary in page.runs if summary.run_id == run.run_id)


def _summary(run: Run) -> RunSummary:
    tally = run.tally
    return RunSummary(
        run_id=run.run_id,
        status=run.status,
        strategy_id=run.strategy_id,
        as_of_date=run.as_of_date,
        num_signals=run.num_signals,
        num_orders_submitted=tally.submitted,
        num_orders_accepted=tally.accepted,
        num_orders_rejected=tally.rejected,
        started_at=run.started_at,
        completed_at=run.completed_at,
        duration_seconds=run.duration_seconds,
    )


def _close_call(
    stage: RunStage, run: StartedRun, closing: RunClosing
) -> Callable[[], Awaitable[Run]]:
    return lambda: stage.runs.close_run(run.lease, closing)
