"""Books: what plans depend on of earlier ones."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal

import pytest
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    DAY,
    TRADING,
    a_closing,
    a_record,
    a_request,
    a_settlement,
    a_signal,
    an_opening,
    let_trade,
    started,
)
from orchestrator_adapters.conformance.run_closings import outcomes_of
from orchestrator_adapters.conformance.run_followings import (
    FOLLOW,
    accepted,
    an_acceptance,
    due,
    news_of,
)
from orchestrator_adapters.conformance.run_recoveries import BETA
from orchestrator_adapters.conformance.run_stage import RunStage, taken_over
from orchestrator_core.books import DayOrder, StrategyBook
from orchestrator_core.commits import PlanRecord, RunOpening, WaveClaim
from orchestrator_core.errors import IllegalTransition
from orchestrator_core.identifiers import ClientOrderId, StrategyId, Symbol
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.limits import Limits
from orchestrator_core.model import Side

S = OrderState
NEXT_DAY = DAY + timedelta(days=1)
FIFTY = Decimal(50)


def booked(record: PlanRecord, version: int) -> PlanRecord:
    """Return the plan as one that was made from that version of the book."""
    return evolve(record, book_version=version)


def keyed(
    key: str, symbols: Sequence[str] = ("AAPL",), *, strategy: StrategyId = ALPHA
) -> RunOpening:
    """Return the opening of a further rebalance."""
    request = a_request(symbols, rebalance_key=key)
    return an_opening(symbols, strategy=strategy, request=request)


async def book(stage: RunStage, strategy: StrategyId = ALPHA) -> StrategyBook:
    """Return a strategy's book of the day."""
    return await stage.runs.read_book(strategy, DAY)


async def ids_in_book(stage: RunStage, strategy: StrategyId = ALPHA) -> list[ClientOrderId]:
    """Return the ids of the open orders in a book."""
    found = await book(stage, strategy)
    return [order.intent.client_order_id for order in found.open_orders]


async def in_every_state(stage: RunStage) -> Mapping[ClientOrderId, OrderState]:
    """Have a run with an order in each state that an outcome or a claim leads to."""
    await let_trade(stage.runs)
    ends = [S.SENDING, S.ACCEPTED, S.REJECTED, S.NOT_PLACED, S.CONFLICT, S.UNKNOWN, S.UNRESOLVED]
    run = await started(stage.runs, [f"S{place}" for place in range(len(ends) + 3)])
    deferred, halted, _ = run.ids[len(ends) :]
    claim = WaveClaim(1, run.ids[: len(ends) + 1], TRADING.epoch)
    await stage.runs.commit_wave(run.lease, (), claim)
    sent = outcomes_of(run, [S.UNKNOWN if state is S.UNRESOLVED else state for state in ends])[1:]
    waiting = [a_settlement(deferred, S.PLANNED), a_settlement(halted, S.HALTED)]
    await stage.runs.commit_wave(run.lease, [*sent, *waiting], None)
    unresolved = a_settlement(run.ids[len(ends) - 1], S.UNRESOLVED)
    await stage.runs.commit_wave(run.lease, [unresolved], None)
    return dict(zip(run.ids, [*ends, S.PLANNED, S.HALTED, S.PLANNED], strict=True))


class BookCases:
    """Cases of what a book holds."""

    async def test_a_day_holds_what_may_fill_or_has(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        symbols = ("A", "B", "C", "D", "E")
        opening = an_opening(symbols)
        signals = [a_signal(symbol, -0.01 if symbol == "B" else 0.01) for symbol in symbols]
        run = await started(
            stage.runs,
            opening=opening,
            record=a_record(opening, signals, prices=dict.fromkeys(symbols, "99.95")),
            claims=True,
        )
        states = [S.ACCEPTED, S.UNKNOWN, S.REJECTED, S.NOT_PLACED]
        outcomes = [a_settlement(id_, state) for id_, state in zip(run.ids, states, strict=False)]
        await stage.runs.commit_wave(run.lease, outcomes, None)
        notional = 10 * Decimal("99.95")
        held = [run.ids[0], run.ids[1], run.ids[4]]
        intents = {intent.client_order_id: intent for intent in run.record.plan.intents}
        assert list((await book(stage)).day_orders) == [
            DayOrder(id_, intents[id_].side, notional) for id_ in sorted(held)
        ]
        assert {order.side for order in (await book(stage)).day_orders} == {Side.BUY, Side.SELL}

    async def test_what_counts_follows_from_the_state(self, stage: RunStage) -> None:
        states = await in_every_state(stage)
        gone = {S.REJECTED, S.NOT_PLACED, S.HALTED}
        left = sorted(id_ for id_, state in states.items() if state not in gone)
        found = await book(stage)
        assert [order.client_order_id for order in found.day_orders] == left
        assert [(o.intent.client_order_id, o.state) for o in found.open_orders] == [
            (id_, states[id_]) for id_ in left
        ]

    async def test_a_day_leaves_out_what_was_never_to_be_sent(self, stage: RunStage) -> None:
        limits = Limits(restricted_symbols=frozenset({Symbol("A")}))
        opening = an_opening(("A", "B", "C"))
        signals = [a_signal("A"), a_signal("B"), a_signal("C", 0.0)]
        run = await started(
            stage.runs, opening=opening, record=a_record(opening, signals, limits=limits)
        )
        adopting = an_opening(("B",))
        adopter = await started(stage.runs, opening=adopting)
        assert adopter.orders[0].state is S.ADOPTED
        assert [order.client_order_id for order in (await book(stage)).day_orders] == [*run.ids]
        assert await ids_in_book(stage) == [*run.ids]

    async def test_what_a_dry_run_planned_is_in_no_book(self, stage: RunStage) -> None:
        opening = an_opening(request=a_request(dry_run=True))
        run = await started(stage.runs, opening=opening)
        assert [(order.state, order.intent is None) for order in run.orders] == [(S.SKIPPED, False)]
        assert await book(stage) == StrategyBook(version=0)

    async def test_an_id_that_was_let_go_is_in_the_book_as_its_next_holders(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        first = await started(stage.runs, claims=True)
        parked = a_settlement(first.ids[0], S.NOT_PLACED)
        await stage.runs.close_run(first.lease, a_closing(parked))
        opening = an_opening()
        record = a_record(opening, prices={"AAPL": "50"})
        second = await started(stage.runs, opening=opening, record=record)
        [intent] = second.record.plan.intents
        found = await book(stage)
        assert [order.intent for order in found.open_orders] == [intent]
        assert found.day_orders == (DayOrder(intent.client_order_id, Side.BUY, intent.qty * FIFTY),)

    async def test_a_day_is_one_strategys_and_one_dates(self, stage: RunStage) -> None:
        await started(stage.runs)
        assert (await book(stage, BETA)).day_orders == ()
        assert (await stage.runs.read_book(ALPHA, NEXT_DAY)).day_orders == ()
        opening = an_opening()
        await started(stage.runs, opening=opening, record=a_record(opening, as_of_date=NEXT_DAY))
        assert len((await stage.runs.read_book(ALPHA, NEXT_DAY)).day_orders) == 1
        assert len((await book(stage)).day_orders) == 1

    async def test_open_orders_are_those_of_every_strategy(self, stage: RunStage) -> None:
        first = await accepted(stage)
        second = await accepted(stage, strategy=BETA)
        planned = await started(stage.runs, ("MSFT",))
        everything = sorted([*first.ids, *second.ids, *planned.ids])
        assert await ids_in_book(stage) == await ids_in_book(stage, BETA) == everything

    async def test_an_open_order_comes_with_its_state_and_word(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ("A", "B", "C"), claims=True)
        outcomes = [an_acceptance(run.ids[0]), a_settlement(run.ids[1], S.UNKNOWN)]
        await stage.runs.commit_wave(run.lease, outcomes, None)
        orders = {o.intent.client_order_id: o for o in (await book(stage)).open_orders}
        assert [orders[id_].state for id_ in run.ids] == [S.ACCEPTED, S.UNKNOWN, S.SENDING]
        assert orders[run.ids[0]].report == outcomes[0].report
        assert orders[run.ids[1]].report is None
        assert [orders[id_].intent for id_ in run.ids] == list(run.record.plan.intents)

    @pytest.mark.parametrize(
        ("status", "count"),
        [("accepted", 1), ("partially_filled", 1), ("filled", 0), ("canceled", 0)],
    )
    async def test_an_order_that_has_ended_is_no_open_one(
        self, stage: RunStage, status: str, count: int
    ) -> None:
        run = await accepted(stage, status=status)
        assert await ids_in_book(stage) == [*run.ids][:count]

    async def test_an_order_that_no_gateway_holds_is_no_open_one(self, stage: RunStage) -> None:
        await accepted(stage, status="dry_run", follow=None)
        assert await ids_in_book(stage) == []

    async def test_an_order_that_ends_later_is_open_until_then(self, stage: RunStage) -> None:
        run = await accepted(stage)
        await stage.pass_time(60)
        [followed] = await due(stage)
        await stage.runs.record_news([news_of(followed, "partially_filled", filled="5")])
        [order] = (await book(stage)).open_orders
        assert order.report is not None
        assert order.report.filled_qty == 5
        await stage.pass_time(60)
        followed = evolve(followed, report=order.report)
        await stage.runs.record_news([news_of(followed, "filled", filled="10")])
        assert await ids_in_book(stage) == []
        assert [order.client_order_id for order in (await book(stage)).day_orders] == [*run.ids]

    async def test_an_order_that_lives_on_after_its_end_is_open_again(
        self, stage: RunStage
    ) -> None:
        await accepted(stage, status="canceled")
        assert await ids_in_book(stage) == []
        await stage.pass_time(FOLLOW)
        [followed] = await due(stage)
        revived = news_of(followed, "partially_filled", filled="5", follow=FOLLOW)
        await stage.runs.record_news([revived])
        [order] = (await book(stage)).open_orders
        assert order.report == revived.report

    async def test_an_order_of_a_run_that_is_closed_is_open_until_it_ends(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ("A", "B"), claims=True)
        words = zip(run.ids, ("accepted", "filled"), strict=True)
        outcomes = [an_acceptance(id_, word) for id_, word in words]
        closed = await stage.runs.close_run(run.lease, a_closing(*outcomes))
        assert closed.completed_at is not None
        assert await ids_in_book(stage) == [run.ids[0]]
        assert len((await book(stage)).day_orders) == 2

    async def test_what_was_being_sent_by_a_lost_holder_is_in_doubt(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        await taken_over(stage, run.run_id)
        assert [order.state for order in (await book(stage)).open_orders] == [S.UNKNOWN]

    async def test_outcomes_of_which_one_is_forbidden_leave_the_book(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ("A", "B"), claims=True)
        before = await book(stage)
        outcomes = [an_acceptance(run.ids[0], follow=0.0), a_settlement(run.ids[1], S.HALTED)]
        with pytest.raises(IllegalTransition):
            await stage.runs.commit_wave(run.lease, outcomes, None)
        assert await book(stage) == before
        assert list(await due(stage)) == []

    @pytest.mark.parametrize("state", [S.REJECTED, S.NOT_PLACED])
    async def test_an_order_that_was_refused_is_no_open_one(
        self, stage: RunStage, state: OrderState
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        await stage.runs.close_run(run.lease, a_closing(a_settlement(run.ids[0], state)))
        assert await ids_in_book(stage) == []
