import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from attrs import define, evolve, field

from orchestrator_adapters.memory.breaker import MemoryCircuitBreaker
from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.memory.kill_switch import MemoryKillSwitch
from orchestrator_adapters.memory.prices import MemoryPriceSource
from orchestrator_core import engaging, halting
from orchestrator_core.commits import Lease, PlanRecord, RunOpening, WaveClaim
from orchestrator_core.driver import run_sync
from orchestrator_core.engaging import AlreadyInState, EngageAnswer
from orchestrator_core.errors import (
    OutcomeUnknown,
    PortError,
    TradingHalted,
    Unavailable,
)
from orchestrator_core.halting import SwitchReading
from orchestrator_core.identifiers import RunId, StrategyId
from orchestrator_core.kill_switch import (
    Absent,
    Disengagement,
    Engagement,
    FollowUp,
    Halted,
    HeldBy,
    HistoryEntry,
    KillSwitchState,
    Latch,
    LatchReading,
    SharedReading,
    SwitchState,
    Trading,
    Unreadable,
    judge,
)
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import OrderIntent, SafetyFlags, SignalBatch
from orchestrator_core.orders import Settlement
from orchestrator_core.planning import plan_orders
from orchestrator_core.ports import (
    CancelOutcome,
    Inquiry,
    LookUp,
    RunPorts,
    SubmitOutcome,
)
from orchestrator_core.requests import RunRequest
from tests.unit.builders import NOW, TODAY, a_policy, a_quote, a_signal, a_snapshot
from tests.unit.faults import Calls, Failing, InterruptedKillSwitch, InterruptedRuns

# What both stores mean together

SHARED: dict[str, SharedReading] = {
    "absent": Absent(),
    "down": Unreadable("down"),
    "garbage": Unreadable("garbage", answered=True),
    **{
        f"{word.lower()}@{epoch}{by}": KillSwitchState(
            SwitchState(word),
            engaged_by="ann",
            engagement_reason="drawdown",
            disengaged_by="bob" if by else None,
            latch_epoch=number,
        )
        for word in ("ACTIVE", "ENGAGED")
        for epoch, number in (("none", None), ("older", 4), ("same", 5), ("later", 6))
        for by in ("", "+by")
    },
}
LATCHES: dict[str, LatchReading] = {
    "absent": Absent(),
    "down": Unreadable("down"),
    "off": Latch(engaged=False, epoch=5, changed_by="cat", reason="fine", changed_at=NOW),
    "on": Latch(engaged=True, epoch=5, changed_by="cat", reason="stop", changed_at=NOW),
}
# `halted` is by a person, `doubt` is by nobody; behind the slash stands the follow-up.
TRUTH = """
shared           | absent             | down   | off                  | on
absent           | doubt              | doubt  | doubt                | halted
down             | doubt              | doubt  | doubt                | halted
garbage          | doubt              | doubt  | doubt                | halted
active@none      | doubt/take_over    | doubt  | doubt                | halted
active@none+by   | doubt/take_over    | doubt  | doubt                | halted
active@older     | doubt              | doubt  | doubt                | halted
active@older+by  | doubt              | doubt  | doubt                | halted
active@same      | doubt              | doubt  | trading              | halted
active@same+by   | doubt              | doubt  | trading              | halted/release_latch
active@later     | doubt              | doubt  | doubt                | halted
active@later+by  | doubt              | doubt  | doubt                | halted
engaged@none     | halted/take_over   | halted | halted/engage_latch  | halted/stamp_shared
engaged@none+by  | halted/take_over   | halted | halted/engage_latch  | halted/stamp_shared
engaged@older    | halted/take_over   | halted | halted/engage_latch  | halted/stamp_shared
engaged@older+by | halted/take_over   | halted | halted/engage_latch  | halted/stamp_shared
engaged@same     | halted/take_over   | halted | halted/engage_latch  | halted
engaged@same+by  | halted/take_over   | halted | halted/engage_latch  | halted
engaged@later    | halted/take_over   | halted | halted/engage_latch  | halted/raise_latch
engaged@later+by | halted/take_over   | halted | halted/engage_latch  | halted/raise_latch
"""


def truth_table() -> list[tuple[str, str, str]]:
    header, *rows = [
        [cell.strip() for cell in line.split("|")] for line in TRUTH.strip().splitlines()
    ]
    return [
        (row[0], latch, meaning)
        for row in rows
        for latch, meaning in zip(header[1:], row[1:], strict=True)
    ]


def test_the_table_holds_every_combination() -> None:
    cells = {(shared, latch) for shared, latch, _ in truth_table()}
    assert cells == {(shared, latch) for shared in SHARED for latch in LATCHES}


@pytest.mark.parametrize(("shared", "latch", "meaning"), truth_table())
def test_both_stores_together_mean(shared: str, latch: str, meaning: str) -> None:
    verdict = judge(SHARED[shared], LATCHES[latch])
    if meaning == "trading":
        assert verdict == Trading(5)
        return
    word, _, follow_up = meaning.partition("/")
    assert isinstance(verdict, Halted)
    assert verdict.engaged is (word == "halted")
    assert verdict.follow_up == (FollowUp(follow_up) if follow_up else None)
    assert verdict.reason
    assert verdict.release


@pytest.mark.parametrize(
    ("shared", "latch", "held_by"),
    [
        ("engaged@same", "on", {HeldBy.LATCH, HeldBy.SHARED}),
        ("engaged@same", "off", {HeldBy.SHARED}),
        ("active@same", "on", {HeldBy.LATCH}),
        ("absent", "off", {HeldBy.SHARED}),
        ("active@same", "down", {HeldBy.LATCH}),
    ],
)
def test_a_verdict_names_the_stores_that_halt(
    shared: str, latch: str, held_by: set[HeldBy]
) -> None:
    verdict = judge(SHARED[shared], LATCHES[latch])
    assert isinstance(verdict, Halted)
    assert set(verdict.held_by) == held_by


def test_a_verdict_says_who_engaged_and_why() -> None:
    by_shared = judge(SHARED["engaged@same"], LATCHES["on"])
    by_latch = judge(SHARED["absent"], LATCHES["on"])
    assert isinstance(by_shared, Halted)
    assert (by_shared.engaged_by, by_shared.reason) == ("ann", "drawdown")
    assert isinstance(by_latch, Halted)
    assert (by_latch.engaged_by, by_latch.reason) == ("cat", "stop")
    assert by_latch.engaged_at == "2026-03-02T15:00:00.000000Z"


def test_a_verdict_says_what_would_release_it() -> None:
    released_by = {
        name: verdict.release
        for name in ("absent", "down", "garbage", "active@older", "engaged@same")
        if isinstance(verdict := judge(SHARED[name], LATCHES["off"]), Halted)
    }
    assert "init" in released_by["absent"]
    assert "answer again" in released_by["down"]
    assert "init" in released_by["garbage"]
    assert "init" in released_by["active@older"]
    assert "disengage" in released_by["engaged@same"]


# A world of memory stores


class Unasked:
    """Ports that halting has no business with."""

    async def fetch(self, request: RunRequest) -> SignalBatch:
        raise AssertionError("the guard comes before the signals")

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        raise AssertionError("the guard sends nothing")

    async def look_up(self, inquiries: Sequence[Inquiry]) -> Sequence[LookUp]:
        raise AssertionError("asked")

    async def cancel(self, inquiries: Sequence[Inquiry]) -> Sequence[CancelOutcome]:
        raise AssertionError("the guard looks nothing up")

    async def safety_flags(self) -> SafetyFlags:
        raise AssertionError("the guard asks no gateway")


@define
class World:
    """Both stores in memory, and those who move them.

    Attributes:
        calls: What fails, and who comes between.
        store: The shared state, as other services see it.
    """

    calls: Calls = field(factory=Calls)
    clock: VirtualClock = field(factory=lambda: VirtualClock(NOW))
    store: MemoryKillSwitch = field(factory=MemoryKillSwitch)
    breaker: MemoryCircuitBreaker | None = None
    runs: InterruptedRuns = field(init=False)
    switch: InterruptedKillSwitch = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.runs = InterruptedRuns(self.clock, self.calls)
        self.switch = InterruptedKillSwitch(self.store, self.calls)

    # Through us

    async def engage(self, operator: str = "ann", *, wait_seconds: float = 1.0) -> EngageAnswer:
        self.clock.advance(1)
        return await engaging.engage(
            Engagement(operator, f"{operator} says so", self.clock.now()),
            kill_switch=self.switch,
            runs=self.runs,
            clock=self.clock,
            wait_seconds=wait_seconds,
        )

    async def disengage(self, operator: str = "bob") -> KillSwitchState:
        self.clock.advance(1)
        return await engaging.disengage(
            Disengagement(operator, self.clock.now()), kill_switch=self.switch, runs=self.runs
        )

    async def initialise(self, operator: str = "cat") -> KillSwitchState:
        self.clock.advance(1)
        return await engaging.initialise(
            Disengagement(operator, self.clock.now()), kill_switch=self.switch, runs=self.runs
        )

    async def guard(self) -> Latch:
        unasked = Unasked()
        return await halting.guard(
            RunPorts(
                signals=unasked,
                prices=MemoryPriceSource(),
                sink=unasked,
                runs=self.runs,
                kill_switch=self.switch,
                clock=self.clock,
                breaker=self.breaker,
            )
        )

    async def follow(self) -> None:
        reading = await halting.read_switch(self.switch, self.runs)
        await halting.follow(reading, self.switch, self.runs, self.clock)

    # Through another service, which knows nothing of the latch

    async def foreign_engage(self) -> None:
        self._foreign(state="ENGAGED", engaged_by="risk", engagement_reason="limits")

    async def foreign_disengage(self) -> None:
        self._foreign(state="ACTIVE", disengaged_by="desk", disengagement_notes="ok")

    def _foreign(self, **changed: Any) -> None:
        text = self.store.get_text()
        document = {"engagement_count_today": 0} if text is None else json.loads(text)
        self.store.put_text(json.dumps(document | changed))

    # Looking, with nothing failing and nobody between

    def look(self) -> SwitchReading:
        calm = self.calls
        self.runs.calls = self.switch.calls = Calls()
        reading = run_sync(halting.read_switch(self.switch, self.runs))
        self.runs.calls = self.switch.calls = calm
        return reading

    def calm(self) -> None:
        """Let nothing fail from now on."""
        self.calls = self.runs.calls = self.switch.calls = Calls()

    def plan(self, **calls: Any) -> Calls:
        """Say what happens at the coming calls."""
        self.calls = self.runs.calls = self.switch.calls = Calls(**calls)
        return self.calls


def trading_world() -> World:
    world = World()
    run_sync(world.initialise())
    return world


def engaged_world() -> World:
    world = trading_world()
    run_sync(world.engage())
    return world


def latch_of(world: World) -> Latch:
    latch = world.look().latch
    assert isinstance(latch, Latch)
    return latch


def shared_of(world: World) -> KillSwitchState:
    shared = world.look().shared
    assert isinstance(shared, KillSwitchState)
    return shared


def is_engaged_in_both(world: World) -> bool:
    return latch_of(world).engaged and shared_of(world).state is SwitchState.ENGAGED


def is_trading(world: World) -> bool:
    """Whether a run may begin, follow-ups included."""
    world.calm()
    try:
        run_sync(world.guard())
    except TradingHalted:
        return False
    return True


# Beginning


def test_a_new_service_halts_until_it_is_initialised_by_name() -> None:
    world = World()
    with pytest.raises(TradingHalted) as raised:
        run_sync(world.guard())
    assert not raised.value.engaged
    state = run_sync(world.initialise("cat"))
    assert (state.state, state.disengaged_by, state.latch_epoch) == (SwitchState.ACTIVE, "cat", 1)
    assert run_sync(world.guard()) == latch_of(world)
    assert [entry.operator for entry in run_sync(world.switch.history(limit=5))] == ["cat"]


def test_initialising_what_trades_or_is_engaged_is_refused() -> None:
    for world in (trading_world(), engaged_world()):
        before = world.look()
        with pytest.raises(AlreadyInState):
            run_sync(world.initialise())
        assert world.look() == before


def test_an_active_state_found_on_a_new_database_is_taken_over() -> None:
    world = World()
    run_sync(world.foreign_disengage())
    assert not run_sync(world.guard()).engaged
    assert shared_of(world).latch_epoch == latch_of(world).epoch


def test_an_engaged_state_found_on_a_new_database_is_taken_over() -> None:
    world = World()
    run_sync(world.foreign_engage())
    with pytest.raises(TradingHalted) as raised:
        run_sync(world.guard())
    assert raised.value.engaged
    assert is_engaged_in_both(world)
    assert (latch_of(world).changed_by, latch_of(world).reason) == ("risk", "limits")


def test_an_active_state_of_a_latch_that_is_gone_halts_until_an_operator_says_otherwise() -> None:
    world = World()
    world.store.put_text('{"state":"ACTIVE","latch_epoch":7,"disengaged_by":"ann"}')
    assert not is_trading(world)
    run_sync(world.initialise())
    assert run_sync(world.guard()).epoch == 7


def test_an_engaged_state_with_an_epoch_is_taken_over_at_it() -> None:
    world = World()
    world.store.put_text('{"state":"ENGAGED","latch_epoch":7}')
    assert not is_trading(world)
    assert (latch_of(world).engaged, latch_of(world).epoch) == (True, 7)


# Engaging


def test_engaging_holds_in_both_stores_and_halts() -> None:
    world = trading_world()
    answer = run_sync(world.engage("ann"))
    assert (answer.durable, answer.shared, answer.drained, answer.cause) == (True, True, True, None)
    assert answer.state == shared_of(world)
    assert answer.latch == latch_of(world)
    assert (latch_of(world).epoch, shared_of(world).latch_epoch) == (2, 2)
    with pytest.raises(TradingHalted) as raised:
        run_sync(world.guard())
    assert (raised.value.engaged, raised.value.engaged_by) == (True, "ann")
    assert raised.value.reason == "ann says so"


def test_engaging_works_before_there_is_any_state() -> None:
    world = World()
    answer = run_sync(world.engage())
    assert (answer.durable, answer.shared) == (True, True)
    assert is_engaged_in_both(world)


def test_engaging_twice_is_refused_and_keeps_who_was_first() -> None:
    world = engaged_world()
    with pytest.raises(AlreadyInState):
        run_sync(world.engage("eve"))
    assert is_engaged_in_both(world)
    assert (latch_of(world).changed_by, shared_of(world).engaged_by) == ("ann", "ann")
    assert latch_of(world).epoch == shared_of(world).latch_epoch
    assert len(run_sync(world.switch.history(limit=9))) == 2


@pytest.mark.parametrize(
    ("down", "durable", "shared", "named"),
    [
        ({"runs"}, False, True, "run database"),
        ({"kill_switch"}, True, False, "shared state"),
        ({"runs", "kill_switch"}, False, False, "run database"),
    ],
)
def test_engaging_says_which_store_does_not_hold(
    down: set[str], *, durable: bool, shared: bool, named: str
) -> None:
    world = trading_world()
    world.plan(down=frozenset(down))
    answer = run_sync(world.engage())
    assert (answer.durable, answer.shared) == (durable, shared)
    assert answer.drained is durable
    assert answer.cause is not None
    assert named in answer.cause
    assert is_trading(world) is (not durable and not shared)


@pytest.mark.parametrize("down", ["runs", "kill_switch"])
def test_engaging_again_completes_the_missing_half(down: str) -> None:
    world = trading_world()
    world.plan(down=frozenset({down}))
    run_sync(world.engage("ann"))
    world.calm()
    answer = run_sync(world.engage("eve"))
    assert (answer.durable, answer.shared) == (True, True)
    assert is_engaged_in_both(world)
    first = latch_of(world).changed_by if down == "kill_switch" else shared_of(world).engaged_by
    assert first == "ann"
    with pytest.raises(AlreadyInState):
        run_sync(world.engage())


def engage_calls(world: World) -> int:
    """Return how many calls an engage makes before it waits."""
    calls = world.plan()
    run_sync(world.engage())
    return calls.seen.index("runs.open_orders")


@pytest.mark.parametrize("failing", Failing)
@pytest.mark.parametrize("fail_at", range(1, 6))
def test_an_engage_that_fails_at_any_call_still_halts_and_claims_no_more_than_holds(
    fail_at: int, failing: Failing
) -> None:
    world = trading_world()
    calls = world.plan(fail_at=fail_at, failing=failing)
    answer = run_sync(world.engage())
    assert len(calls.seen) >= fail_at
    assert not answer.durable or latch_of(world).engaged
    assert not answer.shared or shared_of(world).state is SwitchState.ENGAGED
    assert (answer.cause is None) is (answer.durable and answer.shared)
    assert answer.durable or not answer.drained
    assert not is_trading(world)
    try:
        answer = run_sync(world.engage("eve"))
    except AlreadyInState:
        pass
    else:
        assert (answer.durable, answer.shared) == (True, True)
    assert is_engaged_in_both(world)


# The barrier


def send_an_order(world: World) -> Lease:
    snapshot = a_snapshot([a_signal()], [a_quote()])
    plan = plan_orders(snapshot, a_policy())
    opening = RunOpening(
        run_id=RunId(UUID(int=1)),
        strategy_id=StrategyId("alpha"),
        as_of_date=TODAY,
        request=snapshot.request,
        started_at=NOW,
        lease_seconds=90.0,
    )
    lease = run_sync(world.runs.open_run(opening))
    assert isinstance(lease, Lease)
    ids = tuple(intent.client_order_id for intent in plan.intents)
    claim = WaveClaim(number=1, client_order_ids=ids, latch_epoch=latch_of(world).epoch)
    commit = run_sync(world.runs.commit_plan(lease, PlanRecord(snapshot, plan), claim))
    assert commit.answer.claimed == ids
    return lease


def settle_order(world: World, lease: Lease, state: OrderState) -> Callable[[], Any]:
    order_id = run_sync(world.runs.open_orders())[0].client_order_id
    settlement = Settlement(order_id, state, reason="test")
    return lambda: world.runs.commit_wave(lease, [settlement], None)


def test_engaging_waits_for_the_orders_on_the_wire() -> None:
    world = trading_world()
    lease = send_an_order(world)
    settle = settle_order(world, lease, OrderState.REJECTED)
    before = world.clock.monotonic()
    first_look = engage_calls(trading_world()) + 1
    calls = world.plan(interrupt_at=first_look + 3, interrupt=settle)
    answer = run_sync(world.engage(wait_seconds=10))
    assert (answer.drained, answer.in_flight, answer.unresolved) == (True, (), ())
    assert calls.seen.count("runs.open_orders") == 4
    assert world.clock.monotonic() - before == pytest.approx(1 + 3 * engaging.BARRIER_POLL_SECONDS)


def test_engaging_gives_up_waiting_and_names_what_is_on_the_wire() -> None:
    world = trading_world()
    send_an_order(world)
    before = world.clock.monotonic()
    answer = run_sync(world.engage(wait_seconds=10))
    assert not answer.drained
    assert [order.state for order in answer.in_flight] == [OrderState.SENDING]
    assert 10 <= world.clock.monotonic() - before - 1 < 10.1
    assert (answer.durable, answer.shared) == (True, True)


@pytest.mark.parametrize(
    ("state", "drained"), [(OrderState.UNKNOWN, False), (OrderState.CONFLICT, True)]
)
def test_an_unknown_order_is_on_the_wire_and_one_in_conflict_waits_for_an_operator(
    state: OrderState, *, drained: bool
) -> None:
    world = trading_world()
    run_sync(settle_order(world, send_an_order(world), state)())
    answer = run_sync(world.engage())
    assert answer.drained is drained
    assert [order.state for order in answer.in_flight] == ([] if drained else [state])
    assert [order.state for order in answer.unresolved] == ([state] if drained else [])


def test_a_database_that_fails_while_waiting_leaves_the_barrier_unproven() -> None:
    world = trading_world()
    send_an_order(world)
    world.plan(fail_at=engage_calls(trading_world()) + 2)
    answer = run_sync(world.engage())
    assert (answer.durable, answer.drained) == (True, False)


# Letting go


def test_disengaging_lets_trading_go_on_at_the_latchs_epoch() -> None:
    world = engaged_world()
    state = run_sync(world.disengage("bob"))
    assert (state.state, state.disengaged_by, state.latch_epoch) == (SwitchState.ACTIVE, "bob", 2)
    assert run_sync(world.guard()).epoch == 2


def test_disengaging_what_trades_is_refused() -> None:
    world = trading_world()
    before = world.look()
    with pytest.raises(AlreadyInState):
        run_sync(world.disengage())
    assert world.look() == before


@pytest.mark.parametrize("text", [None, "garbage", '{"state":"PAUSED"}'])
def test_a_flushed_or_corrupt_state_halts_until_somebody_says_so_by_name(text: str | None) -> None:
    for make in (World.initialise, World.disengage):
        world = trading_world()
        world.store.put_text(text)
        with pytest.raises(TradingHalted) as raised:
            run_sync(world.guard())
        assert not raised.value.engaged
        run_sync(make(world, "dan"))
        assert not run_sync(world.guard()).engaged
        assert shared_of(world).disengaged_by == "dan"


@pytest.mark.parametrize("failing", Failing)
@pytest.mark.parametrize("fail_at", range(1, 5))
def test_a_disengage_that_fails_at_any_call_says_what_may_have_happened(
    fail_at: int, failing: Failing
) -> None:
    world = engaged_world()
    before = world.look()
    calls = world.plan(fail_at=fail_at, failing=failing)
    with pytest.raises(PortError) as raised:
        run_sync(world.disengage())
    assert len(calls.seen) == fail_at
    if isinstance(raised.value, Unavailable):
        assert world.look() == before
        assert not is_trading(world)
    else:
        assert isinstance(raised.value, OutcomeUnknown)
    world.calm()
    with suppress(AlreadyInState):
        run_sync(world.disengage())
    assert is_trading(world)


def test_a_disengage_whose_latch_fails_is_finished_by_the_next_look() -> None:
    world = engaged_world()
    world.plan(fail_at=4)
    with pytest.raises(OutcomeUnknown, match="the latch follows"):
        run_sync(world.disengage())
    assert latch_of(world).engaged
    assert is_trading(world)


@pytest.mark.parametrize("failing", Failing)
@pytest.mark.parametrize("fail_at", range(1, 5))
def test_an_initialisation_that_fails_at_any_call_can_be_repeated(
    fail_at: int, failing: Failing
) -> None:
    world = World()
    world.plan(fail_at=fail_at, failing=failing)
    with pytest.raises(PortError):
        run_sync(world.initialise())
    world.calm()
    with suppress(AlreadyInState):
        run_sync(world.initialise())
    assert is_trading(world)


# What other services do


def test_a_foreign_engage_halts_at_once_and_is_carried_into_the_latch() -> None:
    world = trading_world()
    run_sync(world.foreign_engage())
    with pytest.raises(TradingHalted) as raised:
        run_sync(world.guard())
    assert (raised.value.engaged, raised.value.engaged_by) == (True, "risk")
    latch = latch_of(world)
    assert (latch.engaged, latch.changed_by, latch.reason) == (True, "risk", "limits")
    assert shared_of(world).latch_epoch == latch.epoch == 2


def test_a_foreign_disengage_is_followed() -> None:
    world = engaged_world()
    run_sync(world.foreign_disengage())
    assert run_sync(world.guard()).epoch == 2
    assert (latch_of(world).changed_by, latch_of(world).reason) == ("desk", "ok")


def test_a_foreign_engage_that_was_carried_over_can_be_let_go_by_either_side() -> None:
    for let_go in (World.disengage, World.foreign_disengage):
        world = trading_world()
        run_sync(world.foreign_engage())
        run_sync(world.follow())
        run_sync(let_go(world))
        assert is_trading(world)


@pytest.mark.parametrize("failing", Failing)
@pytest.mark.parametrize("fail_at", range(1, 7))
@pytest.mark.parametrize("begin", ["new", "trading"])
def test_following_a_foreign_engage_survives_a_failure_at_any_call(
    begin: str, fail_at: int, failing: Failing
) -> None:
    world = World() if begin == "new" else trading_world()
    run_sync(world.foreign_engage())
    world.plan(fail_at=fail_at, failing=failing)
    with pytest.raises((TradingHalted, Unavailable)):
        run_sync(world.guard())
    world.calm()
    for _ in range(2):
        run_sync(world.follow())
    assert is_engaged_in_both(world)
    assert shared_of(world).latch_epoch == latch_of(world).epoch
    run_sync(world.foreign_disengage())
    assert is_trading(world)


@pytest.mark.parametrize("failing", Failing)
@pytest.mark.parametrize("fail_at", range(1, 7))
@pytest.mark.parametrize("begin", ["new", "engaged"])
def test_following_a_foreign_disengage_survives_a_failure_at_any_call(
    begin: str, fail_at: int, failing: Failing
) -> None:
    world = World() if begin == "new" else engaged_world()
    run_sync(world.foreign_disengage())
    world.plan(fail_at=fail_at, failing=failing)
    try:
        run_sync(world.guard())
    except (TradingHalted, Unavailable):
        assert len(world.calls.seen) >= fail_at
    if begin == "new" and not is_trading(world):
        # Stamped and not taken over: it could as well be a latch that was lost.
        run_sync(world.initialise())
    assert is_trading(world)
    assert latch_of(world).epoch == shared_of(world).latch_epoch


# Old copies


def test_an_old_copy_that_says_active_halts() -> None:
    world = trading_world()
    old = world.store.get_text()
    run_sync(world.engage())
    run_sync(world.disengage())
    world.store.put_text(old)
    with pytest.raises(TradingHalted) as raised:
        run_sync(world.guard())
    assert not raised.value.engaged
    assert "old copy" in raised.value.reason
    run_sync(world.disengage())
    assert is_trading(world)


def test_an_old_copy_does_not_let_go_of_what_is_engaged() -> None:
    world = engaged_world()
    run_sync(world.disengage())
    old = world.store.get_text()
    run_sync(world.engage())
    world.store.put_text(old)
    assert not is_trading(world)
    assert latch_of(world).engaged


def test_a_state_that_another_hand_made_anew_halts() -> None:
    world = trading_world()
    world.store.put_text('{"state":"ACTIVE","disengaged_by":"script"}')
    with pytest.raises(TradingHalted, match="another hand"):
        run_sync(world.guard())


def test_a_database_restored_from_an_old_copy_moves_beyond_the_shared_epoch() -> None:
    world = trading_world()
    old = latch_of(world)
    for _ in range(3):
        run_sync(world.engage())
        run_sync(world.disengage())
    assert shared_of(world).latch_epoch == 4
    run_sync(world.runs.swap_latch(latch_of(world), old))
    assert not is_trading(world)
    run_sync(world.disengage())
    assert is_trading(world)
    assert latch_of(world).epoch == 4
    run_sync(world.runs.swap_latch(latch_of(world), old))
    run_sync(world.engage())
    run_sync(world.follow())
    assert latch_of(world).epoch == shared_of(world).latch_epoch == 5
    assert is_engaged_in_both(world)


# Two hands at once


@pytest.mark.parametrize("before_call", range(1, 5))
def test_an_engage_in_the_middle_of_a_disengage_is_not_lost(before_call: int) -> None:
    world = engaged_world()
    run_sync(world.disengage())
    run_sync(world.foreign_engage())
    calls = world.plan(interrupt_at=before_call, interrupt=lambda: world.engage("eve"))
    try:
        run_sync(world.disengage())
    except TradingHalted:
        assert not is_trading(world)
    else:
        # It read what the engage had left, and let go of that.
        assert before_call <= calls.seen.index("runs.read_latch") + 1
        return
    world.calm()
    run_sync(world.follow())
    assert is_engaged_in_both(world)


@pytest.mark.parametrize("before_call", range(3, 5))
def test_an_engage_refused_as_already_engaged_stays_so(before_call: int) -> None:
    world = engaged_world()
    told: list[str] = []

    async def engage() -> None:
        try:
            await world.engage("eve")
        except AlreadyInState:
            told.append("already")

    world.plan(interrupt_at=before_call, interrupt=engage)
    with pytest.raises(TradingHalted):
        run_sync(world.disengage())
    assert told == (["already"] if before_call == 3 else [])
    assert not is_trading(world)
    assert is_engaged_in_both(world)


@pytest.mark.parametrize("before_call", range(1, 5))
@pytest.mark.parametrize("stood", ["engaged", "trading", "foreign"])
def test_a_disengage_in_the_middle_of_an_engage_does_not_undo_it(
    stood: str, before_call: int
) -> None:
    world = engaged_world() if stood == "engaged" else trading_world()
    if stood == "foreign":
        run_sync(world.foreign_engage())

    async def disengage() -> None:
        try:
            await world.disengage()
        except AlreadyInState:
            return

    calls = world.plan(interrupt_at=before_call, interrupt=disengage)
    answer = run_sync(world.engage("eve"))
    assert len(calls.seen) >= 5
    assert (answer.durable, answer.shared, answer.drained) == (True, True, True)
    assert is_engaged_in_both(world)
    assert not is_trading(world)


@pytest.mark.parametrize("before_call", range(1, 5))
def test_of_two_engages_at_once_both_hold_and_one_at_least_is_the_first(before_call: int) -> None:
    world = trading_world()
    changed: list[str] = []

    async def engage(operator: str) -> None:
        with suppress(AlreadyInState):
            answer = await world.engage(operator)
            assert (answer.durable, answer.shared) == (True, True)
            changed.append(operator)

    world.plan(interrupt_at=before_call, interrupt=lambda: engage("eve"))
    run_sync(engage("ann"))
    assert changed
    assert is_engaged_in_both(world)
    assert latch_of(world).epoch == shared_of(world).latch_epoch


@pytest.mark.parametrize("before_call", range(1, 5))
def test_of_two_disengages_at_once_one_at_least_lets_go(before_call: int) -> None:
    world = engaged_world()
    world.plan(interrupt_at=before_call, interrupt=lambda: world.disengage("dan"))
    with suppress(TradingHalted, AlreadyInState):
        run_sync(world.disengage("bob"))
    assert is_trading(world)
    assert len(run_sync(world.switch.history(limit=9))) == 3


@pytest.mark.parametrize("before_call", range(1, 5))
@pytest.mark.parametrize("text", [None, "garbage", '{"state":"ACTIVE","latch_epoch":9}'])
def test_initialising_never_lets_go_of_an_engagement(text: str | None, before_call: int) -> None:
    for by in (World.engage, World.foreign_engage):
        world = trading_world()
        world.store.put_text(text)
        if text == "garbage" and by is World.foreign_engage:
            continue
        world.plan(interrupt_at=before_call, interrupt=lambda w=world, by=by: by(w))
        try:
            run_sync(world.initialise())
        except (TradingHalted, AlreadyInState):
            pass
        else:
            # Another service engaged after the state had been created.
            assert (before_call, by) == (4, World.foreign_engage)
        assert not is_trading(world)
        assert shared_of(world).state is SwitchState.ENGAGED


@pytest.mark.parametrize("before_call", range(1, 7))
@pytest.mark.parametrize("begin", ["new", "foreign disengage", "foreign engage", "trading"])
def test_a_run_that_passes_the_guard_while_somebody_engages_can_claim_nothing(
    begin: str, before_call: int
) -> None:
    world = {
        "new": World,
        "foreign disengage": engaged_world,
        "foreign engage": trading_world,
        "trading": trading_world,
    }[begin]()
    if begin in {"new", "foreign disengage"}:
        run_sync(world.foreign_disengage())
    if begin == "foreign engage":
        run_sync(world.foreign_engage())

    async def engage() -> None:
        with suppress(AlreadyInState):
            await world.engage("eve")

    calls = world.plan(interrupt_at=before_call, interrupt=engage)
    try:
        latch = run_sync(world.guard())
    except TradingHalted:
        pass
    else:
        if len(calls.seen) < before_call:
            return
        assert latch_of(world).engaged
        assert latch_of(world).epoch > latch.epoch
        assert isinstance(judge(world.look().shared, latch), Halted)
    world.calm()
    run_sync(world.follow())
    assert is_engaged_in_both(world) or len(calls.seen) < before_call


@pytest.mark.parametrize("before_call", range(1, 7))
@pytest.mark.parametrize("meanwhile", [World.disengage, World.foreign_disengage])
def test_following_an_engage_that_is_let_go_meanwhile_never_trades_unasked(
    meanwhile: Callable[[World], Any], before_call: int
) -> None:
    world = trading_world()
    run_sync(world.foreign_engage())

    async def let_go() -> None:
        try:
            await meanwhile(world)
        except TradingHalted:
            return

    world.plan(interrupt_at=before_call, interrupt=let_go)
    try:
        latch = run_sync(world.guard())
    except TradingHalted:
        world.calm()
        # Held until a person says so once more, at the worst; never stuck.
        if not is_trading(world):
            run_sync(world.disengage())
        assert is_trading(world)
    else:
        assert latch == latch_of(world)
        assert not latch.engaged


def test_a_latch_that_keeps_changing_is_reported() -> None:
    world = trading_world()

    class Restless(InterruptedRuns):
        async def swap_latch(
            self, expected: Latch | None, new: Latch, *, entry: HistoryEntry | None = None
        ) -> bool:
            return False

    world.runs = Restless(world.clock, world.calls)
    answer = run_sync(world.engage())
    assert (answer.durable, answer.shared) == (False, True)
    assert answer.cause is not None
    assert "keeps changing" in answer.cause


def test_a_latch_that_is_let_go_again_and_again_is_reported() -> None:
    world = trading_world()

    class Slippery(InterruptedRuns):
        async def swap_latch(
            self, expected: Latch | None, new: Latch, *, entry: HistoryEntry | None = None
        ) -> bool:
            return await super().swap_latch(expected, evolve(new, engaged=False), entry=entry)

    world.runs = Slippery(world.clock, world.calls)
    answer = run_sync(world.engage())
    assert (answer.durable, answer.drained, answer.shared) == (False, False, True)
    assert answer.cause is not None
    assert "again and again" in answer.cause


# The guard


def test_reading_both_stores_never_raises() -> None:
    world = trading_world()
    world.plan(down=frozenset({"runs", "kill_switch"}))
    reading = run_sync(halting.read_switch(world.switch, world.runs))
    assert reading == SwitchReading(Unreadable("down"), Unreadable("down"))


def test_the_guard_tells_a_database_that_is_down_from_a_halt() -> None:
    world = trading_world()
    world.plan(down=frozenset({"runs"}))
    with pytest.raises(Unavailable) as raised:
        run_sync(world.guard())
    assert raised.value.port == "runs"
    run_sync(world.foreign_engage())
    with pytest.raises(TradingHalted) as halted:
        run_sync(world.guard())
    assert halted.value.engaged


def test_the_guard_halts_when_the_shared_state_cannot_be_read() -> None:
    world = trading_world()
    world.plan(down=frozenset({"kill_switch"}))
    with pytest.raises(TradingHalted) as raised:
        run_sync(world.guard())
    assert not raised.value.engaged


def breaker_world(text: str | None) -> World:
    world = World(breaker=MemoryCircuitBreaker(text))
    run_sync(world.initialise())
    return world


def put_breaker(world: World, text: str | None) -> None:
    assert world.breaker is not None
    world.breaker.put_text(text)


def test_a_breaker_that_never_was_does_not_halt() -> None:
    assert not run_sync(breaker_world(None).guard()).engaged


@pytest.mark.parametrize("word", ["OPEN", "QUIET_PERIOD"])
def test_an_open_breaker_does_not_halt_and_is_remembered(word: str) -> None:
    world = breaker_world(f'{{"state":"{word}"}}')
    run_sync(world.guard())
    assert latch_of(world).breaker_seen
    run_sync(world.guard())
    run_sync(world.engage())
    run_sync(world.disengage())
    assert latch_of(world).breaker_seen


def test_a_tripped_breaker_halts_and_says_why() -> None:
    world = breaker_world('{"state":"TRIPPED","trip_reason":"drawdown"}')
    with pytest.raises(TradingHalted, match="drawdown"):
        run_sync(world.guard())
    put_breaker(world, '{"state":"OPEN"}')
    run_sync(world.guard())


@pytest.mark.parametrize("text", ["garbage", '{"state":"CLOSED"}', "[]"])
def test_a_breaker_that_cannot_be_understood_halts(text: str) -> None:
    with pytest.raises(TradingHalted, match="circuit breaker: ") as halted:
        run_sync(breaker_world(text).guard())
    assert halted.value.by_breaker
    assert not halted.value.engaged


def test_a_breaker_that_was_and_is_gone_halts() -> None:
    world = breaker_world('{"state":"OPEN"}')
    run_sync(world.guard())
    put_breaker(world, None)
    with pytest.raises(TradingHalted, match="gone"):
        run_sync(world.guard())


def test_a_clock_set_back_between_engage_and_disengage_changes_nothing() -> None:
    world = engaged_world()
    world.clock.set_time_of_day(NOW - timedelta(days=400))
    run_sync(world.disengage())
    assert is_trading(world)
