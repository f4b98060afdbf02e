"""How waves are claimed and their outcomes recorded, on the lease and under the latch."""

from collections.abc import Awaitable, Callable, Sequence

import anyio
import anyio.lowlevel
import pytest
from attrs import evolve

from orchestrator_adapters.conformance.run_cases import (
    STOPPED,
    TRADING,
    StartedRun,
    a_report,
    a_settlement,
    at_once,
    engage,
    let_trade,
    only_order,
    order_states,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_stage import RunStage, taken_over
from orchestrator_core.commits import ClaimAnswer, OpenOrder, WaveClaim
from orchestrator_core.errors import IllegalTransition, LeaseLost
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.kill_switch import Latch
from orchestrator_core.lifecycle import ORDER_TRANSITIONS, OrderState
from orchestrator_core.model import OrderReport
from orchestrator_core.orders import Settlement

S = OrderState

FROM_SENDING = [S.ACCEPTED, S.REJECTED, S.NOT_PLACED, S.CONFLICT, S.UNKNOWN, S.PLANNED]


def claim_of(number: int, *ids: ClientOrderId, epoch: int = TRADING.epoch) -> WaveClaim:
    """Return a claim."""
    return WaveClaim(number, ids, epoch)


class ClaimCases:
    """Cases of claiming a wave."""

    async def test_a_claim_takes_its_orders_in_its_order(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM", "MSFT"])
        wish = (run.ids[2], run.ids[0])
        answer = await stage.runs.commit_wave(run.lease, (), claim_of(1, *wish))
        assert answer == ClaimAnswer(claimed=wish)
        assert await order_states(stage.runs, run.run_id) == [S.SENDING, S.PLANNED, S.SENDING]

    async def test_the_plans_own_claim_takes_orders(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        assert run.answer == ClaimAnswer(claimed=run.ids)
        assert [order.state for order in run.orders] == [S.SENDING, S.SENDING]

    async def test_without_a_latch_nothing_is_claimed(self, stage: RunStage) -> None:
        run = await started(stage.runs, claims=True)
        assert run.answer == ClaimAnswer(halted=True)
        assert await order_states(stage.runs, run.run_id) == [S.PLANNED]

    @pytest.mark.parametrize(
        "latch",
        [
            STOPPED,
            evolve(STOPPED, epoch=TRADING.epoch),
            evolve(TRADING, epoch=TRADING.epoch + 1),
            evolve(TRADING, epoch=TRADING.epoch - 1),
        ],
    )
    async def test_a_latch_engaged_or_at_another_epoch_halts(
        self, stage: RunStage, latch: Latch
    ) -> None:
        assert await stage.runs.swap_latch(None, latch)
        run = await started(stage.runs)
        answer = await stage.runs.commit_wave(run.lease, (), claim_of(1, *run.ids))
        assert answer == ClaimAnswer(halted=True)
        assert await order_states(stage.runs, run.run_id) == [S.PLANNED]
        assert not await stage.runs.open_orders()

    async def test_only_planned_orders_are_taken(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM", "MSFT"])
        await stage.runs.commit_wave(run.lease, (), claim_of(1, run.ids[0]))
        halted = a_settlement(run.ids[1], S.HALTED)
        answer = await stage.runs.commit_wave(run.lease, (halted,), claim_of(2, *run.ids))
        assert answer == ClaimAnswer(claimed=(run.ids[2],))
        assert await order_states(stage.runs, run.run_id) == [S.SENDING, S.HALTED, S.SENDING]

    async def test_another_runs_order_is_not_taken(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        first = await started(stage.runs, ["AAPL"])
        second = await started(stage.runs, ["IBM"])
        answer = await stage.runs.commit_wave(second.lease, (), claim_of(1, *first.ids))
        assert answer.claimed == ()
        assert await order_states(stage.runs, first.run_id) == [S.PLANNED]

    async def test_repeating_a_claim_returns_what_it_took(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"])
        for _ in range(3):
            answer = await stage.runs.commit_wave(run.lease, (), claim_of(1, run.ids[0]))
            assert answer == ClaimAnswer(claimed=(run.ids[0],))
        assert await order_states(stage.runs, run.run_id) == [S.SENDING, S.PLANNED]

    async def test_repeating_a_claim_after_the_latch_moved_returns_what_it_took(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        await engage(stage.runs)
        answer = await stage.runs.commit_wave(run.lease, (), claim_of(1, *run.ids))
        assert answer == ClaimAnswer(claimed=run.ids)

    async def test_repeating_a_wave_that_claimed_a_deferred_order_again_is_safe(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        outcomes = (a_settlement(run.ids[0], S.PLANNED), a_settlement(run.ids[1], S.ACCEPTED))
        for _ in range(2):
            answer = await stage.runs.commit_wave(run.lease, outcomes, claim_of(2, run.ids[0]))
            assert answer == ClaimAnswer(claimed=(run.ids[0],))
            assert await order_states(stage.runs, run.run_id) == [S.SENDING, S.ACCEPTED]

    async def test_a_deferred_order_can_be_claimed_again(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        deferred = Settlement(run.ids[0], S.PLANNED, reason="429")
        for _ in range(2):
            await stage.runs.commit_wave(run.lease, (deferred,), None)
            order = await only_order(stage.runs, run)
            assert (order.state, order.reason) == (S.PLANNED, "429")
        answer = await stage.runs.commit_wave(run.lease, (), claim_of(2, *run.ids))
        assert answer == ClaimAnswer(claimed=run.ids)
        assert await order_states(stage.runs, run.run_id) == [S.SENDING]

    async def test_a_numbered_commit_that_arrives_late_puts_no_order_back(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        deferring = (a_settlement(run.ids[0], S.PLANNED),), claim_of(2)
        for _ in range(2):
            assert await stage.runs.commit_wave(run.lease, *deferring) == ClaimAnswer()
            assert await order_states(stage.runs, run.run_id) == [S.PLANNED]
        await stage.runs.commit_wave(run.lease, (), claim_of(3, *run.ids))
        assert await stage.runs.commit_wave(run.lease, *deferring) == ClaimAnswer()
        assert await order_states(stage.runs, run.run_id) == [S.SENDING]

    async def test_a_halted_claims_number_may_be_used_again(self, stage: RunStage) -> None:
        run = await started(stage.runs, claims=True)
        assert run.answer.halted
        await let_trade(stage.runs)
        answer = await stage.runs.commit_wave(run.lease, (), claim_of(1, *run.ids))
        assert answer == ClaimAnswer(claimed=run.ids)

    async def test_a_new_holder_counts_its_claims_anew(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"])
        await stage.runs.commit_wave(run.lease, (), claim_of(1, run.ids[0]))
        lease = (await taken_over(stage, run.run_id)).lease
        answer = await stage.runs.commit_wave(lease, (), claim_of(1, run.ids[1]))
        assert answer == ClaimAnswer(claimed=(run.ids[1],))
        assert await order_states(stage.runs, run.run_id) == [S.UNKNOWN, S.SENDING]

    async def test_of_two_claims_of_one_order_at_once_one_takes_it(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, [f"C{number}" for number in range(10)])
        for place, id_ in enumerate(run.ids):
            first, second = 2 * place + 1, 2 * place + 2
            answers = await at_once(
                _wave_call(stage, run, claim_of(first, id_)),
                _wave_call(stage, run, claim_of(second, id_)),
            )
            claimed = [a.claimed for a in answers if isinstance(a, ClaimAnswer)]
            assert claimed.count((id_,)) == 1, answers
            assert len(answers) == 2

    async def test_one_claim_made_twice_at_once_is_one_claim(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, [f"C{number}" for number in range(8)])
        for number, id_ in enumerate(run.ids, start=1):
            call = _wave_call(stage, run, claim_of(number, id_))
            assert await at_once(call, call) == [ClaimAnswer(claimed=(id_,))] * 2

    async def test_after_the_latch_moved_no_claim_at_its_old_epoch_is_committed(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        moved = 0
        for attempt in range(15):
            names = [[f"E{attempt}R{run}N{n}" for n in range(6)] for run in range(3)]
            runs = [await started(stage.runs, symbols) for symbols in names]
            moved += await race_engagement(stage, runs, pause=attempt % 5)
        assert moved > 0, "no claim was ever committed: the race was none"


class OutcomeCases:
    """Cases of recording what became of orders."""

    @pytest.mark.parametrize("state", FROM_SENDING)
    async def test_an_outcome_comes_back_as_recorded(
        self, stage: RunStage, state: OrderState
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        outcome = Settlement(run.ids[0], state, reason="503 it's “down”", report=None)
        await stage.runs.commit_wave(run.lease, (outcome,), None)
        order = await only_order(stage.runs, run)
        assert (order.state, order.reason, order.report) == (state, outcome.reason, None)

    @pytest.mark.parametrize("state", [S.ACCEPTED, S.REJECTED, S.CONFLICT, S.UNKNOWN])
    async def test_the_gateways_word_comes_back_exactly(
        self, stage: RunStage, state: OrderState
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        full, bare = a_report(run.ids[0]), OrderReport("new", gateway_order_id="another id")
        await stage.runs.commit_wave(
            run.lease,
            (
                Settlement(run.ids[0], state, report=full),
                Settlement(run.ids[1], state, report=bare),
            ),
            None,
        )
        orders = (await stored(stage.runs, run.run_id)).orders
        assert orders is not None
        assert {order.signal.symbol: order.report for order in orders} == {
            "AAPL": full,
            "IBM": bare,
        }

    async def test_what_is_known_later_keeps_the_earlier_word(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        word = a_report(run.ids[0], "pending_new")
        await stage.runs.commit_wave(
            run.lease, (Settlement(run.ids[0], S.UNKNOWN, report=word),), None
        )
        for _ in range(2):
            await stage.runs.commit_wave(run.lease, (Settlement(run.ids[0], S.ACCEPTED),), None)
            order = await only_order(stage.runs, run)
            assert (order.state, order.reason, order.report) == (S.ACCEPTED, None, word)

    async def test_words_that_no_database_stores_do_not_hinder_an_outcome(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        words = "a\x00b\ud800c\udfff"
        report = OrderReport(words, gateway_order_id=words, broker_order_id=words, message=words)
        outcome = Settlement(run.ids[0], S.ACCEPTED, reason=words, report=report)
        for _ in range(2):
            await stage.runs.commit_wave(run.lease, (outcome,), None)
        assert await order_states(stage.runs, run.run_id) == [S.ACCEPTED]

    async def test_outcomes_are_recorded_though_the_claim_is_halted(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"])
        await stage.runs.commit_wave(run.lease, (), claim_of(1, run.ids[0]))
        await engage(stage.runs)
        outcome = a_settlement(run.ids[0], S.ACCEPTED)
        for _ in range(2):
            answer = await stage.runs.commit_wave(run.lease, (outcome,), claim_of(2, run.ids[1]))
            assert answer == ClaimAnswer(halted=True)
            assert await order_states(stage.runs, run.run_id) == [S.ACCEPTED, S.PLANNED]

    @pytest.mark.parametrize("state", FROM_SENDING)
    async def test_recording_an_outcome_again_is_harmless(
        self, stage: RunStage, state: OrderState
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        outcome = a_settlement(run.ids[0], state)
        await stage.runs.commit_wave(run.lease, (outcome,), None)
        before = await stored(stage.runs, run.run_id)
        await stage.runs.commit_wave(run.lease, (outcome,), None)
        assert await stored(stage.runs, run.run_id) == before

    @pytest.mark.parametrize("state", [S.PLANNED, S.SENDING, S.ACCEPTED, S.UNKNOWN, S.NOT_PLACED])
    async def test_a_step_outside_the_table_changes_nothing(
        self, stage: RunStage, state: OrderState
    ) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM", "MSFT"])
        await self._bring(stage, run, state)
        before = await stored(stage.runs, run.run_id)
        legal = a_settlement(run.ids[1], S.HALTED)
        for wrong in set(S) - ORDER_TRANSITIONS[state] - {state}:
            illegal = a_settlement(run.ids[0], wrong)
            with pytest.raises(IllegalTransition):
                await stage.runs.commit_wave(run.lease, (legal, illegal), claim_of(9, run.ids[2]))
            assert await stored(stage.runs, run.run_id) == before

    @pytest.mark.parametrize("state", [S.SENDING, S.ADOPTED])
    async def test_no_outcome_sends_or_adopts(self, stage: RunStage, state: OrderState) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs)
        with pytest.raises(IllegalTransition):
            await stage.runs.commit_wave(run.lease, (a_settlement(run.ids[0], state),), None)
        assert await order_states(stage.runs, run.run_id) == [S.PLANNED]

    async def test_an_outcome_of_no_order_of_the_run_changes_nothing(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        other = await started(stage.runs, ["IBM"], claims=True)
        run = await started(stage.runs, claims=True)
        outcomes = (a_settlement(run.ids[0], S.ACCEPTED), a_settlement(other.ids[0], S.ACCEPTED))
        with pytest.raises(IllegalTransition):
            await stage.runs.commit_wave(run.lease, outcomes, None)
        assert await order_states(stage.runs, run.run_id) == [S.SENDING]
        assert await order_states(stage.runs, other.run_id) == [S.SENDING]

    async def test_an_adopted_order_has_no_outcome_of_its_own(self, stage: RunStage) -> None:
        await started(stage.runs)
        run = await started(stage.runs)
        with pytest.raises(IllegalTransition):
            await stage.runs.commit_wave(run.lease, (a_settlement(run.ids[0], S.HALTED),), None)

    async def test_a_writer_whose_lease_is_old_changes_nothing(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"])
        await stage.runs.commit_wave(run.lease, (), claim_of(1, run.ids[0]))
        lease = (await taken_over(stage, run.run_id)).lease
        assert (lease.run_id, lease.epoch) == (run.run_id, run.lease.epoch + 1)
        outcome = a_settlement(run.ids[0], S.ACCEPTED)
        with pytest.raises(LeaseLost):
            await stage.runs.commit_wave(run.lease, (outcome,), claim_of(2, run.ids[1]))
        assert await order_states(stage.runs, run.run_id) == [S.UNKNOWN, S.PLANNED]
        await stage.runs.commit_wave(lease, (outcome,), None)
        assert await order_states(stage.runs, run.run_id) == [S.ACCEPTED, S.PLANNED]

    async def test_a_lease_of_an_epoch_never_given_changes_nothing(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs)
        ahead = evolve(run.lease, epoch=run.lease.epoch + 1)
        with pytest.raises(LeaseLost):
            await stage.runs.commit_wave(ahead, (), claim_of(1, *run.ids))
        assert await order_states(stage.runs, run.run_id) == [S.PLANNED]

    async def test_what_may_be_on_the_wire_is_listed(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        symbols = ["AAPL", "BA", "CVX", "DIS", "EBAY", "FDX"]
        first = await started(stage.runs, symbols, claims=True)
        outcomes = [S.PLANNED, S.ACCEPTED, S.REJECTED, S.UNKNOWN, S.CONFLICT]
        await stage.runs.commit_wave(
            first.lease,
            [a_settlement(id_, state) for id_, state in zip(first.ids, outcomes, strict=False)],
            None,
        )
        second = await started(stage.runs, ["IBM"], claims=True)
        await started(stage.runs, ["AAPL"])
        found = await stage.runs.open_orders()
        assert len(found) == 4
        assert set(found) == {
            OpenOrder(first.run_id, first.ids[3], "DIS", S.UNKNOWN),
            OpenOrder(first.run_id, first.ids[4], "EBAY", S.CONFLICT),
            OpenOrder(first.run_id, first.ids[5], "FDX", S.SENDING),
            OpenOrder(second.run_id, second.ids[0], "IBM", S.SENDING),
        }

    async def test_an_order_that_waits_for_an_operator_is_listed(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, claims=True)
        for state in (S.UNKNOWN, S.UNRESOLVED):
            await stage.runs.commit_wave(run.lease, (a_settlement(run.ids[0], state),), None)
        assert [order.state for order in await stage.runs.open_orders()] == [S.UNRESOLVED]

    async def _bring(self, stage: RunStage, run: StartedRun, state: OrderState) -> None:
        if state is S.PLANNED:
            return
        await stage.runs.commit_wave(run.lease, (), claim_of(1, run.ids[0]))
        if state is not S.SENDING:
            await stage.runs.commit_wave(run.lease, (a_settlement(run.ids[0], state),), None)


async def race_engagement(
    stage: RunStage, runs: Sequence[StartedRun], *, pause: int, resends: bool = False
) -> int:
    """Claim the runs' orders one by one while the latch is engaged; return how many were taken.

    What is being sent when the engagement returns must be all that is ever sent. Disengages again.
    """
    latch = await stage.runs.read_latch()
    assert latch is not None
    seen: set[ClientOrderId] = set()

    async def claim_on(run: StartedRun) -> None:
        for number, id_ in enumerate(run.ids, start=2):
            claim = WaveClaim(number, (id_,), latch.epoch, resends)
            if (await stage.runs.commit_wave(run.lease, (), claim)).halted:
                return
            await anyio.lowlevel.checkpoint()

    async def stop() -> None:
        for _ in range(pause):
            await stage.runs.read_latch()
        await engage(stage.runs)
        seen.update(await _being_sent(stage))

    async with anyio.create_task_group() as group:
        for run in runs:
            group.start_soon(claim_on, run)
        group.start_soon(stop)
    assert await _being_sent(stage) == seen
    engaged = await stage.runs.read_latch()
    assert engaged is not None
    assert await stage.runs.swap_latch(engaged, evolve(engaged, engaged=False))
    return len(seen)


async def _being_sent(stage: RunStage) -> set[ClientOrderId]:
    found = await stage.runs.open_orders()
    return {order.client_order_id for order in found if order.state is S.SENDING}


def _wave_call(
    stage: RunStage, run: StartedRun, claim: WaveClaim
) -> Callable[[], Awaitable[ClaimAnswer]]:
    return lambda: stage.runs.commit_wave(run.lease, (), claim)
