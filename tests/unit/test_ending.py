"""What an operator may say of an accepted order that the gateway has lost."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest
from attrs import evolve, field, frozen

from orchestrator_core.commits import OrderNews
from orchestrator_core.driver import run_sync
from orchestrator_core.ending import Ending, end_order, look_at_live_orders
from orchestrator_core.errors import InvalidRequest, Unavailable
from orchestrator_core.identifiers import ClientOrderId, StrategyId
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.model import OrderReport
from orchestrator_core.orders import Order
from orchestrator_core.ports import LookUp, LookUpKind, RunRepository, SubmitKind
from orchestrator_core.runs import Run
from orchestrator_core.tracking import follow_orders
from tests.unit.builders import TODAY
from tests.unit.world import World, accepted, outcome

DAY = timedelta(days=1).total_seconds()


@frozen
class NewsBetween:
    """A run database where other news is recorded just before what is to be recorded."""

    inner: RunRepository
    status: str = field()

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)

    async def record_news(self, news: Sequence[OrderNews]) -> None:
        [ours] = news
        report = evolve(ours.before, status=self.status, filled_qty=Decimal(7))
        await self.inner.record_news([evolve(ours, report=report)])
        await self.inner.record_news(news)


def live_world(status: str = "accepted") -> World:
    """Return a world of one accepted order that the gateway has no record of any more."""
    world = World({"A": 0.1})
    world.script("A", lambda intent: accepted(intent, status=status))
    world.run()
    look(world, LookUpKind.ABSENT)
    return world


def order_of(world: World) -> Order:
    [order] = world.stored().orders or ()
    return order


def id_of(world: World) -> ClientOrderId:
    intent = order_of(world).intent
    assert intent is not None
    return intent.client_order_id


def look(world: World, kind: LookUpKind, status: str | None = None) -> None:
    report = None if status is None else OrderReport(status, id_of(world), "b-1")
    world.sink.looks["A"] = [LookUp(id_of(world), kind, report=report, cause="looked")]


def end(world: World, *, stands_untold: bool = False, id_: str | None = None) -> Run:
    named = id_of(world) if id_ is None else ClientOrderId(id_)
    ending = Ending(named, "ann", "statement 7", stands_untold=stands_untold)
    return run_sync(end_order(ending, ports=world.ports, strategy_id=world.policy.strategy_id))


def open_in_book(world: World) -> int:
    book = run_sync(world.runs.read_book(world.policy.strategy_id, TODAY))
    return len(book.open_orders)


def test_an_order_that_the_gateway_lost_is_ended_with_who_said_so_and_why() -> None:
    world = live_world()
    assert open_in_book(world) == 1
    run = end(world)
    [order] = run.orders or ()
    assert (order.state, order.order_status) == (OrderState.ACCEPTED, "canceled")
    assert order.report is not None
    assert order.report.message == "ended by ann: statement 7"
    assert (run.status, run.tally.accepted) == (RunStatus.COMPLETED, 1)


def test_an_ended_order_holds_nothing_up_and_is_never_asked_about_again() -> None:
    world = live_world()
    end(world)
    assert open_in_book(world) == 0
    assert run_sync(world.runs.live_orders(after=None, limit=9)) == ()
    world.clock.advance(DAY)
    done = run_sync(
        follow_orders(sink=world.sink, runs=world.runs, strategy_id=world.policy.strategy_id)
    )
    assert done.looked == 0


def test_what_was_filled_stays_as_it_was_last_heard_of() -> None:
    world = live_world("partially_filled")
    [order] = run_sync(world.runs.live_orders(after=None, limit=9))
    report = evolve(order.report, filled_qty=Decimal(40), filled_avg_price=Decimal("99.5"))
    news = OrderNews(order.run_id, id_of(world), order.report, report, follow_seconds=1.0)
    run_sync(world.runs.record_news([news]))
    end(world)
    ended = order_of(world).report
    assert ended is not None
    assert (ended.status, ended.filled_qty) == ("canceled", Decimal(40))
    assert ended.filled_avg_price == Decimal("99.5")


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [
        (LookUpKind.ACCEPTED, "new", "as accepted \\(new\\)"),
        (LookUpKind.ACCEPTED, "filled", "as accepted \\(filled\\)"),
        (LookUpKind.REJECTED, "rejected", "as rejected \\(rejected\\)"),
        (LookUpKind.UNCLEAR, "held", "as unclear \\(held\\)"),
        (LookUpKind.CONFLICT, None, "as conflict \\(looked\\)"),
    ],
)
@pytest.mark.parametrize("stands_untold", [False, True])
def test_the_gateways_own_record_is_not_overruled(
    kind: LookUpKind, status: str | None, said: str, stands_untold: bool
) -> None:
    world = live_world()
    look(world, kind, status)
    with pytest.raises(InvalidRequest, match=f"the gateway has the order on record, {said}"):
        end(world, stands_untold=stands_untold)
    assert order_of(world).order_status == "accepted"
    assert open_in_book(world) == 1


@pytest.mark.parametrize("kind", [LookUpKind.UNANSWERED, LookUpKind.UNCLEAR])
def test_a_gateway_that_cannot_tell_is_gone_without_only_where_that_is_said(
    kind: LookUpKind,
) -> None:
    world = live_world()
    look(world, kind)
    with pytest.raises(Unavailable) as caught:
        end(world)
    assert (caught.value.port, caught.value.cause) == ("orders", "looked")
    assert order_of(world).order_status == "accepted"
    end(world, stands_untold=True)
    report = order_of(world).report
    assert report is not None
    assert report.message == "ended by ann, the gateway telling nothing: statement 7"


@pytest.mark.parametrize("status", ["filled", "partially_filled"])
def test_news_that_came_in_between_stands(status: str) -> None:
    world = live_world()
    world.set_ports(runs=NewsBetween(world.runs, status))
    with pytest.raises(InvalidRequest, match=f"news of the order meanwhile: {status}"):
        end(world)
    assert order_of(world).order_status == status


def test_only_an_accepted_order_that_has_not_ended_can_be_ended() -> None:
    ended = live_world("filled")
    unknown = World({"A": 0.1})
    unknown.script("A", outcome(SubmitKind.UNKNOWN, cause="reset"))
    unknown.run()
    for world, id_ in ((ended, None), (unknown, None), (ended, "unheard-of")):
        with pytest.raises(
            InvalidRequest, match="alpha has no accepted order of this id that has not"
        ):
            end(world, id_=id_)


def test_a_second_word_finds_the_order_ended() -> None:
    world = live_world()
    end(world)
    with pytest.raises(InvalidRequest, match="alpha has no accepted order of this id that has not"):
        end(world)


def test_another_strategys_order_is_neither_ended_nor_asked_about() -> None:
    world = live_world()
    world.policy = evolve(world.policy, strategy_id=StrategyId("beta"))
    with pytest.raises(InvalidRequest, match="beta has no accepted order"):
        end(world)
    assert run_sync(look_at_live_orders(world.ports, world.policy.strategy_id)) == ()
    assert world.sink.looked_up == []
    assert order_of(world).order_status == "accepted"


def test_live_orders_are_told_with_what_the_gateway_says_now() -> None:
    world = World({"A": 0.1, "B": 0.1, "C": 0.1})
    for symbol in "AB":
        world.script(symbol, lambda intent: accepted(intent, status="accepted"))
    world.script("C", lambda intent: accepted(intent, status="filled"))
    world.run()
    world.sink.looks["A"] = [LookUp(ClientOrderId("x"), LookUpKind.ABSENT)]
    found = run_sync(look_at_live_orders(world.ports, world.policy.strategy_id))
    assert {each.order.intent.symbol: each.is_lost for each in found} == {"A": True, "B": False}
