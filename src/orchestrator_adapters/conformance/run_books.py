"""Books: what plans depend on of earlier ones, and that two plans never spend the same twice."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from decimal import Decimal

import pytest
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    DAY,
    START,
    TRADING,
    StartedRun,
    a_closing,
    a_record,
    a_request,
    a_settlement,
    a_signal,
    an_opening,
    at_once,
    ids_of,
    let_trade,
    opened,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_followings import accepted, an_acceptance, due, news_of
from orchestrator_adapters.conformance.run_recoveries import BETA
from orchestrator_adapters.conformance.run_stage import RunStage
from orchestrator_core.books import DayOrder, StrategyBook
from orchestrator_core.commits import PlanCommit, PlanRecord, RunOpening, WaveClaim
from orchestrator_core.identifiers import ClientOrderId, StrategyId, Symbol
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.limits import Limits
from orchestrator_core.model import Contribution, Side, Signal
from orchestrator_core.orders import Settlement

S = OrderState
NEXT_DAY = DAY + timedelta(days=1)


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
        assert (await book(stage, BETA)).version == 0

    async def test_a_plan_that_does_not_depend_on_the_book_leaves_it(self, stage: RunStage) -> None:
        await started(stage.runs)
        assert (await book(stage)).version == 0

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
        claim = WaveClaim(1, ids_of(record), TRADING.epoch)
        commit = await stage.runs.commit_plan(lease, record, claim)
        assert commit == PlanCommit((), is_stale=True)
        assert (await stored(stage.runs, opening.run_id)).orders is None
        assert (await book(stage)).version == 1
        assert not set(ids_of(record)) & set(await ids_in_book(stage))
        again = await stage.runs.commit_plan(lease, booked(record, 1), claim)
        assert again.answer.claimed == ids_of(record)
        assert (await book(stage)).version == 2

    async def test_a_version_of_no_book_is_another(self, stage: RunStage) -> None:
        opening = keyed("first")
        lease = await opened(stage.runs, opening)
        commit = await stage.runs.commit_plan(lease, booked(a_record(opening), 1), None)
        assert commit.is_stale
        assert (await book(stage)).version == 0

    async def test_a_plan_that_is_stored_already_is_never_stale(self, stage: RunStage) -> None:
        opening = keyed("first")
        record = booked(a_record(opening), 0)
        run = await started(stage.runs, opening=opening, record=record)
        other = keyed("second")
        await started(stage.runs, opening=other, record=booked(a_record(other), 1))
        again = await stage.runs.commit_plan(run.lease, record, None)
        assert (again.is_stale, again.orders) == (False, run.orders)
        assert (await book(stage)).version == 2

    async def test_of_plans_from_one_version_at_once_one_is_stored(self, stage: RunStage) -> None:
        openings = [keyed(f"k{n}") for n in range(6)]
        leases = [await opened(stage.runs, opening) for opening in openings]

        def commit(place: int) -> Callable[[], Awaitable[PlanCommit]]:
            record = booked(a_record(openings[place]), 0)
            return lambda: stage.runs.commit_plan(leases[place], record, None)

        answers = await at_once(*map(commit, range(6)))
        commits = [answer for answer in answers if isinstance(answer, PlanCommit)]
        assert len(commits) == 6
        assert [commit.is_stale for commit in commits].count(False) == 1
        assert (await book(stage)).version == 1
        assert len(await ids_in_book(stage)) == 1

    async def test_books_of_two_strategies_do_not_meet(self, stage: RunStage) -> None:
        for strategy in (ALPHA, BETA):
            opening = keyed("k", strategy=strategy)
            run = await started(stage.runs, opening=opening, record=booked(a_record(opening), 0))
            assert run.orders


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

    @pytest.mark.parametrize("state", [S.REJECTED, S.NOT_PLACED])
    async def test_an_order_that_was_refused_is_no_open_one(
        self, stage: RunStage, state: OrderState
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        await stage.runs.close_run(run.lease, a_closing(a_settlement(run.ids[0], state)))
        assert await ids_in_book(stage) == []

    async def test_a_run_keeps_what_its_orders_were_sized_with(self, stage: RunStage) -> None:
        parts = tuple(
            Contribution(StrategyId(name), Decimal(share), 0.02, 3, weight)
            for name, share, weight in (("a", "0.50", 0.04), ("b", "0.25", -0.04))
        )
        signal = Signal(Symbol("A"), 0.01, 1, 0.01, contributions=parts)
        opening = an_opening(("A", "B"))
        record = a_record(opening, [signal, a_signal("B", 0.0)], prices={"A": "100.010"})
        run = await started(stage.runs, opening=opening, record=record)
        kept = await stored(stage.runs, run.run_id)
        assert kept.orders == run.orders
        assert kept.orders is not None
        assert kept.orders[0].price == Decimal("100.010")
        assert kept.orders[0].signal == signal
        assert kept.orders[1].price is None
        assert kept.orders[1].signal.contributions == ()


class ReferenceCases:
    """Cases of `last_accepted`."""

    async def test_a_symbol_that_was_never_accepted_has_no_reference(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ("A", "B"), claims=True)
        await stage.runs.commit_wave(run.lease, [a_settlement(run.ids[0], S.REJECTED)], None)
        assert await stage.runs.last_accepted([Symbol("A"), Symbol("B"), Symbol("Z")]) == {}

    async def test_the_latest_accepted_order_gives_the_reference(self, stage: RunStage) -> None:
        await self._accept(stage, "first", "100.10")
        await stage.pass_time(60)
        await self._accept(stage, "second", "101.25", strategy=BETA)
        found = await stage.runs.last_accepted([Symbol("AAPL"), Symbol("Z")])
        assert {s: (r.price, r.source) for s, r in found.items()} == {
            Symbol("AAPL"): (Decimal("101.25"), "last_accepted")
        }
        assert found[Symbol("AAPL")].as_of.tzinfo is START.tzinfo

    async def test_no_symbols_have_no_references(self, stage: RunStage) -> None:
        assert await stage.runs.last_accepted([]) == {}

    async def _accept(
        self, stage: RunStage, key: str, price: str, *, strategy: StrategyId = ALPHA
    ) -> StartedRun:
        if await stage.runs.read_latch() is None:
            await let_trade(stage.runs)
        opening = keyed(key, strategy=strategy)
        record = a_record(opening, prices={"AAPL": price})
        run = await started(stage.runs, opening=opening, record=record, claims=True)
        outcomes: list[Settlement] = [an_acceptance(id_, "filled") for id_ in run.ids]
        await stage.runs.commit_wave(run.lease, outcomes, None)
        return run
