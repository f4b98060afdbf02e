from collections.abc import Sequence
from itertools import pairwise
from uuid import UUID

import pytest
from attrs import evolve

from orchestrator_core.commits import (
    ClaimAnswer,
    IdempotencyKey,
    Lease,
    PlanCommit,
    PlanRecord,
    WaveClaim,
)
from orchestrator_core.driver import run_sync
from orchestrator_core.errors import (
    Conflict,
    IllegalTransition,
    MalformedReply,
    OutcomeUnknown,
    Refused,
    TradingHalted,
    Unavailable,
)
from orchestrator_core.identifiers import RunId, Symbol
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.limits import Limits
from orchestrator_core.model import (
    NoQuote,
    OrderIntent,
    Quote,
    SafetyFlags,
    SignalBatch,
)
from orchestrator_core.orders import Settlement
from orchestrator_core.ports import (
    CancelOutcome,
    Inquiry,
    LookUp,
    SubmitKind,
    SubmitOutcome,
)
from orchestrator_core.requests import RunRequest
from orchestrator_core.runs import FailureKind, RunFilter
from tests.unit.builders import a_batch, a_signal
from tests.unit.world import DRY, World, accepted, outcome

LIVE = SafetyFlags(dry_run=False, alpaca_paper=False, circuit_breaker_enabled=True)
PAPER = SafetyFlags(dry_run=False, alpaca_paper=True, circuit_breaker_enabled=True)


FIRST_RUN = RunId(UUID(int=1))


def total_runs(world: World) -> int:
    return run_sync(world.runs.list_runs(RunFilter(), limit=100, offset=0)).total


def test_a_run_sends_its_plan_and_is_stored_as_it_is_answered() -> None:
    world = World({"A": 0.1, "B": -0.1, "C": 0.0})
    run = world.run()
    assert run.status is RunStatus.COMPLETED
    assert world.states() == {"A": "accepted", "B": "accepted", "C": "skipped"}
    assert world.stored() == run
    assert run.completed_at == world.clock.now()
    assert (run.tally.submitted, run.tally.accepted) == (2, 2)


def test_sells_go_before_buys_and_no_wave_mixes_sides() -> None:
    world = World({"A": 0.1, "B": -0.1, "C": 0.1, "D": -0.1, "E": -0.1})
    world.policy = evolve(world.policy, max_in_flight_orders=2)
    world.run()
    waves = [[intent.symbol for intent in wave] for wave in world.sink.waves]
    assert waves == [["B", "D"], ["E"], ["A", "C"]]


def test_a_decision_made_twice_is_sent_once() -> None:
    world = World({"A": 0.1, "B": -0.1})
    first = world.run()
    world.refresh_prices("150")
    second = world.run()
    assert len(world.sink.sent) == 2
    assert world.states(2) == {"A": "adopted", "B": "adopted"}
    assert second.status is RunStatus.COMPLETED
    assert second.tally == first.tally
    assert [order.skip_reason for order in second.orders or ()] == [
        f"already_ordered: run {first.run_id}"
    ] * 2


def test_a_halted_run_adopts_what_another_run_holds() -> None:
    world = World({"A": 0.1, "B": 0.1})
    world.script("B", outcome(SubmitKind.NOT_PLACED, cause="503"))
    world.run()
    fetch = world.signals.fetch

    class Meddling:
        async def fetch(self, request: RunRequest) -> SignalBatch:
            world.engage_shared()
            return await fetch(request)

    world.set_ports(signals=Meddling())
    assert world.run().status is RunStatus.PARTIAL
    assert world.states(2) == {"A": "adopted", "B": "halted"}


def test_a_new_rebalance_key_is_a_new_decision() -> None:
    world = World({"A": 0.1})
    world.run()
    world.run(rebalance_key="noon")
    assert len({intent.client_order_id for intent in world.sink.sent}) == 2


def test_a_dry_run_is_stored_and_holds_nothing() -> None:
    world = World({"A": 0.1})
    run = world.run(dry_run=True)
    (order,) = run.orders or ()
    assert (run.status, order.skip_reason) == (RunStatus.COMPLETED, "dry_run")
    assert order.intent is not None
    assert world.sink.sent == []
    world.run()
    assert len(world.sink.sent) == 1


def test_an_engaged_kill_switch_refuses_a_run_and_stores_nothing() -> None:
    world = World({"A": 0.1})
    world.engage_shared()
    with pytest.raises(TradingHalted, match="odd fills") as halted:
        world.run()
    assert halted.value.engaged
    assert halted.value.engaged_by == "other"
    assert total_runs(world) == 0
    assert world.signals.asked == 0


def test_the_kill_switch_is_asked_before_every_wave() -> None:
    world = World({"A": 0.1, "B": 0.1, "C": 0.1})
    world.policy = evolve(world.policy, max_in_flight_orders=1)
    world.sink.before = world.engage_shared
    run = world.run()
    assert world.states() == {"A": "accepted", "B": "halted", "C": "halted"}
    assert run.status is RunStatus.PARTIAL
    assert [order.skip_reason for order in run.orders or ()][1] == "halted: odd fills"


def test_a_latch_engaged_after_the_look_stops_the_claim() -> None:
    world = World({"A": 0.1, "B": 0.1})
    world.policy = evolve(world.policy, max_in_flight_orders=1)
    world.sink.before = world.engage_latch
    run = world.run()
    assert world.states() == {"A": "accepted", "B": "halted"}
    assert run.status is RunStatus.PARTIAL


def test_halted_before_anything_was_placed_is_a_failed_run() -> None:
    world = World({"A": 0.1})
    fetch = world.signals.fetch

    class Meddling:
        async def fetch(self, request: RunRequest) -> SignalBatch:
            world.engage_shared()
            return await fetch(request)

    world.set_ports(signals=Meddling())
    run = world.run()
    assert (run.status, world.states()) == (RunStatus.FAILED, {"A": "halted"})
    assert run.failure is not None
    assert run.failure.kind is FailureKind.HALTED
    assert world.sink.sent == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Unavailable("signals", "fetch", "warming"), FailureKind.SIGNALS_UNAVAILABLE),
        (Refused("signals", "fetch", "no data"), FailureKind.SIGNALS_REFUSED),
        (MalformedReply("signals", "fetch", "HTML"), FailureKind.SIGNALS_MALFORMED),
    ],
)
def test_without_signals_the_run_is_stored_as_failed(error: Exception, kind: FailureKind) -> None:
    world = World({"A": 0.1})
    world.signals.error = error
    run = world.run()
    assert run.status is RunStatus.FAILED
    assert run.failure is not None
    assert run.failure.kind is kind
    assert world.stored().failure == run.failure
    assert world.sink.sent == []


def test_a_batch_that_answers_another_question_is_refused_whole() -> None:
    world = World({"A": 0.1})
    world.signals.batch = a_batch([a_signal("A"), a_signal("Z")])
    run = world.run()
    assert run.failure is not None
    assert run.failure.kind is FailureKind.SIGNALS_MALFORMED
    assert run.failure.message == "Z was not asked for"


def test_a_gateway_less_safe_than_claimed_gets_no_order() -> None:
    world = World({"A": 0.1})
    world.sink.flags = PAPER
    run = world.run()
    assert run.failure is not None
    assert run.failure.kind is FailureKind.GATEWAY_UNSAFE
    assert world.sink.sent == []


def test_a_gateway_safer_than_claimed_gets_orders() -> None:
    world = World({"A": 0.1})
    world.policy = evolve(world.policy, claimed_flags=LIVE)
    assert world.run().status is RunStatus.COMPLETED


class Flagless:
    """A gateway whose flags cannot be read."""

    def __init__(self, world: World) -> None:
        self._sink = world.sink

    async def submit(
        self, intents: Sequence[OrderIntent], *, deadline: float
    ) -> Sequence[SubmitOutcome]:
        return await self._sink.submit(intents, deadline=deadline)

    async def look_up(self, inquiries: Sequence[Inquiry]) -> Sequence[LookUp]:
        return await self._sink.look_up(inquiries)

    async def cancel(self, inquiries: Sequence[Inquiry]) -> Sequence[CancelOutcome]:
        return await self._sink.cancel(inquiries)

    async def safety_flags(self) -> SafetyFlags:
        raise Unavailable("orders", "safety_flags", "no answer")


@pytest.mark.parametrize(
    ("claimed", "allowed", "sent"),
    [(DRY, False, 0), (PAPER, False, 0), (DRY, True, 1), (LIVE, False, 1)],
)
def test_flags_that_cannot_be_read_stop_whoever_claims_to_be_safe(
    claimed: SafetyFlags,
    allowed: bool,
    sent: int,
) -> None:
    world = World({"A": 0.1})
    world.policy = evolve(world.policy, claimed_flags=claimed, allow_unverified_gateway=allowed)
    world.set_ports(sink=Flagless(world))
    world.run()
    assert len(world.sink.sent) == sent


@pytest.mark.parametrize(
    ("kind", "state", "status"),
    [
        (SubmitKind.UNKNOWN, "unknown", RunStatus.RUNNING),
        (SubmitKind.CONFLICT, "conflict", RunStatus.RUNNING),
        (SubmitKind.REJECTED, "rejected", RunStatus.PARTIAL),
        (SubmitKind.NOT_PLACED, "not_placed", RunStatus.PARTIAL),
    ],
)
def test_each_fate_is_recorded_as_what_is_known(
    kind: SubmitKind, state: str, status: RunStatus
) -> None:
    world = World({"A": 0.1, "B": 0.1})
    world.script("B", outcome(kind, cause="why"))
    run = world.run()
    assert world.states() == {"A": "accepted", "B": state}
    assert run.status is status
    assert (run.completed_at is None) == (status is RunStatus.RUNNING)


def test_an_order_that_the_gateway_defers_is_sent_again_after_the_pause() -> None:
    world = World({"A": 0.1, "B": 0.1})
    deferred = outcome(SubmitKind.DEFERRED, cause="429", retry_after=7.0)
    world.script("B", deferred, deferred, accepted)
    started = world.clock.monotonic()
    run = world.run()
    assert run.status is RunStatus.COMPLETED
    assert [intent.symbol for intent in world.sink.sent] == ["A", "B", "B", "B"]
    assert world.clock.monotonic() - started >= 14


def test_a_deferred_order_is_given_up_when_its_price_would_be_stale() -> None:
    world = World({"A": 0.1, "B": 0.1})
    world.script("B", outcome(SubmitKind.DEFERRED, cause="429", retry_after=31.0))
    run = world.run()
    assert run.status is RunStatus.PARTIAL
    assert world.states() == {"A": "accepted", "B": "not_placed"}
    assert "stale" in str((run.orders or ())[1].skip_reason)


def test_the_lease_is_kept_while_the_gateway_paces_us() -> None:
    world = World({"A": 0.1})
    limits = Limits(max_price_age_seconds=3_600)
    world.policy = evolve(world.policy, lease_seconds=60.0, limits=limits)
    renewed = []
    commit_wave = world.runs.commit_wave

    class Watched:
        def __getattr__(self, name: str) -> object:
            return getattr(world.runs, name)

        async def commit_wave(
            self, lease: Lease, settlements: Sequence[Settlement], claim: WaveClaim | None
        ) -> ClaimAnswer:
            renewed.append(world.clock.monotonic())
            return await commit_wave(lease, settlements, claim)

    world.set_ports(runs=Watched())
    world.script("A", outcome(SubmitKind.DEFERRED, retry_after=120.0), accepted)
    assert world.run().status is RunStatus.COMPLETED
    gaps = [later - earlier for earlier, later in pairwise(renewed)]
    assert max(gaps) < 30


def test_a_commit_that_arrives_twice_puts_no_order_back_that_is_on_the_wire() -> None:
    world = World({"A": 0.1})
    made: list[tuple[Lease, Sequence[Settlement], WaveClaim | None]] = []

    class Watched:
        def __getattr__(self, name: str) -> object:
            return getattr(world.runs, name)

        async def commit_wave(
            self, lease: Lease, settlements: Sequence[Settlement], claim: WaveClaim | None
        ) -> ClaimAnswer:
            made.append((lease, settlements, claim))
            return await world.runs.commit_wave(lease, settlements, claim)

    def arrive_again() -> None:
        for commit in made:
            run_sync(world.runs.commit_wave(*commit))
        assert world.states() == {"A": "sending"}

    world.set_ports(runs=Watched())
    world.script("A", outcome(SubmitKind.DEFERRED, retry_after=5.0), accepted)
    world.sink.before = arrive_again
    assert world.run().status is RunStatus.COMPLETED
    assert len(world.sink.sent) == len(made) == 2


def test_the_kill_switch_is_asked_anew_after_a_pause() -> None:
    world = World({"A": 0.1})
    world.script("A", outcome(SubmitKind.DEFERRED, retry_after=5.0), accepted)
    world.sink.before = world.engage_shared
    run = world.run()
    assert world.states() == {"A": "halted"}
    assert run.failure is not None


def test_a_halt_after_a_pause_of_no_length_is_recorded() -> None:
    world = World({"A": 0.1, "B": 0.1})
    world.script("B", outcome(SubmitKind.DEFERRED, retry_after=0.0))
    world.sink.before = world.engage_shared
    run = world.run()
    assert world.states() == {"A": "accepted", "B": "halted"}
    assert run.status is RunStatus.PARTIAL


def test_prices_are_checked_again_at_each_claim() -> None:
    world = World({"A": 0.1, "B": 0.1})
    world.policy = evolve(world.policy, max_in_flight_orders=1)
    world.sink.delay = 31.0
    run = world.run()
    assert world.states() == {"A": "accepted", "B": "not_placed"}
    assert run.status is RunStatus.PARTIAL


def test_a_set_up_fault_at_the_gateway_stops_the_run() -> None:
    world = World({"A": -0.1, "B": 0.1})
    world.script("A", outcome(SubmitKind.NOT_PLACED, cause="401", stops_run=True))
    run = world.run()
    assert world.states() == {"A": "not_placed", "B": "not_placed"}
    assert len(world.sink.sent) == 1
    assert run.failure is not None
    assert run.failure.kind is FailureKind.GATEWAY_UNAVAILABLE


def test_an_unreachable_gateway_fails_the_run_only_if_nothing_was_placed() -> None:
    world = World({"A": 0.1, "B": 0.1})
    world.policy = evolve(world.policy, max_in_flight_orders=1)
    down = outcome(SubmitKind.NOT_PLACED, cause="refused", unreachable=True)
    world.script("B", down)
    run = world.run()
    assert (run.status, run.failure) == (RunStatus.PARTIAL, None)


def test_a_stop_lets_the_wave_end_and_leaves_nothing_running() -> None:
    world = World({"A": 0.1, "B": 0.1})
    world.policy = evolve(world.policy, max_in_flight_orders=1)

    def stop() -> None:
        world.stopping = True

    world.sink.before = stop
    run = world.run()
    assert run.status is RunStatus.PARTIAL
    assert world.states() == {"A": "accepted", "B": "not_placed"}


def test_what_was_not_placed_may_be_placed_by_the_next_run() -> None:
    world = World({"A": 0.1, "B": 0.1})
    world.script("B", outcome(SubmitKind.NOT_PLACED, cause="503"), accepted)
    world.run()
    world.run()
    assert world.states(2) == {"A": "adopted", "B": "accepted"}


def test_a_fault_of_ours_while_sending_is_recorded_as_unknown_and_raised() -> None:
    world = World({"A": -0.1, "B": 0.1})

    def fail() -> None:
        raise ZeroDivisionError

    world.sink.before = fail
    with pytest.raises(ZeroDivisionError):
        world.run()
    assert world.states() == {"A": "unknown", "B": "not_placed"}
    assert world.stored().status is RunStatus.RUNNING


def test_an_idempotency_key_answers_with_the_same_run() -> None:
    world = World({"A": 0.1})
    key = IdempotencyKey("k", "f")
    first = world.run(idempotency=key)
    assert world.run(idempotency=key) == first
    assert total_runs(world) == 1
    with pytest.raises(Conflict) as conflict:
        world.run(idempotency=IdempotencyKey("k", "other"))
    assert (conflict.value.kind, conflict.value.run_id) == ("other_request", first.run_id)


def test_a_keyed_run_still_going_is_a_conflict() -> None:
    world = World({"A": 0.1})
    world.script("A", outcome(SubmitKind.UNKNOWN, cause="time-out"))
    key = IdempotencyKey("k", "f")
    world.run(idempotency=key)
    with pytest.raises(Conflict) as conflict:
        world.run(idempotency=key)
    assert conflict.value.kind == "still_running"


def test_a_keyed_run_that_failed_before_any_claim_frees_its_key() -> None:
    world = World({"A": 0.1})
    key = IdempotencyKey("k", "f")
    world.signals.error = Unavailable("signals", "fetch", "down")
    assert world.run(idempotency=key).status is RunStatus.FAILED
    world.signals.error = None
    assert world.run(idempotency=key).status is RunStatus.COMPLETED


def test_a_run_without_any_order_is_complete() -> None:
    world = World({"A": 0.0})
    assert world.run().status is RunStatus.COMPLETED


def test_prices_out_of_reach_fail_the_run() -> None:
    world = World({"A": 0.1})

    class Down:
        async def quotes(self, symbols: Sequence[Symbol]) -> dict[Symbol, Quote | NoQuote]:
            raise Unavailable("prices", "quotes", "refused")

    world.set_ports(prices=Down())
    run = world.run()
    assert run.failure is not None
    assert run.failure.kind is FailureKind.PRICES_UNAVAILABLE


def test_a_run_that_another_replica_took_over_sends_no_more() -> None:
    world = World({"A": 0.1, "B": 0.1})
    world.policy = evolve(world.policy, max_in_flight_orders=1)

    def take_over() -> None:
        world.clock.advance(world.policy.lease_seconds)
        strategy = world.policy.strategy_id
        assert run_sync(world.runs.take_run(strategy, lease_seconds=60.0)) is not None

    world.sink.before = take_over
    run = world.run()
    assert [intent.symbol for intent in world.sink.sent] == ["A"]
    assert world.states() == {"A": "unknown", "B": "planned"}
    assert run.status is RunStatus.RUNNING


def test_a_sink_that_answers_out_of_order_leaves_its_wave_unknown() -> None:
    world = World({"A": 0.1, "B": 0.1})
    submit = world.sink.submit

    class Shuffling(Flagless):
        async def submit(
            self, intents: Sequence[OrderIntent], *, deadline: float
        ) -> Sequence[SubmitOutcome]:
            return tuple(reversed(await submit(intents, deadline=deadline)))

        async def safety_flags(self) -> SafetyFlags:
            return DRY

    world.set_ports(sink=Shuffling(world))
    with pytest.raises(IllegalTransition, match="out of order"):
        world.run()
    assert world.states() == {"A": "unknown", "B": "unknown"}


def test_a_store_that_claims_other_orders_is_not_obeyed() -> None:
    world = World({"A": 0.1, "B": 0.1})
    commit_plan = world.runs.commit_plan

    class Overclaiming:
        def __getattr__(self, name: str) -> object:
            return getattr(world.runs, name)

        async def commit_plan(
            self, lease: Lease, record: PlanRecord, claim: WaveClaim | None
        ) -> PlanCommit:
            committed = await commit_plan(lease, record, claim)
            fewer = ClaimAnswer(committed.answer.claimed[:1])
            return evolve(committed, answer=fewer)

    world.set_ports(runs=Overclaiming())
    with pytest.raises(IllegalTransition, match="other orders"):
        world.run()
    assert world.sink.sent == []


def test_a_run_waits_a_moment_for_the_orders_that_it_adopted() -> None:
    world = World({"A": 0.1})
    world.script("A", outcome(SubmitKind.UNKNOWN, cause="time-out"))
    world.run()
    started = world.clock.monotonic()
    later = world.run()
    assert later.status is RunStatus.RUNNING
    waited = world.clock.monotonic() - started
    assert world.policy.owner_wait_seconds <= waited < world.policy.owner_wait_seconds + 1


# The run database failing at each call, before and after its effect

WRITES = ("open_run", "commit_plan", "commit_wave", "close_run")


class FaultyRuns:
    """Passes through to a real repository; one call fails, before or after its effect."""

    def __init__(self, world: World, *, at: int, after_effect: bool, lasting: bool) -> None:
        self._world, self._at = world, at
        self._after_effect, self._lasting = after_effect, lasting
        self.calls = 0
        self.is_down = True

    def __getattr__(self, name: str) -> object:
        method = getattr(self._world.runs, name)

        async def call(*args: object, **named: object) -> object:
            if name not in WRITES and not self._lasting:
                return await method(*args, **named)
            self.calls += name in WRITES
            reached = self.calls >= self._at if self._lasting else self.calls == self._at
            if not (reached and self.is_down):
                return await method(*args, **named)
            if name in WRITES and self._after_effect and self.calls == self._at:
                await method(*args, **named)
                raise OutcomeUnknown("runs", name, "connection lost at commit")
            raise Unavailable("runs", name, "down")

        return call


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("at", range(1, 8))
def test_a_database_fault_at_any_write_loses_and_doubles_nothing(
    at: int,
    after_effect: bool,
    lasting: bool,
) -> None:
    world = World({"A": -0.1, "B": 0.1, "C": 0.1})
    world.policy = evolve(world.policy, max_in_flight_orders=1)
    faulty = FaultyRuns(world, at=at, after_effect=after_effect, lasting=lasting)
    world.set_ports(runs=faulty)
    try:
        answered = world.run()
    except (Unavailable, OutcomeUnknown):
        answered = None
    faulty.is_down = False
    sent = [intent.symbol for intent in world.sink.sent]
    assert len(sent) == len(set(sent)), "sent twice"
    stored = run_sync(world.runs.get_run(FIRST_RUN))
    if after_effect and not lasting:
        assert answered is not None, "what was done was not found done"
    if not lasting and stored is not None:
        assert stored.status is not RunStatus.RUNNING, "left open"
    if answered is None:
        assert sent == []
        return
    assert stored is not None
    states = world.states()
    for symbol in sent:
        assert states[symbol] in {"accepted", "sending"}
    for unsent in set(states) - set(sent):
        assert states[unsent] in {"planned", "not_placed", "sending"}
    if not lasting:
        assert answered == stored
    # Where the plan's commit and its answer were lost, the client is told to look again.
    assert answered.orders is not None or answered.status is RunStatus.RUNNING
    told = answered.orders or stored.orders or ()
    for shown, kept in zip(told, stored.orders or (), strict=True):
        if shown.state != kept.state:
            assert str(shown.state) in {"planned", "sending"}, "claims more than is stored"
