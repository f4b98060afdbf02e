"""Canceling what is live once trading was stopped, and the history that outlives its store."""

from collections.abc import Sequence

import pytest
from attrs import evolve

from orchestrator_core.canceling import Canceling, cancel_live_orders
from orchestrator_core.driver import run_sync
from orchestrator_core.engaging import AlreadyInState, EngageAnswer, disengage, engage
from orchestrator_core.errors import Unavailable
from orchestrator_core.halting import follow, read_switch
from orchestrator_core.history import read_history
from orchestrator_core.kill_switch import Disengagement, Engagement, HistoryEntry, SwitchEvent
from orchestrator_core.ports import OrderSink
from tests.unit.world import World, accepted


def a_world(**weights: float) -> World:
    world = World(weights or {"A": 0.1, "B": 0.1})
    for symbol in world.weights:
        world.script(symbol, lambda intent: accepted(intent, status="accepted"))
    return world


def stop(
    world: World, operator: str = "ann", *, cancel_at: OrderSink | None = None
) -> EngageAnswer:
    world.clock.advance(1)
    return run_sync(
        engage(
            Engagement(operator, "odd fills", world.clock.now(), details={"book": 7}),
            kill_switch=world.kill_switch,
            runs=world.runs,
            clock=world.clock,
            wait_seconds=0.0,
            cancel_at=cancel_at,
        )
    )


def release(world: World, operator: str = "bob") -> None:
    world.clock.advance(1)
    run_sync(
        disengage(
            Disengagement(operator, world.clock.now(), "checked"),
            kill_switch=world.kill_switch,
            runs=world.runs,
        )
    )


def history(world: World, limit: int = 100) -> tuple[HistoryEntry, ...]:
    return run_sync(read_history(world.kill_switch, world.runs, limit=limit))


def told(entries: Sequence[HistoryEntry]) -> list[tuple[str, str]]:
    return [(entry.event.value, entry.operator) for entry in entries]


def test_live_orders_are_canceled_only_when_that_was_asked_for() -> None:
    world = a_world()
    world.run()
    assert stop(world).canceling is None
    assert not world.sink.canceled
    release(world)
    answer = stop(world, cancel_at=world.sink)
    assert answer.canceling == Canceling(requested=2)
    assert {intent.symbol for intent in world.sink.canceled} == {"A", "B"}


def test_a_switch_that_is_engaged_already_still_cancels() -> None:
    world = a_world()
    world.run()
    stop(world)
    with pytest.raises(AlreadyInState):
        stop(world)
    answer = stop(world, cancel_at=world.sink)
    assert answer.canceling == Canceling(requested=2)
    assert answer.durable
    assert answer.shared


def test_what_cannot_be_canceled_is_told() -> None:
    world = a_world()
    world.run()
    world.sink.stuck = frozenset({"A"})
    canceling = stop(world, cancel_at=world.sink).canceling
    assert canceling is not None
    assert (canceling.requested, len(canceling.failed)) == (1, 1)


def test_every_page_of_live_orders_is_gone_through() -> None:
    world = a_world(**{f"S{n}": 0.001 for n in range(450)})
    world.run()
    canceling = run_sync(cancel_live_orders(world.sink, world.runs))
    assert canceling.requested == 450
    assert len({intent.symbol for intent in world.sink.canceled}) == 450


def test_a_database_that_fails_in_between_is_told_and_not_raised() -> None:
    world = a_world()

    class Gone:
        async def live_orders(self, **_named: object) -> object:
            raise Unavailable("runs", "live_orders", "gone")

    canceling = run_sync(cancel_live_orders(world.sink, Gone()))  # type: ignore[arg-type]
    assert canceling == Canceling(cause="run database: gone")


def test_the_history_survives_the_loss_of_the_shared_store() -> None:
    world = a_world()
    stop(world)
    release(world)
    before = history(world)
    world.kill_switch = type(world.kill_switch)()
    after = history(world)
    assert told(after) == told(before)
    assert told(after) == [("DISENGAGED", "bob"), ("ENGAGED", "ann"), ("DISENGAGED", "ops")]
    assert after[1].reason == "odd fills"
    assert after[1].details == {"book": 7}
    assert after[0].notes == "checked"


def test_an_entry_that_both_copies_hold_is_shown_once() -> None:
    world = a_world()
    stop(world)
    assert told(history(world)) == [("ENGAGED", "ann"), ("DISENGAGED", "ops")]
    assert told(history(world, limit=1)) == [("ENGAGED", "ann")]


def test_a_foreign_engagement_that_was_followed_is_kept_too() -> None:
    world = a_world()
    world.clock.advance(5)
    world.engage_shared()
    reading = run_sync(read_switch(world.kill_switch, world.runs))
    run_sync(follow(reading, world.kill_switch, world.runs, world.clock))
    assert told(history(world))[0] == ("ENGAGED", "other")
    world.kill_switch = type(world.kill_switch)()
    assert told(history(world))[0] == ("ENGAGED", "other")


def test_a_second_engagement_that_completes_the_first_is_kept_too() -> None:
    world = a_world()
    stop(world)
    world.kill_switch.put_text(None)
    stop(world, "cat")
    world.kill_switch = type(world.kill_switch)()
    assert told(history(world))[:2] == [("ENGAGED", "cat"), ("ENGAGED", "ann")]


class Silent:
    """A copy that cannot be read."""

    async def history(self, *, limit: int) -> Sequence[HistoryEntry]:
        raise Unavailable("kill_switch", "history", "down")

    async def switch_history(self, *, limit: int) -> Sequence[HistoryEntry]:
        raise Unavailable("runs", "switch_history", "down")


def test_one_copy_is_enough_and_none_is_said() -> None:
    world = a_world()
    stop(world)
    silent = Silent()
    for switch, runs in ((silent, world.runs), (world.kill_switch, silent)):
        entries = run_sync(read_history(switch, runs, limit=9))  # type: ignore[arg-type]
        assert told(entries) == [("ENGAGED", "ann"), ("DISENGAGED", "ops")]
    with pytest.raises(Unavailable):
        run_sync(read_history(silent, silent, limit=9))  # type: ignore[arg-type]


@pytest.mark.parametrize("timestamp", ["2026-03-02T09:00:00", "2026-03-02T09:00:00Z", "yesterday"])
def test_a_time_written_otherwise_is_put_in_its_place(timestamp: str) -> None:
    world = a_world()
    stop(world)
    early = HistoryEntry(SwitchEvent.ENGAGED, timestamp, "early bird")
    latch = run_sync(world.runs.read_latch())
    assert latch is not None
    assert run_sync(world.runs.swap_latch(latch, evolve(latch, epoch=9), entry=early))
    assert told(history(world))[-1] == ("ENGAGED", "early bird")
