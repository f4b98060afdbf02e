"""What every order budget does."""

import random
from collections.abc import Sequence
from typing import Protocol

import anyio
import anyio.lowlevel
import pytest

from orchestrator_adapters.conformance.budget_model import (
    MINUTE_SECONDS,
    SLACK_SECONDS,
    BudgetModel,
    fresh,
    ids,
)
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.ports import Allowance, OrderBudget

HOLD_SECONDS = 30.0


class BudgetStage(Protocol):
    """The world around one order budget, of which nothing is taken at first."""

    def budget(
        self, *, max_in_flight: int | None = None, max_per_minute: int | None = None
    ) -> OrderBudget:
        """Return an adapter under test over the one store; another replica's at each call."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let that many seconds pass for the store, or few more."""
        ...


async def granted(budget: OrderBudget, wished: Sequence[ClientOrderId]) -> int:
    """Take places; return how many were granted, a wait being said if and only if not all were."""
    allowance = await budget.take(wished, hold_seconds=HOLD_SECONDS)
    assert 0 <= allowance.granted <= len(wished)
    assert (allowance.retry_after > 0) is (allowance.granted < len(wished)), allowance
    return allowance.granted


class OrderBudgetConformance:
    """Subclass it, and override `stage`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def stage(self) -> BudgetStage:
        raise NotImplementedError("override this fixture: give a fresh stage")

    # Places in flight

    async def test_no_limits_grant_all(self, stage: BudgetStage) -> None:
        budget = stage.budget()
        for mark in "abc":
            assert await budget.take(fresh(500, mark), hold_seconds=30) == Allowance(500)
        await budget.give_back(fresh(500, "a"))

    async def test_nothing_wished_is_granted(self, stage: BudgetStage) -> None:
        budget = stage.budget(max_in_flight=1, max_per_minute=1)
        assert await granted(budget, ids("a")) == 1
        assert await budget.take([], hold_seconds=30) == Allowance(0)
        await budget.give_back([])

    async def test_the_first_are_granted_as_many_as_there_are_places(
        self, stage: BudgetStage
    ) -> None:
        budget = stage.budget(max_in_flight=3)
        assert await granted(budget, ids("a", "b")) == 2
        assert await granted(budget, ids("c", "d", "e")) == 1
        assert await granted(budget, ids("d")) == 0
        # "c" was the one: it holds a place, the others none.
        assert [await granted(budget, [id_]) for id_ in ids("c", "d", "e")] == [1, 0, 0]

    async def test_an_order_that_holds_a_place_is_granted_without_another(
        self, stage: BudgetStage
    ) -> None:
        budget = stage.budget(max_in_flight=2)
        for _ in range(3):
            assert await granted(budget, ids("a")) == 1
        assert await granted(budget, ids("a", "a", "b", "c")) == 3
        assert await granted(budget, ids("b", "a")) == 2

    async def test_what_stands_behind_an_order_without_a_place_is_not_granted(
        self, stage: BudgetStage
    ) -> None:
        budget = stage.budget(max_in_flight=1)
        assert await granted(budget, ids("a")) == 1
        assert await granted(budget, ids("b", "a")) == 0

    async def test_a_place_given_back_is_free(self, stage: BudgetStage) -> None:
        budget = stage.budget(max_in_flight=2)
        assert await granted(budget, ids("a", "b", "c")) == 2
        await budget.give_back(ids("a", "unknown"))
        await budget.give_back(ids("a"))
        assert await granted(budget, ids("c", "d")) == 1

    async def test_replicas_share_the_places(self, stage: BudgetStage) -> None:
        one, another = stage.budget(max_in_flight=2), stage.budget(max_in_flight=2)
        assert await granted(one, ids("a")) == 1
        assert await granted(another, ids("b", "c")) == 1
        assert await granted(another, ids("a")) == 1
        await another.give_back(ids("a"))
        assert await granted(one, ids("c", "d")) == 1

    async def test_a_place_whose_holder_died_comes_free(self, stage: BudgetStage) -> None:
        budget = stage.budget(max_in_flight=1)
        await budget.take(ids("a"), hold_seconds=20)
        await stage.pass_time(10)
        assert await granted(budget, ids("b")) == 0
        await stage.pass_time(10)
        assert await granted(budget, ids("b")) == 1

    async def test_a_place_that_is_taken_again_is_held_from_then(self, stage: BudgetStage) -> None:
        budget = stage.budget(max_in_flight=1)
        await budget.take(ids("a"), hold_seconds=20)
        await stage.pass_time(10)
        await budget.take(ids("a"), hold_seconds=20)
        await stage.pass_time(10)
        assert await granted(budget, ids("b")) == 0
        await stage.pass_time(10)
        assert await granted(budget, ids("b")) == 1

    async def test_a_place_is_held_as_long_as_was_ever_asked(self, stage: BudgetStage) -> None:
        budget = stage.budget(max_in_flight=1)
        await budget.take(ids("a"), hold_seconds=40)
        await budget.take(ids("a"), hold_seconds=10)
        await stage.pass_time(20)
        assert await granted(budget, ids("b")) == 0

    async def test_who_waits_for_a_place_asks_again_soon(self, stage: BudgetStage) -> None:
        budget = stage.budget(max_in_flight=1)
        await budget.take(ids("a"), hold_seconds=30)
        answer = await budget.take(ids("b"), hold_seconds=30)
        assert 0 < answer.retry_after <= 0.2

    async def test_a_limit_that_was_lowered_holds(self, stage: BudgetStage) -> None:
        assert await granted(stage.budget(max_in_flight=4, max_per_minute=9), fresh(4, "a")) == 4
        lower = stage.budget(max_in_flight=2, max_per_minute=3)
        assert await granted(lower, ids("b")) == 0
        await lower.give_back(fresh(3, "a"))
        assert await granted(lower, ids("b")) == 0
        await stage.pass_time(MINUTE_SECONDS)
        assert await granted(lower, ids("b", "c", "d")) == 2

    # Orders a minute

    async def test_what_was_sent_stays_counted_for_a_minute(self, stage: BudgetStage) -> None:
        budget = stage.budget(max_per_minute=3)
        assert await granted(budget, ids("a", "b")) == 2
        await budget.give_back(ids("a", "b"))
        await stage.pass_time(20)
        assert await granted(budget, ids("c", "d")) == 1
        await budget.give_back(ids("c"))
        await stage.pass_time(40)
        assert await granted(budget, ids("d", "e", "f")) == 2

    async def test_an_order_is_counted_once_while_it_holds_a_place(
        self, stage: BudgetStage
    ) -> None:
        budget = stage.budget(max_per_minute=2)
        for _ in range(3):
            assert await granted(budget, ids("a")) == 1
        assert await granted(budget, ids("b")) == 1
        assert await granted(budget, ids("a", "c")) == 1

    async def test_an_order_that_goes_again_is_counted_again(self, stage: BudgetStage) -> None:
        budget = stage.budget(max_per_minute=2)
        for expected in (1, 1, 0):
            assert await granted(budget, ids("a")) == expected
            await budget.give_back(ids("a"))

    async def test_an_order_whose_hold_ended_is_counted_again(self, stage: BudgetStage) -> None:
        budget = stage.budget(max_per_minute=2)
        await budget.take(ids("a"), hold_seconds=10)
        await stage.pass_time(10)
        await budget.take(ids("a"), hold_seconds=10)
        assert await granted(budget, ids("b")) == 0

    async def test_after_the_wait_that_was_said_one_more_goes(self, stage: BudgetStage) -> None:
        budget = stage.budget(max_per_minute=2)
        assert await granted(budget, ids("a")) == 1
        await stage.pass_time(20)
        assert await granted(budget, ids("b")) == 1
        for mark in "cde":
            answer = await budget.take(ids(mark), hold_seconds=30)
            assert answer.granted == 0
            assert answer.retry_after <= MINUTE_SECONDS
            await stage.pass_time(answer.retry_after)
            assert await granted(budget, ids(mark)) == 1

    async def test_the_wait_under_a_limit_that_was_lowered_is_for_enough_to_leave(
        self, stage: BudgetStage
    ) -> None:
        for mark in "ab":
            assert await granted(stage.budget(max_per_minute=2), ids(mark)) == 1
            await stage.pass_time(20)
        lower = stage.budget(max_per_minute=1)
        answer = await lower.take(ids("c"), hold_seconds=30)
        assert answer.granted == 0
        await stage.pass_time(answer.retry_after)
        assert await granted(lower, ids("c")) == 1

    async def test_both_limits_hold_at_once(self, stage: BudgetStage) -> None:
        budget = stage.budget(max_in_flight=2, max_per_minute=3)
        assert await granted(budget, ids("a", "b", "c")) == 2
        await budget.give_back(ids("a", "b"))
        assert await granted(budget, ids("c", "d")) == 1
        # A place is free, the minute is full: the wait is the minute's.
        answer = await budget.take(ids("d"), hold_seconds=30)
        assert answer.granted == 0
        assert answer.retry_after > MINUTE_SECONDS - SLACK_SECONDS
        await stage.pass_time(MINUTE_SECONDS)
        assert await granted(budget, ids("d", "e", "f")) == 2

    # Many at once

    @pytest.mark.parametrize("limit", [1, 5])
    async def test_takers_at_once_never_hold_more_places_than_there_are(
        self, stage: BudgetStage, limit: int
    ) -> None:
        in_flight: set[ClientOrderId] = set()
        most = 0

        async def send(budget: OrderBudget, mark: str) -> None:
            nonlocal most
            pending = fresh(6, mark)
            while pending:
                answer = await budget.take(pending[:3], hold_seconds=300)
                wave, pending = pending[: answer.granted], pending[answer.granted :]
                in_flight.update(wave)
                most = max(most, len(in_flight))
                await anyio.lowlevel.checkpoint()
                in_flight.difference_update(wave)
                await budget.give_back(wave)

        async with anyio.create_task_group() as group:
            for replica in range(4):
                budget = stage.budget(max_in_flight=limit)
                for task in range(3):
                    group.start_soon(send, budget, f"r{replica}t{task}n")
        assert 0 < most <= limit

    async def test_takers_at_once_never_send_more_than_a_minute_holds(
        self, stage: BudgetStage
    ) -> None:
        grants: list[int] = []

        async def send(budget: OrderBudget, mark: str) -> None:
            for wave in (fresh(3, f"{mark}a"), fresh(3, f"{mark}b")):
                grants.append(await granted(budget, wave))
                await budget.give_back(wave)

        for _ in range(3):
            grants.clear()
            async with anyio.create_task_group() as group:
                for replica in range(4):
                    budget = stage.budget(max_in_flight=1000, max_per_minute=10)
                    for task in range(3):
                        group.start_soon(send, budget, f"r{replica}t{task}n")
            assert sum(grants) == 10
            await stage.pass_time(MINUTE_SECONDS)

    # Any order of events

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize(("max_in_flight", "max_per_minute"), [(3, 5), (4, None), (None, 4)])
    async def test_any_order_of_events_comes_out_as_by_the_rule(
        self, stage: BudgetStage, seed: int, max_in_flight: int | None, max_per_minute: int | None
    ) -> None:
        chance = random.Random(seed)  # noqa: S311 - the same walk each time
        model = BudgetModel(max_in_flight, max_per_minute)
        replicas = [
            stage.budget(max_in_flight=max_in_flight, max_per_minute=max_per_minute)
            for _ in range(2)
        ]
        for _ in range(100):
            await model.step(chance, chance.choice(replicas), stage.pass_time)
        model.check_every_window()
