"""What every order sink does.

The stage is described in `order_stage`; the cases of looking up and canceling in `order_looks`.
"""

import pytest
from attrs import evolve

from orchestrator_adapters.conformance.order_looks import CancelCases, LookUpCases
from orchestrator_adapters.conformance.order_stage import IN_TIME, OrdersStage, an_intent
from orchestrator_adapters.memory.orders import Behaviour
from orchestrator_core.model import SafetyFlags, Side
from orchestrator_core.ports import SubmitKind

__all__ = ["OrderSinkConformance", "OrdersStage", "an_intent"]

KIND_AFTER = {
    Behaviour.TAKE: SubmitKind.ACCEPTED,
    Behaviour.REJECT: SubmitKind.REJECTED,
    Behaviour.REFUSE: SubmitKind.REJECTED,
    Behaviour.DEFER: SubmitKind.DEFERRED,
    Behaviour.STOP: SubmitKind.NOT_PLACED,
    Behaviour.PARK: SubmitKind.NOT_PLACED,
    Behaviour.TAKE_AND_LOSE_ANSWER: SubmitKind.UNKNOWN,
    Behaviour.LOSE_ORDER: SubmitKind.UNKNOWN,
    Behaviour.UNREACHABLE: SubmitKind.NOT_PLACED,
}
PLACING = {Behaviour.TAKE, Behaviour.TAKE_AND_LOSE_ANSWER}


class OrderSinkConformance(LookUpCases, CancelCases):
    """Subclass it, and override `stage`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def stage(self) -> OrdersStage:
        raise NotImplementedError("override this fixture: give a fresh stage")

    async def test_a_wave_is_placed_and_answered_in_order(self, stage: OrdersStage) -> None:
        wave = [an_intent(f"S{n}", qty=n + 1) for n in range(8)]
        outcomes = await stage.sink.submit(wave, deadline=IN_TIME)
        assert [o.client_order_id for o in outcomes] == [i.client_order_id for i in wave]
        assert {o.kind for o in outcomes} == {SubmitKind.ACCEPTED}
        assert await stage.ledger() == {i.client_order_id: (i.symbol, i.side, i.qty) for i in wave}

    async def test_an_accepted_order_carries_the_gateways_word(self, stage: OrdersStage) -> None:
        intent = an_intent("AAPL", side=Side.SELL)
        [outcome] = await stage.sink.submit([intent], deadline=IN_TIME)
        report = outcome.report
        assert report is not None
        assert report.gateway_order_id == intent.client_order_id
        assert report.broker_order_id
        assert outcome.cause is None

    async def test_an_empty_wave_is_no_work(self, stage: OrdersStage) -> None:
        assert list(await stage.sink.submit([], deadline=IN_TIME)) == []

    @pytest.mark.parametrize("behaviour", list(Behaviour))
    async def test_each_fate_is_told_as_it_is(
        self, stage: OrdersStage, behaviour: Behaviour
    ) -> None:
        intent = an_intent("AAPL")
        await stage.script(intent.symbol, [behaviour])
        [outcome] = await stage.sink.submit([intent], deadline=IN_TIME)
        assert outcome.kind is KIND_AFTER[behaviour]
        assert (outcome.cause is None) == (outcome.kind is SubmitKind.ACCEPTED)
        assert outcome.stops_run == (behaviour is Behaviour.STOP)
        assert outcome.unreachable == (behaviour is Behaviour.UNREACHABLE)
        is_held = intent.client_order_id in await stage.ledger()
        assert is_held == (behaviour in PLACING)

    async def test_one_orders_fate_leaves_the_others_theirs(self, stage: OrdersStage) -> None:
        # What a wave's first order meets may stand for those that were not tried.
        await stage.sink.submit([an_intent("FIRST")], deadline=IN_TIME)
        behaviours = [b for b in Behaviour if b is not Behaviour.UNREACHABLE]
        wave = [an_intent(f"S{n}") for n in range(len(behaviours))]
        for intent, behaviour in zip(wave, behaviours, strict=True):
            await stage.script(intent.symbol, [behaviour])
        outcomes = await stage.sink.submit(wave, deadline=IN_TIME)
        assert [o.kind for o in outcomes] == [KIND_AFTER[b] for b in behaviours]

    async def test_a_repeated_order_is_the_same_order(self, stage: OrdersStage) -> None:
        intent = an_intent("AAPL")
        [first] = await stage.sink.submit([intent], deadline=IN_TIME)
        [second] = await stage.sink.submit([intent], deadline=IN_TIME)
        assert second == first
        assert len(await stage.ledger()) == 1

    async def test_an_id_used_for_another_payload_is_a_conflict(self, stage: OrdersStage) -> None:
        intent = an_intent("AAPL", qty=10)
        await stage.sink.submit([intent], deadline=IN_TIME)
        [outcome] = await stage.sink.submit([evolve(intent, qty=11)], deadline=IN_TIME)
        assert outcome.kind is SubmitKind.CONFLICT
        assert await stage.ledger() == {
            intent.client_order_id: (intent.symbol, intent.side, intent.qty)
        }

    async def test_nothing_is_sent_after_the_deadline(self, stage: OrdersStage) -> None:
        wave = [an_intent("AAPL"), an_intent("MSFT")]
        outcomes = await stage.sink.submit(wave, deadline=stage.late)
        assert [o.kind for o in outcomes] == [SubmitKind.NOT_PLACED] * 2
        assert not any(o.stops_run or o.unreachable for o in outcomes)
        assert await stage.ledger() == {}

    @pytest.mark.parametrize(
        "flags",
        [
            SafetyFlags(dry_run=True, alpaca_paper=False, circuit_breaker_enabled=False),
            SafetyFlags(dry_run=False, alpaca_paper=True, circuit_breaker_enabled=False),
            SafetyFlags(dry_run=False, alpaca_paper=False, circuit_breaker_enabled=True),
        ],
    )
    async def test_the_gateways_flags_are_told(
        self, stage: OrdersStage, flags: SafetyFlags
    ) -> None:
        await stage.claim(flags)
        assert await stage.sink.safety_flags() == flags

    async def test_a_gateway_in_dry_run_accepts_and_places_nothing(
        self, stage: OrdersStage
    ) -> None:
        await stage.claim(
            SafetyFlags(dry_run=True, alpaca_paper=True, circuit_breaker_enabled=True)
        )
        [outcome] = await stage.sink.submit([an_intent("AAPL")], deadline=IN_TIME)
        assert outcome.kind is SubmitKind.ACCEPTED
        assert outcome.report is not None
        assert outcome.report.status == "dry_run"
        assert outcome.report.broker_order_id is None
        assert await stage.ledger() == {}
