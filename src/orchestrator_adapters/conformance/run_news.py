"""What news of followed orders changes, in their runs and in those that adopted them."""

from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    END,
    StartedRun,
    a_closing,
    a_report,
    at_once,
    let_trade,
    only_order,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_closings import as_known
from orchestrator_adapters.conformance.run_followings import (
    FOLLOW,
    HOLD,
    accepted,
    an_acceptance,
    due,
    ids_in,
    news_of,
)
from orchestrator_adapters.conformance.run_recoveries import SLACK
from orchestrator_adapters.conformance.run_stage import RunStage
from orchestrator_core.commits import FollowedOrder, OrderNews
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.model import OrderReport
from orchestrator_core.orders import Settlement

S = OrderState


async def followed(stage: RunStage, run: StartedRun) -> FollowedOrder:
    """Return the run's one order as it is taken to be asked about."""
    await stage.pass_time(FOLLOW + 1)
    [order] = [each for each in await due(stage) if each.run_id == run.run_id]
    return order


class NewsCases:
    """Cases of `record_news`."""

    async def test_a_later_word_takes_the_place_of_the_earlier(self, stage: RunStage) -> None:
        run = await accepted(stage)
        news = news_of(await followed(stage, run), "partially_filled", filled="7", follow=FOLLOW)
        await stage.runs.record_news([news])
        order = await only_order(stage.runs, run)
        assert (order.state, order.report) == (S.ACCEPTED, news.report)
        assert order.order_status == "partially_filled"
        assert not await due(stage)
        await stage.pass_time(FOLLOW - SLACK)
        assert not await due(stage)
        await stage.pass_time(SLACK)
        [again] = await due(stage)
        assert again.report == news.report

    async def test_every_field_of_a_word_comes_back(self, stage: RunStage) -> None:
        run = await accepted(stage)
        order = await followed(stage, run)
        bare = OrderReport("filled", run.ids[0], filled_qty=Decimal(10))
        await stage.runs.record_news(
            [OrderNews(run.run_id, run.ids[0], order.report, bare, follow_seconds=1)]
        )
        assert (await only_order(stage.runs, run)).report == bare

    async def test_an_order_that_ended_is_followed_no_more(self, stage: RunStage) -> None:
        run = await accepted(stage)
        news = news_of(await followed(stage, run), "filled", filled="10")
        await stage.runs.record_news([news])
        await stage.pass_time(1_000_000)
        assert not await due(stage)
        assert not await stage.runs.live_orders(after=None, limit=10)
        assert (await stored(stage.runs, run.run_id)).tally.filled == 1

    async def test_no_news_moves_only_the_next_look(self, stage: RunStage) -> None:
        run = await accepted(stage)
        order = await followed(stage, run)
        before = await stored(stage.runs, run.run_id)
        await stage.runs.record_news([news_of(order, order.report.status, follow=2 * HOLD)])
        assert await stored(stage.runs, run.run_id) == before
        await stage.pass_time(HOLD + 1)
        assert not await due(stage)
        await stage.pass_time(HOLD)
        assert ids_in(await due(stage)) == list(run.ids)

    async def test_no_news_can_be_the_last_look(self, stage: RunStage) -> None:
        run = await accepted(stage, status="filled")
        order = await followed(stage, run)
        await stage.runs.record_news([news_of(order, "filled")])
        await stage.pass_time(1_000_000)
        assert not await due(stage)

    @pytest.mark.parametrize(
        ("status", "filled"), [("new", "1.50"), ("accepted", "1"), ("accepted", "0")]
    )
    async def test_a_word_that_was_not_compared_with_stays(
        self, stage: RunStage, status: str, filled: str
    ) -> None:
        run = await accepted(stage)
        order = await followed(stage, run)
        before = await stored(stage.runs, run.run_id)
        stale = evolve(
            order, report=evolve(order.report, status=status, filled_qty=Decimal(filled))
        )
        await stage.runs.record_news([news_of(stale, "filled", follow=10 * HOLD)])
        assert await stored(stage.runs, run.run_id) == before
        # Whoever recorded the other word said when the next look is.
        await stage.pass_time(HOLD + 1)
        assert ids_in(await due(stage)) == list(run.ids)

    async def test_recording_news_again_is_harmless(self, stage: RunStage) -> None:
        run = await accepted(stage)
        order = await followed(stage, run)
        first = news_of(order, "partially_filled", filled="7", follow=FOLLOW)
        await stage.runs.record_news([first])
        last = news_of(evolve(order, report=first.report), "filled", filled="10")
        await stage.runs.record_news([last])
        before = await stored(stage.runs, run.run_id)
        for news in (first, last):
            await stage.runs.record_news([news])
            assert await stored(stage.runs, run.run_id) == before

    async def test_life_after_a_rejection_is_shown_and_leaves_it_one(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        word = a_report(run.ids[0], "rejected")
        rejected = Settlement(run.ids[0], S.REJECTED, "no", report=word, follow_seconds=FOLLOW)
        await stage.runs.close_run(run.lease, a_closing(rejected))
        news = news_of(await followed(stage, run), "new", follow=FOLLOW)
        await stage.runs.record_news([news])
        assert (await only_order(stage.runs, run)).order_status == "new"
        assert not await stage.runs.live_orders(after=None, limit=10)
        news = news_of(await followed(stage, run), "filled", filled="10")
        await stage.runs.record_news([news])
        order = await only_order(stage.runs, run)
        assert (order.state, order.reason, order.report) == (S.REJECTED, "no", news.report)
        assert order.order_status == "filled"
        left = await stored(stage.runs, run.run_id)
        assert (left.status, left.tally.filled) == (RunStatus.FAILED, 0)
        assert not await stage.runs.live_orders(after=None, limit=10)

    async def test_news_of_several_runs_is_recorded_at_once(self, stage: RunStage) -> None:
        runs = [await accepted(stage, [f"A{n}", f"B{n}", f"C{n}"]) for n in range(3)]
        await stage.pass_time(FOLLOW + 1)
        orders = await due(stage)
        assert len(orders) == 9
        words = ["filled", "expired", "partially_filled"]
        await stage.runs.record_news(
            [news_of(each, words[place % 3]) for place, each in enumerate(orders)]
        )
        given = {each.intent.client_order_id: words[place % 3] for place, each in enumerate(orders)}
        for run in runs:
            shown = (await stored(stage.runs, run.run_id)).orders or ()
            assert [order.order_status for order in shown] == [given[id_] for id_ in run.ids]

    async def test_no_news_at_all_is_recorded(self, stage: RunStage) -> None:
        await stage.runs.record_news([])

    async def test_words_that_no_database_stores_do_not_hinder_news(self, stage: RunStage) -> None:
        run = await accepted(stage)
        order = await followed(stage, run)
        words = "a\x00b\ud800c\udfff"
        report = OrderReport(words, words, broker_order_id=words, message=words)
        await stage.runs.record_news(
            [OrderNews(run.run_id, run.ids[0], order.report, report, FOLLOW)]
        )
        again = await followed(stage, run)
        await stage.runs.record_news([news_of(again, "filled")])
        assert (await only_order(stage.runs, run)).order_status == "filled"

    async def test_an_outcome_recorded_again_leaves_the_news_of_it(self, stage: RunStage) -> None:
        run = await accepted(stage)
        await stage.runs.record_news([news_of(await followed(stage, run), "filled", filled="10")])
        before = await stored(stage.runs, run.run_id)
        await stage.runs.commit_wave(run.lease, (an_acceptance(run.ids[0]),), None)
        assert await stored(stage.runs, run.run_id) == before

    @pytest.mark.parametrize("knows", [False, True])
    async def test_news_before_a_run_is_closed_is_not_lost_by_closing(
        self, stage: RunStage, *, knows: bool
    ) -> None:
        run = await accepted(stage)
        closing = a_closing(an_acceptance(run.ids[0]))
        if knows:
            closing = evolve(closing, known=await stored(stage.runs, run.run_id))
        await stage.runs.record_news([news_of(await followed(stage, run), "filled", filled="10")])
        for _ in range(2):
            closed = await stage.runs.close_run(run.lease, closing)
            assert (closed.status, closed.tally.filled) == (RunStatus.COMPLETED, 1)
            assert await stored(stage.runs, run.run_id) == closed

    @pytest.mark.parametrize("closes", [False, True])
    async def test_an_adopter_shows_the_news_of_its_owner(
        self, stage: RunStage, *, closes: bool
    ) -> None:
        owner = await accepted(stage)
        adopter = await started(stage.runs)
        if closes:
            await stage.runs.close_run(adopter.lease, a_closing())
        news = news_of(await followed(stage, owner), "filled", filled="10")
        await stage.runs.record_news([news])
        order = await only_order(stage.runs, adopter)
        assert (order.state, order.report) == (S.ADOPTED, None)
        assert (order.order_status, order.public_report) == ("filled", news.report)
        run = await stored(stage.runs, adopter.run_id)
        assert (run.status, run.tally.filled) == (RunStatus.COMPLETED, 1)
        assert run.completed_at == (END if closes else None)

    async def test_news_and_closings_at_once_come_to_one_end(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        for attempt in range(15):
            symbols = [f"A{attempt}N0", f"A{attempt}N1"]
            owner = await accepted(stage, symbols)
            adopter = await started(stage.runs, symbols)
            await stage.pass_time(FOLLOW + 1)
            news = [news_of(order, "filled") for order in await due(stage)]
            calls = [
                _news_call(stage, news),
                _close_call(stage, adopter),
                _close_call(stage, owner),
            ]
            turned = calls[attempt % 3 :] + calls[: attempt % 3]
            assert await at_once(*turned) == [None] * 3
            for run_id in (owner.run_id, adopter.run_id):
                run = await stored(stage.runs, run_id)
                assert (run.status, run.tally.filled) == (RunStatus.COMPLETED, 2)
                assert run.completed_at == END


class CanceledCases:
    """Cases of orders that the gateway took and canceled."""

    @pytest.mark.parametrize("knows", [False, True])
    async def test_what_was_canceled_on_arrival_counts_as_rejected(
        self, stage: RunStage, *, knows: bool
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        adopter = await started(stage.runs, ["AAPL"])
        await stage.runs.close_run(adopter.lease, a_closing())
        closing = a_closing(an_acceptance(run.ids[0], "canceled"), an_acceptance(run.ids[1]))
        closed = await stage.runs.close_run(
            run.lease, await as_known(stage, run, closing) if knows else closing
        )
        orders = {o.intent.client_order_id: o for o in closed.orders or () if o.intent is not None}
        assert [orders[id_].canceled_on_arrival for id_ in run.ids] == [True, False]
        assert (closed.tally.accepted, closed.tally.rejected) == (1, 1)
        assert await stored(stage.runs, run.run_id) == closed
        for order in (await stored(stage.runs, adopter.run_id)).orders or ():
            assert order.intent is not None
            assert order.owner is not None
            owner = orders[order.intent.client_order_id]
            assert order.owner.canceled_on_arrival is owner.canceled_on_arrival

    async def test_what_is_canceled_later_stays_accepted(self, stage: RunStage) -> None:
        run = await accepted(stage)
        await stage.runs.close_run(run.lease, a_closing())
        await stage.runs.record_news([news_of(await followed(stage, run), "canceled")])
        order = await only_order(stage.runs, run)
        assert (order.order_status, order.canceled_on_arrival) == ("canceled", False)
        left = await stored(stage.runs, run.run_id)
        assert (left.status, left.tally.accepted) == (RunStatus.COMPLETED, 1)

    async def test_what_was_canceled_on_arrival_stays_so(self, stage: RunStage) -> None:
        run = await accepted(stage, status="canceled")
        news = news_of(await followed(stage, run), "filled", filled="10")
        await stage.runs.record_news([news])
        order = await only_order(stage.runs, run)
        assert (order.report, order.canceled_on_arrival) == (news.report, True)

    async def test_an_order_in_doubt_that_turns_out_canceled_counts_as_rejected(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        unknown = Settlement(run.ids[0], S.UNKNOWN, reason="?")
        await stage.runs.commit_wave(run.lease, (unknown,), None)
        closed = await stage.runs.close_run(
            run.lease, a_closing(an_acceptance(run.ids[0], "canceled"))
        )
        assert closed.status is RunStatus.FAILED
        assert (await only_order(stage.runs, run)).canceled_on_arrival


def _news_call(stage: RunStage, news: list[OrderNews]) -> Callable[[], Awaitable[None]]:
    return lambda: stage.runs.record_news(news)


def _close_call(stage: RunStage, run: StartedRun) -> Callable[[], Awaitable[None]]:
    async def call() -> None:
        await stage.runs.close_run(run.lease, a_closing())

    return call
