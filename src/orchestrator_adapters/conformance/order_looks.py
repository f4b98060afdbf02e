"""What every order sink does about orders that exist: looks them up, and asks to cancel them."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from orchestrator_adapters.conformance.order_stage import IN_TIME, OrdersStage, an_intent
from orchestrator_adapters.memory.orders import Behaviour, Silence
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import OrderIntent, OrderReport, OrderType, Side
from orchestrator_core.ports import CancelOutcome, Inquiry, LookUp, LookUpKind

K = LookUpKind
AAPL = an_intent("AAPL")

STANDING_WORDS = (
    "pending_new",
    "new",
    "accepted",
    "partially_filled",
    "filled",
    "canceled",
    "expired",
    "replaced",
    "done_for_day",
    "stopped",
    "suspended",
    "pending_cancel",
    "pending_replace",
    "calculated",
    "submitted",
    "submitted_unconfirmed",
    "scheduled",
)
REJECTED_WORDS = ("rejected", "blocked_kill_switch", "blocked_circuit_breaker")
UNCLEAR_WORDS = ("failed", "held", "cancelled", "ACCEPTED")
ENDED_WORDS = ("filled", "canceled", "expired", "rejected", "replaced")
OPEN_WORDS = ("accepted", "partially_filled", "pending_new")

# More than an adapter asks about at once.
MANY = 20


async def place(stage: OrdersStage, *intents: OrderIntent) -> list[OrderReport]:
    """Place orders that the gateway takes; return its words on them."""
    outcomes = await stage.sink.submit(intents, deadline=IN_TIME)
    reports = [outcome.report for outcome in outcomes if outcome.report is not None]
    assert len(reports) == len(intents)
    return reports


async def look_up(stage: OrdersStage, *intents: OrderIntent) -> Sequence[LookUp]:
    """Ask after orders under our own ids."""
    return await stage.sink.look_up([Inquiry(intent) for intent in intents])


async def cancel(stage: OrdersStage, *intents: OrderIntent) -> Sequence[CancelOutcome]:
    """Ask to cancel orders under our own ids."""
    return await stage.sink.cancel([Inquiry(intent) for intent in intents])


def requested(intent: OrderIntent) -> CancelOutcome:
    """Return what a gateway's yes to a cancel comes to."""
    return CancelOutcome(intent.client_order_id, is_requested=True)


class LookUpCases:
    """Looking up: the gateway's own record, and no more than it proves."""

    async def test_an_order_whose_answer_was_lost_is_found(self, stage: OrdersStage) -> None:
        await stage.script(AAPL.symbol, [Behaviour.TAKE_AND_LOSE_ANSWER])
        await stage.sink.submit([AAPL], deadline=IN_TIME)
        [answer] = await look_up(stage, AAPL)
        assert answer.kind is K.ACCEPTED
        assert answer.cause is None
        assert answer.report is not None
        assert answer.report.gateway_order_id == AAPL.client_order_id
        assert answer.report.broker_order_id

    @pytest.mark.parametrize("behaviour", [Behaviour.LOSE_ORDER, Behaviour.REFUSE])
    async def test_an_order_that_never_arrived_is_absent(
        self, stage: OrdersStage, behaviour: Behaviour
    ) -> None:
        await stage.script(AAPL.symbol, [behaviour])
        await stage.sink.submit([AAPL], deadline=IN_TIME)
        [answer] = await look_up(stage, AAPL)
        assert (answer.kind, answer.report) == (K.ABSENT, None)
        assert answer.cause

    async def test_a_record_that_was_lost_is_absent(self, stage: OrdersStage) -> None:
        await place(stage, AAPL)
        await stage.forget(AAPL.client_order_id)
        [answer] = await look_up(stage, AAPL)
        assert answer.kind is K.ABSENT

    async def test_each_word_has_its_meaning(self, stage: OrdersStage) -> None:
        meant = {
            **dict.fromkeys(STANDING_WORDS, K.ACCEPTED),
            **dict.fromkeys(REJECTED_WORDS, K.REJECTED),
            **dict.fromkeys(UNCLEAR_WORDS, K.UNCLEAR),
        }
        intents = [an_intent(f"S{number}") for number in range(len(meant))]
        for report, word in zip(await place(stage, *intents), meant, strict=True):
            await stage.say(evolve(report, status=word, message="so it is"))
        answers = await look_up(stage, *intents)
        assert dict(zip(meant, [answer.kind for answer in answers], strict=True)) == meant
        for answer, word in zip(answers, meant, strict=True):
            assert answer.report is not None
            assert answer.report.status == word
            assert (answer.cause is None) == (answer.kind is K.ACCEPTED)

    async def test_without_a_brokers_id_no_order_stands(self, stage: OrdersStage) -> None:
        meant = {
            **dict.fromkeys((*STANDING_WORDS, *UNCLEAR_WORDS), K.UNCLEAR),
            **dict.fromkeys(REJECTED_WORDS, K.REJECTED),
            "dry_run": K.ACCEPTED,
        }
        intents = [an_intent(f"S{number}") for number in range(len(meant))]
        for report, word in zip(await place(stage, *intents), meant, strict=True):
            await stage.say(evolve(report, status=word, broker_order_id=None))
        answers = await look_up(stage, *intents)
        assert dict(zip(meant, [answer.kind for answer in answers], strict=True)) == meant
        assert all(answer.report is not None for answer in answers)

    async def test_what_was_filled_is_told(self, stage: OrdersStage) -> None:
        [report] = await place(stage, AAPL)
        price = Decimal("189.25")
        await stage.say(
            evolve(report, status="partially_filled", filled_qty=Decimal(4), filled_avg_price=price)
        )
        [answer] = await look_up(stage, AAPL)
        assert answer.report is not None
        assert answer.report.filled_qty == 4
        assert answer.report.filled_avg_price == price
        assert answer.report.broker_order_id == report.broker_order_id

    @pytest.mark.parametrize(
        "fields",
        [
            {"symbol": Symbol("MSFT")},
            {"side": Side.SELL},
            {"qty": 11},
            {"order_type": OrderType.LIMIT},
        ],
        ids=lambda fields: next(iter(fields)),
    )
    @pytest.mark.parametrize("word", ["accepted", "rejected", "failed"])
    async def test_a_record_of_another_order_is_a_conflict(
        self, stage: OrdersStage, fields: dict[str, Any], word: str
    ) -> None:
        [report] = await place(stage, AAPL)
        await stage.say(evolve(report, status=word))
        await stage.garble(AAPL.client_order_id, **fields)
        [answer] = await look_up(stage, AAPL)
        assert (answer.kind, answer.report) == (K.CONFLICT, None)
        assert answer.cause is not None
        assert next(iter(fields)) in answer.cause

    async def test_a_look_that_fails_says_nothing_and_may_be_repeated(
        self, stage: OrdersStage
    ) -> None:
        await place(stage, AAPL)
        await stage.silence(AAPL, [Silence.LOSE_ANSWER])
        [answer] = await look_up(stage, AAPL)
        assert (answer.kind, answer.report) == (K.UNANSWERED, None)
        assert answer.cause
        [answer] = await look_up(stage, AAPL)
        assert answer.kind is K.ACCEPTED

    async def test_a_gateway_that_paces_us_says_how_long(self, stage: OrdersStage) -> None:
        await place(stage, AAPL)
        await stage.silence(AAPL, [Silence.PACE])
        [answer] = await look_up(stage, AAPL)
        assert (answer.kind, answer.retry_after) == (K.UNANSWERED, 1.0)

    async def test_each_inquiry_is_answered_in_order(self, stage: OrdersStage) -> None:
        intents = [an_intent(f"S{number}", qty=number + 1) for number in range(MANY)]
        await place(stage, *intents[::2])
        await stage.garble(intents[2].client_order_id, qty=7)
        await stage.silence(intents[4], [Silence.LOSE_ANSWER])
        answers = await look_up(stage, *intents, intents[0])
        assert [answer.client_order_id for answer in answers] == [
            intent.client_order_id for intent in (*intents, intents[0])
        ]
        kinds = [K.ACCEPTED, K.ABSENT] * (MANY // 2)
        kinds[2], kinds[4] = K.CONFLICT, K.UNANSWERED
        assert [answer.kind for answer in answers] == [*kinds, K.ACCEPTED]

    async def test_a_look_changes_nothing(self, stage: OrdersStage) -> None:
        await place(stage, AAPL)
        first = await look_up(stage, AAPL, an_intent("MSFT"))
        assert await look_up(stage, AAPL, an_intent("MSFT")) == first
        assert set(await stage.ledger()) == {AAPL.client_order_id}

    async def test_no_inquiry_is_no_work(self, stage: OrdersStage) -> None:
        assert list(await stage.sink.look_up([])) == []
        assert list(await stage.sink.cancel([])) == []

    async def test_a_gateway_that_ignores_our_ids_knows_the_order_by_its_own(
        self, stage: OrdersStage
    ) -> None:
        await stage.go_blind()
        [first] = await place(stage, AAPL)
        [second] = await place(stage, AAPL)
        assert len({AAPL.client_order_id, first.gateway_order_id, second.gateway_order_id}) == 3
        assert len(await stage.ledger()) == 2
        [ours, theirs] = await stage.sink.look_up(
            [Inquiry(AAPL), Inquiry(AAPL, second.gateway_order_id)]
        )
        assert (ours.kind, theirs.kind) == (K.ABSENT, K.ACCEPTED)
        assert theirs.client_order_id == AAPL.client_order_id
        assert theirs.report == second

    async def test_a_gateway_that_is_gone_leaves_every_inquiry_unanswered(
        self, stage: OrdersStage
    ) -> None:
        intents = [an_intent(f"S{number}") for number in range(MANY)]
        await place(stage, *intents)
        await stage.vanish()
        answers = await look_up(stage, *intents)
        assert [answer.client_order_id for answer in answers] == [
            intent.client_order_id for intent in intents
        ]
        assert {answer.kind for answer in answers} == {K.UNANSWERED}
        outcomes = await cancel(stage, *intents)
        assert not any(outcome.is_requested for outcome in outcomes)
        assert all(answer.cause for answer in answers)
        assert all(outcome.cause for outcome in outcomes)


class CancelCases:
    """Canceling: what is open is canceled, what has ended needs none."""

    @pytest.mark.parametrize("word", OPEN_WORDS)
    async def test_an_open_order_is_canceled(self, stage: OrdersStage, word: str) -> None:
        [report] = await place(stage, AAPL)
        await stage.say(evolve(report, status=word))
        assert list(await cancel(stage, AAPL)) == [requested(AAPL)]
        [answer] = await look_up(stage, AAPL)
        assert answer.report is not None
        assert answer.report.status == "canceled"

    @pytest.mark.parametrize("word", ENDED_WORDS)
    async def test_an_order_that_ended_needs_no_cancel(self, stage: OrdersStage, word: str) -> None:
        [report] = await place(stage, AAPL)
        await stage.say(evolve(report, status=word))
        assert list(await cancel(stage, AAPL)) == [requested(AAPL)]
        [answer] = await look_up(stage, AAPL)
        assert answer.report is not None
        assert answer.report.status == word

    async def test_a_cancel_may_be_repeated(self, stage: OrdersStage) -> None:
        await place(stage, AAPL)
        first, second = await cancel(stage, AAPL, AAPL)
        [third] = await cancel(stage, AAPL)
        assert first == second == third == requested(AAPL)

    async def test_an_order_that_the_gateway_does_not_know_cannot_be_canceled(
        self, stage: OrdersStage
    ) -> None:
        [outcome] = await cancel(stage, AAPL)
        assert not outcome.is_requested
        assert outcome.cause

    @pytest.mark.parametrize("silence", list(Silence))
    async def test_a_cancel_that_fails_is_told_and_may_be_repeated(
        self, stage: OrdersStage, silence: Silence
    ) -> None:
        await place(stage, AAPL)
        await stage.silence(AAPL, [silence])
        [outcome] = await cancel(stage, AAPL)
        assert not outcome.is_requested
        assert outcome.cause
        [outcome] = await cancel(stage, AAPL)
        assert outcome.is_requested

    async def test_each_cancel_is_told_in_order(self, stage: OrdersStage) -> None:
        intents = [an_intent(f"S{number}") for number in range(MANY)]
        await place(stage, *intents[::2])
        outcomes = await cancel(stage, *intents)
        assert [(outcome.client_order_id, outcome.is_requested) for outcome in outcomes] == [
            (intent.client_order_id, number % 2 == 0) for number, intent in enumerate(intents)
        ]

    async def test_an_order_is_canceled_under_the_gateways_own_id(self, stage: OrdersStage) -> None:
        await stage.go_blind()
        [report] = await place(stage, AAPL)
        inquiry = Inquiry(AAPL, report.gateway_order_id)
        [outcome] = await stage.sink.cancel([inquiry])
        assert outcome == requested(AAPL)
        [answer] = await stage.sink.look_up([inquiry])
        assert answer.report == evolve(report, status="canceled")
