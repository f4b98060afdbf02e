"""Turning reduce-only mode on, failing at every call, and come between at every call."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from attrs import define, evolve, field

from orchestrator_adapters.conformance.run_cases import ALPHA, StartedRun, started
from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_adapters.memory.kill_switch import MemoryKillSwitch
from orchestrator_core.commits import ClaimAnswer, WaveClaim
from orchestrator_core.controlling import record_control
from orchestrator_core.controls import ControlEvent, ControlEventKind
from orchestrator_core.driver import run_sync
from orchestrator_core.engaging import disengage, engage, initialise
from orchestrator_core.errors import OrchestratorError, TradingHalted
from orchestrator_core.halting import read_switch
from orchestrator_core.kill_switch import Disengagement, Engagement, Halted, Trading
from tests.unit.builders import NOW
from tests.unit.faults import Calls, Failing, InterruptedKillSwitch, InterruptedRuns

EVENT = ControlEvent(ALPHA, ControlEventKind.REDUCE_ONLY_ON, NOW, "ann", "odd fills")
# Reading both stores, the event, reading both again, the latch, the shared state.
CALLS = 7


@define(eq=False)
class Desk:
    """A service that trades, with a run under way that read the controls already."""

    calls: Calls = field(factory=Calls)
    clock: VirtualClock = field(factory=lambda: VirtualClock(NOW))
    runs: InterruptedRuns = field(init=False)
    switch: InterruptedKillSwitch = field(init=False)
    run: StartedRun = field(init=False)
    epoch: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        quiet = Calls()
        self.runs = InterruptedRuns(self.clock, quiet)
        self.switch = InterruptedKillSwitch(MemoryKillSwitch(), quiet)
        word = Disengagement("cat", NOW)
        run_sync(initialise(word, kill_switch=self.switch, runs=self.runs))
        self.run = run_sync(started(self.runs))
        latch = run_sync(self.runs.read_latch())
        assert latch is not None
        self.epoch = latch.epoch
        self.runs.calls = self.switch.calls = self.calls

    def turn_on(self, event: ControlEvent = EVENT) -> OrchestratorError | None:
        try:
            run_sync(
                record_control(
                    event,
                    kill_switch=self.switch,
                    runs=self.runs,
                    clock=self.clock,
                    wait_seconds=0.0,
                )
            )
        except OrchestratorError as error:
            return error
        return None

    def claim(self) -> ClaimAnswer:
        """Let the run under way ask for its wave."""
        wish = WaveClaim(1, self.run.ids, self.epoch)
        return run_sync(self.runs.commit_wave(self.run.lease, (), wish))

    @property
    def is_on(self) -> bool:
        return run_sync(self.runs.read_controls(ALPHA, count_failures=0)).reduce_only

    @property
    def verdict(self) -> Trading | Halted:
        return run_sync(read_switch(self.switch, self.runs)).verdict

    async def engage(self) -> None:
        await engage(
            Engagement("eve", "drawdown", NOW),
            kill_switch=self.switch,
            runs=self.runs,
            clock=self.clock,
            wait_seconds=0.0,
        )

    async def let_go(self) -> None:
        await disengage(
            Disengagement("bob", NOW + timedelta(seconds=1)),
            kill_switch=self.switch,
            runs=self.runs,
        )

    async def see_a_breaker(self) -> None:
        """Change the latch as a run does that sees a breaker first: at the same epoch."""
        latch = await self.runs.read_latch()
        assert latch is not None
        assert await self.runs.swap_latch(latch, evolve(latch, breaker_seen=True))

    async def engage_and_let_go(self) -> None:
        await self.engage()
        await self.let_go()


def test_it_is_recorded_before_the_runs_under_way_are_stopped() -> None:
    desk = Desk()
    assert desk.turn_on() is None
    *changing, last = desk.calls.seen
    assert changing == [
        *("kill_switch.read", "runs.read_latch", "runs.add_control_event"),
        *("kill_switch.read", "runs.read_latch", "runs.swap_latch", "kill_switch.stamp"),
    ]
    assert len(changing) == CALLS
    assert last == "runs.open_orders"
    assert desk.is_on
    assert desk.claim().halted
    assert isinstance(desk.verdict, Trading)


@pytest.mark.parametrize("failing", list(Failing))
@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_failure_at_any_call_is_told_and_can_be_repaired(number: int, failing: Failing) -> None:
    desk = Desk(Calls(fail_at=number, failing=failing))
    assert desk.turn_on() is not None
    desk.calls.fail_at = None
    # Nothing was claimed to be done; what is told as done after a repeat, is.
    repeated = desk.turn_on(evolve(EVENT, at=NOW + timedelta(seconds=1)))
    if repeated is not None:
        assert isinstance(repeated, TradingHalted)
        run_sync(desk.let_go())
    assert desk.is_on
    assert desk.claim().halted
    assert isinstance(desk.verdict, Trading)


@pytest.mark.parametrize("failing", list(Failing))
@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_a_repeat_of_the_same_event_is_one_event(number: int, failing: Failing) -> None:
    desk = Desk(Calls(fail_at=number, failing=failing))
    desk.turn_on()
    desk.calls.fail_at = None
    desk.turn_on()
    assert list(run_sync(desk.runs.control_events(ALPHA, limit=9))) == [EVENT]


@pytest.mark.parametrize("come", [Desk.engage, Desk.engage_and_let_go, Desk.see_a_breaker])
@pytest.mark.parametrize("number", range(1, CALLS + 1))
def test_whoever_comes_between_no_run_goes_on_without_knowing(
    number: int, come: Callable[[Desk], Awaitable[None]]
) -> None:
    desk = Desk()
    desk.calls.interrupt_at = number
    desk.calls.interrupt = lambda: come(desk)
    error = desk.turn_on()
    assert desk.claim().halted
    assert desk.is_on or error is not None
    if come is Desk.engage:
        assert isinstance(desk.verdict, Halted)
