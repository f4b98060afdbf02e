"""Versions of the book: that two plans never spend the same twice, whosever they are."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from orchestrator_adapters.conformance.run_books import (
    NEXT_DAY,
    book,
    booked,
    ids_in_book,
    keyed,
)
from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    TRADING,
    a_record,
    an_opening,
    at_once,
    ids_of,
    let_trade,
    opened,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_recoveries import BETA
from orchestrator_adapters.conformance.run_stage import RunStage, taken_over
from orchestrator_core.books import StrategyBook
from orchestrator_core.commits import PlanCommit, WaveClaim
from orchestrator_core.errors import LeaseLost, OrchestratorError
from orchestrator_core.lifecycle import OrderState

S = OrderState


def commits_of(answers: Sequence[PlanCommit | OrchestratorError]) -> list[PlanCommit]:
    """Return the answers, each of which must be a commit."""
    commits = [answer for answer in answers if isinstance(answer, PlanCommit)]
    assert len(commits) == len(answers), answers
    return commits


class BookVersionCases:
    """Cases of plans that name the version of a book."""

    async def test_a_book_begins_at_nothing(self, stage: RunStage) -> None:
        assert await book(stage) == StrategyBook(version=0)

    async def test_each_plan_that_depends_on_the_book_makes_the_next_version(
        self, stage: RunStage
    ) -> None:
        for version in range(3):
            opening = keyed(f"k{version}")
            await started(stage.runs, opening=opening, record=booked(a_record(opening), version))
            assert (await book(stage)).version == version + 1
        assert (await book(stage, BETA)).version == 3

    async def test_a_plan_that_does_not_depend_on_the_book_leaves_it(self, stage: RunStage) -> None:
        await started(stage.runs)
        assert (await book(stage)).version == 0

    async def test_a_plan_without_orders_makes_the_next_version_too(self, stage: RunStage) -> None:
        opening = keyed("none")
        await started(stage.runs, opening=opening, record=booked(a_record(opening, []), 0))
        assert (await book(stage)).version == 1

    async def test_a_plan_that_only_adopts_makes_the_next_version_too(
        self, stage: RunStage
    ) -> None:
        await started(stage.runs)
        opening = an_opening()
        adopter = await started(stage.runs, opening=opening, record=booked(a_record(opening), 0))
        assert [order.state for order in adopter.orders] == [S.ADOPTED]
        assert (await book(stage)).version == 1

    async def test_a_version_is_the_accounts_whatever_the_date(self, stage: RunStage) -> None:
        opening = keyed("today")
        await started(stage.runs, opening=opening, record=booked(a_record(opening), 0))
        assert (await stage.runs.read_book(ALPHA, NEXT_DAY)).version == 1
        tomorrow = keyed("tomorrow")
        lease = await opened(stage.runs, tomorrow)
        record = a_record(tomorrow, as_of_date=NEXT_DAY)
        assert (await stage.runs.commit_plan(lease, booked(record, 0), None)).is_stale
        assert not (await stage.runs.commit_plan(lease, booked(record, 1), None)).is_stale

    @pytest.mark.parametrize("version", [0, 2, 7])
    async def test_a_plan_from_another_version_is_not_stored(
        self, stage: RunStage, version: int
    ) -> None:
        await let_trade(stage.runs)
        first = keyed("first")
        await started(stage.runs, opening=first, record=booked(a_record(first), 0))
        opening = keyed("second", ("AAPL", "MSFT"))
        record = booked(a_record(opening), version)
        lease = await opened(stage.runs, opening)
        before = await stored(stage.runs, opening.run_id)
        claim = WaveClaim(1, ids_of(record), TRADING.epoch)
        commit = await stage.runs.commit_plan(lease, record, claim)
        assert commit == PlanCommit((), is_stale=True)
        assert await stored(stage.runs, opening.run_id) == before
        assert await stage.runs.get_record(opening.run_id) is None
        assert (await book(stage)).version == 1
        assert not set(ids_of(record)) & set(await ids_in_book(stage))
        again = await stage.runs.commit_plan(lease, booked(record, 1), claim)
        assert again.answer.claimed == ids_of(record)
        assert (await book(stage)).version == 2

    async def test_a_plan_that_came_too_late_holds_no_id(self, stage: RunStage) -> None:
        late, other = keyed("same"), keyed("same")
        lease = await opened(stage.runs, late)
        assert (await stage.runs.commit_plan(lease, booked(a_record(late), 5), None)).is_stale
        run = await started(stage.runs, opening=other, record=booked(a_record(other), 0))
        assert [order.state for order in run.orders] == [S.PLANNED]
        again = await stage.runs.commit_plan(lease, booked(a_record(late), 1), None)
        assert [order.state for order in again.orders] == [S.ADOPTED]

    async def test_a_version_of_no_book_is_another(self, stage: RunStage) -> None:
        opening = keyed("first")
        lease = await opened(stage.runs, opening)
        commit = await stage.runs.commit_plan(lease, booked(a_record(opening), 1), None)
        assert commit.is_stale
        assert (await book(stage)).version == 0

    @pytest.mark.parametrize("version", [0, 1])
    async def test_a_plan_under_an_old_lease_leaves_the_book(
        self, stage: RunStage, version: int
    ) -> None:
        opening = keyed("first")
        lease = await opened(stage.runs, opening)
        await taken_over(stage, opening.run_id)
        with pytest.raises(LeaseLost):
            await stage.runs.commit_plan(lease, booked(a_record(opening), version), None)
        assert await book(stage) == StrategyBook(version=0)

    async def test_a_plan_that_is_stored_already_is_never_stale(self, stage: RunStage) -> None:
        opening = keyed("first")
        record = booked(a_record(opening), 0)
        run = await started(stage.runs, opening=opening, record=record)
        other = keyed("second")
        await started(stage.runs, opening=other, record=booked(a_record(other), 1))
        again = await stage.runs.commit_plan(run.lease, record, None)
        assert (again.is_stale, again.orders) == (False, run.orders)
        assert (await book(stage)).version == 2

    async def test_a_plan_that_is_repeated_at_once_counts_once(self, stage: RunStage) -> None:
        opening = keyed("first")
        record = booked(a_record(opening), 0)
        lease = await opened(stage.runs, opening)
        answers = await at_once(*[lambda: stage.runs.commit_plan(lease, record, None)] * 4)
        commits = commits_of(answers)
        assert {commit.is_stale for commit in commits} == {False}
        assert len({commit.orders for commit in commits}) == 1
        assert (await book(stage)).version == 1

    async def test_of_plans_from_one_version_at_once_one_is_stored(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        openings = [keyed(f"k{n}", strategy=(ALPHA, BETA)[n % 2]) for n in range(6)]
        leases = [await opened(stage.runs, opening) for opening in openings]

        def commit(place: int) -> Callable[[], Awaitable[PlanCommit]]:
            record = booked(a_record(openings[place]), 0)
            claim = WaveClaim(1, ids_of(record), TRADING.epoch)
            return lambda: stage.runs.commit_plan(leases[place], record, claim)

        commits = commits_of(await at_once(*map(commit, range(6))))
        [winner] = [commit for commit in commits if not commit.is_stale]
        assert (await book(stage)).version == 1
        assert await ids_in_book(stage) == list(winner.answer.claimed)
        assert len(winner.answer.claimed) == 1

    async def test_two_strategies_that_read_one_book_do_not_both_spend_it(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        first, second = keyed("k"), keyed("k", strategy=BETA)
        leases = [await opened(stage.runs, opening) for opening in (first, second)]
        seen = [(await book(stage, strategy)).version for strategy in (ALPHA, BETA)]
        assert seen == [0, 0]
        commit = await stage.runs.commit_plan(leases[0], booked(a_record(first), seen[0]), None)
        assert commit.orders
        late = booked(a_record(second), seen[1])
        claim = WaveClaim(1, ids_of(late), TRADING.epoch)
        assert await stage.runs.commit_plan(leases[1], late, claim) == PlanCommit((), is_stale=True)
        now = await book(stage, BETA)
        assert now.version == 1
        assert [order.intent for order in now.open_orders] == [
            order.intent for order in commit.orders
        ]
        again = await stage.runs.commit_plan(leases[1], booked(a_record(second), 1), claim)
        assert again.answer.claimed == ids_of(late)
        assert (await book(stage)).version == 2
