"""How the gateway's word on an order moves, and when it is asked for."""

from decimal import Decimal
from itertools import pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.commits import FollowedOrder
from orchestrator_core.driver import run_sync
from orchestrator_core.model import OrderReport
from orchestrator_core.ports import LookUp, LookUpKind
from orchestrator_core.tracking import (
    FIRST_LOOK_SECONDS,
    LAST_LOOK_SECONDS,
    Round,
    advance_report,
    first_follow_seconds,
    follow_orders,
    has_ended,
)
from tests.unit.world import World, accepted

WORDS = [
    "pending_new", "accepted", "new", "partially_filled", "filled", "canceled", "expired",
    "rejected", "replaced", "done_for_day", "failed", "a word of tomorrow",
]  # fmt: skip


def a_word(status: str = "accepted", filled: str = "0", **details: object) -> OrderReport:
    report = OrderReport(status, "o1", broker_order_id="b-1", filled_qty=Decimal(filled))
    return evolve(report, **details)  # type: ignore[arg-type]


reports = st.builds(a_word, st.sampled_from(WORDS), st.integers(0, 9).map(str))


@pytest.mark.parametrize(
    ("before", "latest", "moves"),
    [
        (a_word(), a_word("new"), True),
        (a_word(), a_word("partially_filled", "3"), True),
        (a_word("partially_filled", "3"), a_word("partially_filled", "5"), True),
        (a_word("partially_filled", "5"), a_word("partially_filled", "3"), False),
        (a_word("partially_filled", "3"), a_word("accepted"), False),
        (a_word("partially_filled", "3"), a_word("filled", "9"), True),
        (a_word("filled", "9"), a_word("accepted"), False),
        (a_word("filled", "9"), a_word("partially_filled", "9"), False),
        (a_word("canceled"), a_word("filled", "9"), True),
        (a_word("rejected"), a_word("accepted"), False),
        (a_word("rejected"), a_word("partially_filled", "1"), True),
        (a_word(), a_word("failed"), False),
        (a_word(), a_word("a word of tomorrow", "9"), False),
        (a_word("a word of yesterday"), a_word("accepted"), True),
    ],
)
def test_the_gateways_word_moves_forward_only(
    before: OrderReport, latest: OrderReport, moves: bool
) -> None:
    after = advance_report(before, latest)
    assert after == (latest if moves else before)


def test_what_a_later_word_leaves_out_stays_known() -> None:
    before = a_word("partially_filled", "3", filled_avg_price=Decimal("9.5"), message="hm")
    latest = OrderReport("canceled", "theirs", filled_qty=Decimal(3))
    assert advance_report(before, latest) == OrderReport(
        "canceled", "o1", "b-1", Decimal(3), Decimal("9.5"), "hm"
    )


@given(st.lists(reports, max_size=8), reports)
def test_no_order_of_answers_takes_fills_back_or_an_end(
    answers: list[OrderReport], first: OrderReport
) -> None:
    word = first
    for answer in answers:
        before, word = word, advance_report(word, answer)
        assert word.filled_qty >= before.filled_qty
        if has_ended(before.status) and word.filled_qty == before.filled_qty:
            assert has_ended(word.status)
        assert advance_report(word, answer) == word


@pytest.mark.parametrize(
    ("report", "seconds"),
    [
        (None, None),
        (a_word("dry_run"), None),
        (a_word("accepted"), FIRST_LOOK_SECONDS),
        (a_word("partially_filled", "1"), FIRST_LOOK_SECONDS),
        (a_word("filled", "9"), LAST_LOOK_SECONDS),
        (a_word("rejected"), LAST_LOOK_SECONDS),
    ],
)
def test_an_order_is_first_asked_about_by_its_first_word(
    report: OrderReport | None, seconds: float | None
) -> None:
    assert first_follow_seconds(report) == seconds


def a_world() -> World:
    world = World({"A": 0.1})
    world.script("A", lambda intent: accepted(intent, status="accepted"))
    world.run()
    return world


def say(world: World, status: str, filled: str = "0", kind: str = "accepted") -> None:
    [order] = world.stored().orders or ()
    assert order.intent is not None
    id_ = order.intent.client_order_id
    report = OrderReport(status, id_, "b-A", Decimal(filled))
    is_told = kind in {"accepted", "rejected", "unclear"}
    world.sink.looks["A"] = [LookUp(id_, LookUpKind(kind), report=report if is_told else None)]


def follow(world: World) -> Round:
    return run_sync(
        follow_orders(sink=world.sink, runs=world.runs, strategy_id=world.policy.strategy_id)
    )


def test_nothing_is_asked_before_its_time() -> None:
    world = a_world()
    assert follow(world) == Round()
    assert not world.sink.looked_up
    world.clock.advance(FIRST_LOOK_SECONDS)
    say(world, "accepted")
    assert follow(world).looked == 1


def test_a_fill_comes_true_in_the_run() -> None:
    world = a_world()
    world.clock.advance(1)
    say(world, "filled", "100")
    assert follow(world) == Round(looked=1, ended=1, filled_qty=Decimal(100))
    [order] = world.stored().orders or ()
    assert order.order_status == "filled"
    assert world.stored().tally.filled == 1


def test_an_order_that_has_ended_is_looked_at_once_more_and_then_left() -> None:
    world = a_world()
    world.clock.advance(1)
    say(world, "filled", "100")
    follow(world)
    world.clock.advance(LAST_LOOK_SECONDS - 1)
    assert follow(world).looked == 0
    world.clock.advance(1)
    assert follow(world) == Round(looked=1)
    world.clock.advance(10_000)
    assert follow(world).looked == 0


def test_life_after_the_end_is_recorded_and_told() -> None:
    world = a_world()
    world.clock.advance(1)
    say(world, "canceled")
    follow(world)
    world.clock.advance(LAST_LOOK_SECONDS)
    say(world, "filled", "100")
    told = follow(world)
    assert [(each.before.status, each.report.status) for each in told.revived] == [
        ("canceled", "filled")
    ]
    assert world.stored().tally.filled == 1


def test_an_order_canceled_later_stays_accepted_and_one_canceled_on_arrival_does_not() -> None:
    world = a_world()
    world.clock.advance(1)
    say(world, "canceled")
    follow(world)
    assert (world.stored().tally.accepted, world.stored().tally.rejected) == (1, 0)
    world.script("A", lambda intent: accepted(intent, status="canceled"))
    world.run(rebalance_key="again")
    assert (world.stored(2).tally.accepted, world.stored(2).tally.rejected) == (0, 1)


def test_pauses_grow_to_a_cap() -> None:
    world = a_world()
    say(world, "accepted")
    looks = []
    for second in range(1, 600):
        world.clock.advance(1)
        if follow(world).looked:
            looks.append(second)
    pauses = [later - earlier for earlier, later in pairwise(looks)]
    assert pauses == sorted(pauses)
    assert pauses[0] <= 2
    assert pauses[-1] == LAST_LOOK_SECONDS
    assert len(looks) < 25


@pytest.mark.parametrize("kind", ["absent", "conflict", "unanswered"])
def test_an_answer_that_says_nothing_changes_nothing(kind: str) -> None:
    world = a_world()
    world.clock.advance(1)
    say(world, "filled", "100", kind=kind)
    before = world.stored()
    told = follow(world)
    assert (told.looked, told.unanswered, told.ended) == (1, 1, 0)
    assert world.stored() == before


def test_a_gateway_that_wants_to_be_left_alone_is() -> None:
    world = a_world()
    world.clock.advance(1)
    say(world, "accepted", kind="unanswered")
    world.sink.looks["A"] = [evolve(world.sink.looks["A"][0], retry_after=500.0)]
    follow(world)
    world.clock.advance(499)
    assert follow(world).looked == 0
    world.clock.advance(1)
    assert follow(world).looked == 1


def test_another_strategys_orders_are_left_to_it() -> None:
    world = a_world()
    world.clock.advance(1)
    other = type(world.policy.strategy_id)("beta")
    assert run_sync(follow_orders(sink=world.sink, runs=world.runs, strategy_id=other)) == Round()


def test_an_order_is_asked_about_under_the_gateways_own_id() -> None:
    world = World({"A": 0.1})

    def blind(intent: object) -> object:
        outcome = accepted(intent, status="accepted")  # type: ignore[arg-type]
        assert outcome.report is not None
        return evolve(outcome, report=evolve(outcome.report, gateway_order_id="theirs"))

    world.script("A", blind)  # type: ignore[arg-type]
    world.run()
    world.clock.advance(1)
    [followed] = run_sync(
        world.runs.take_followed(world.policy.strategy_id, limit=9, hold_seconds=1.0)
    )
    assert isinstance(followed, FollowedOrder)
    assert followed.report.gateway_order_id == "theirs"
