"""How accepted orders are followed, and when they are asked about."""

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal

import pytest
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    StartedRun,
    a_closing,
    a_report,
    an_opening,
    at_once,
    let_trade,
    started,
)
from orchestrator_adapters.conformance.run_closings import as_known
from orchestrator_adapters.conformance.run_recoveries import BETA, SLACK, about
from orchestrator_adapters.conformance.run_stage import RunStage
from orchestrator_core.commits import FollowedOrder, OrderNews
from orchestrator_core.identifiers import ClientOrderId, StrategyId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.orders import Settlement

S = OrderState
FOLLOW = 20.0
HOLD = 30.0


def an_acceptance(
    id_: ClientOrderId, status: str = "accepted", *, follow: float | None = FOLLOW
) -> Settlement:
    """Return the outcome of an order that the gateway took."""
    return Settlement(id_, S.ACCEPTED, report=a_report(id_, status), follow_seconds=follow)


def news_of(
    order: FollowedOrder, status: str, *, filled: str | None = None, follow: float | None = None
) -> OrderNews:
    """Return what a look at the order brought: another word, or the same."""
    report = evolve(order.report, status=status)
    if filled is not None:
        report = evolve(report, filled_qty=Decimal(filled), filled_avg_price=Decimal("101.25"))
    id_ = order.intent.client_order_id
    return OrderNews(order.run_id, id_, order.report, report, follow)


async def accepted(
    stage: RunStage,
    symbols: Sequence[str] = ("AAPL",),
    *,
    status: str = "accepted",
    follow: float | None = FOLLOW,
    strategy: StrategyId = ALPHA,
) -> StartedRun:
    """Start a run, and have the gateway take its orders; the run stays open."""
    if await stage.runs.read_latch() is None:
        await let_trade(stage.runs)
    run = await started(stage.runs, opening=an_opening(symbols, strategy=strategy), claims=True)
    outcomes = [an_acceptance(id_, status, follow=follow) for id_ in run.ids]
    await stage.runs.commit_wave(run.lease, outcomes, None)
    return run


async def due(
    stage: RunStage, *, limit: int = 100, hold: float = HOLD, strategy: StrategyId = ALPHA
) -> Sequence[FollowedOrder]:
    """Take the orders that are to be asked about now."""
    return await stage.runs.take_followed(strategy, limit=limit, hold_seconds=hold)


def ids_in(orders: Sequence[FollowedOrder]) -> list[ClientOrderId]:
    """Return the orders' ids."""
    return [order.intent.client_order_id for order in orders]


class FollowingCases:
    """Cases of `take_followed`, `live_orders` and the backlog's count."""

    async def test_an_accepted_order_is_followed_in_time(self, stage: RunStage) -> None:
        run = await accepted(stage)
        await stage.pass_time(FOLLOW - SLACK)
        assert not await due(stage)
        await stage.pass_time(SLACK)
        [order] = await due(stage)
        assert order == FollowedOrder(
            run_id=run.run_id,
            intent=run.record.plan.intents[0],
            report=a_report(run.ids[0]),
            age_seconds=order.age_seconds,
        )
        assert about(order.age_seconds, FOLLOW)

    @pytest.mark.parametrize("knows", [False, True])
    async def test_an_order_that_is_settled_with_its_run_is_followed(
        self, stage: RunStage, *, knows: bool
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        closing = a_closing(an_acceptance(run.ids[0]), an_acceptance(run.ids[1], follow=None))
        await stage.runs.close_run(
            run.lease, await as_known(stage, run, closing) if knows else closing
        )
        await stage.pass_time(FOLLOW + 1)
        assert ids_in(await due(stage)) == [run.ids[0]]

    async def test_an_order_that_is_not_to_be_followed_never_comes(self, stage: RunStage) -> None:
        await accepted(stage, follow=None)
        await stage.pass_time(1_000_000)
        assert not await due(stage)

    async def test_an_order_that_was_taken_comes_again_after_its_hold(
        self, stage: RunStage
    ) -> None:
        run = await accepted(stage)
        await stage.pass_time(FOLLOW + 1)
        assert ids_in(await due(stage)) == list(run.ids)
        assert not await due(stage)
        await stage.pass_time(HOLD - SLACK)
        assert not await due(stage)
        await stage.pass_time(SLACK)
        assert ids_in(await due(stage)) == list(run.ids)

    async def test_the_longest_due_come_first_and_no_more_than_asked(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM", "MSFT", "NKE"], claims=True)
        for id_, follow in zip(run.ids, (40, 20, 30, 10), strict=True):
            outcome = an_acceptance(id_, follow=follow)
            await stage.runs.commit_wave(run.lease, (outcome,), None)
        await stage.pass_time(50)
        assert ids_in(await due(stage, limit=3)) == [run.ids[3], run.ids[1], run.ids[2]]
        assert ids_in(await due(stage, limit=3)) == [run.ids[0]]
        assert not await due(stage, limit=3)

    async def test_an_order_of_another_strategy_is_not_taken(self, stage: RunStage) -> None:
        run = await accepted(stage, strategy=BETA)
        await stage.pass_time(FOLLOW + 1)
        assert not await due(stage)
        assert ids_in(await due(stage, strategy=BETA)) == list(run.ids)

    async def test_of_several_who_take_at_once_none_gets_anothers_order(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        for attempt in range(10):
            run = await accepted(stage, [f"T{attempt}N{number}" for number in range(8)])
            await stage.pass_time(FOLLOW + 1)
            answers = await at_once(*[_due_call(stage) for _ in range(4)])
            taken = [id_ for a in answers if not isinstance(a, Exception) for id_ in ids_in(a)]
            assert len(taken) == len(set(taken))
            assert set(taken) <= set(run.ids)
            await stage.pass_time(HOLD + 1)
            for order in await due(stage):
                await stage.runs.record_news([news_of(order, "filled")])

    async def test_an_accepted_order_that_has_not_ended_is_live(self, stage: RunStage) -> None:
        run = await accepted(stage)
        [order] = await stage.runs.live_orders(after=None, limit=10)
        assert order == FollowedOrder(
            run.run_id, run.record.plan.intents[0], a_report(run.ids[0]), order.age_seconds
        )
        await stage.pass_time(25)
        [order] = await stage.runs.live_orders(after=None, limit=10)
        assert about(order.age_seconds, 25)

    async def test_what_ended_or_was_never_accepted_is_not_live(self, stage: RunStage) -> None:
        for number, status in enumerate(["filled", "canceled", "expired", "rejected", "dry_run"]):
            await accepted(stage, [f"E{number}"], status=status)
        run = await started(stage.runs, ["BA", "CVX", "DIS", "EBAY"], claims=True)
        word = a_report(run.ids[0], "rejected")
        await stage.runs.commit_wave(
            run.lease,
            (
                Settlement(run.ids[0], S.REJECTED, reason="no", report=word),
                Settlement(run.ids[1], S.UNKNOWN, reason="?", report=a_report(run.ids[1])),
                Settlement(run.ids[2], S.CONFLICT, reason="!"),
            ),
            None,
        )
        assert not await stage.runs.live_orders(after=None, limit=100)

    async def test_an_order_whose_word_is_no_known_one_is_live(self, stage: RunStage) -> None:
        run = await accepted(stage, status="held_for_review", follow=None)
        assert ids_in(await stage.runs.live_orders(after=None, limit=10)) == list(run.ids)

    async def test_live_orders_of_every_strategy_come_by_id_in_pages(self, stage: RunStage) -> None:
        first = await accepted(stage, ["AAPL", "IBM", "MSFT"])
        second = await accepted(stage, ["AAPL", "IBM"], strategy=BETA, follow=None)
        everything = sorted((*first.ids, *second.ids))
        found: list[ClientOrderId] = []
        while True:
            after = found[-1] if found else None
            page = await stage.runs.live_orders(after=after, limit=2)
            if not page:
                break
            found += ids_in(page)
        assert found == everything

    async def test_the_backlog_counts_what_has_not_ended(self, stage: RunStage) -> None:
        await accepted(stage, ["AAPL", "IBM"])
        await accepted(stage, ["AAPL"], strategy=BETA)
        assert (await stage.runs.backlog()).orders_followed == 3
        await stage.pass_time(FOLLOW + 1)
        [first, _] = await due(stage)
        await stage.runs.record_news([news_of(first, "filled")])
        assert (await stage.runs.backlog()).orders_followed == 2


def _due_call(stage: RunStage) -> Callable[[], Awaitable[Sequence[FollowedOrder]]]:
    return lambda: due(stage, limit=3)
