"""How orders in doubt are claimed to be sent once more."""

import pytest

from orchestrator_adapters.conformance.run_cases import (
    TRADING,
    StartedRun,
    a_settlement,
    engage,
    let_trade,
    only_order,
    order_states,
    started,
)
from orchestrator_adapters.conformance.run_recoveries import about
from orchestrator_adapters.conformance.run_stage import RunStage, taken_over
from orchestrator_adapters.conformance.run_waves import claim_of, race_engagement
from orchestrator_core.commits import ClaimAnswer, WaveClaim
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.orders import Settlement

S = OrderState


def resend_of(number: int, *ids: ClientOrderId) -> WaveClaim:
    """Return a claim of orders in doubt."""
    return WaveClaim(number, ids, TRADING.epoch, resends=True)


class ResendCases:
    """Cases of a claim that sends again."""

    async def test_a_resend_takes_what_is_in_doubt_and_nothing_else(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "BA", "CVX", "DIS", "EBAY", "FDX"])
        await stage.runs.commit_wave(run.lease, (), claim_of(1, *run.ids[:5]))
        outcomes = [S.UNKNOWN, S.CONFLICT, S.ACCEPTED, S.UNKNOWN]
        answer = await stage.runs.commit_wave(
            run.lease,
            [a_settlement(id_, state) for id_, state in zip(run.ids, outcomes, strict=False)],
            resend_of(2, *run.ids[::-1]),
        )
        assert answer == ClaimAnswer(claimed=(run.ids[3], run.ids[0]))
        assert await order_states(stage.runs, run.run_id) == [
            *(S.SENDING, S.CONFLICT, S.ACCEPTED, S.SENDING),
            *(S.SENDING, S.PLANNED),
        ]

    async def test_a_first_claim_takes_nothing_that_is_in_doubt(self, stage: RunStage) -> None:
        run = await _doubtful(stage, ["AAPL"])
        answer = await stage.runs.commit_wave(run.lease, (), claim_of(2, *run.ids))
        assert answer == ClaimAnswer()
        assert await order_states(stage.runs, run.run_id) == [S.UNKNOWN]

    async def test_an_order_left_to_an_operator_is_not_sent_again(self, stage: RunStage) -> None:
        run = await _doubtful(stage, ["AAPL"])
        unresolved = a_settlement(run.ids[0], S.UNRESOLVED)
        answer = await stage.runs.commit_wave(run.lease, (unresolved,), resend_of(2, *run.ids))
        assert answer == ClaimAnswer()
        assert await order_states(stage.runs, run.run_id) == [S.UNRESOLVED]

    async def test_what_is_sent_again_can_be_settled_again(self, stage: RunStage) -> None:
        run = await _doubtful(stage, ["AAPL"])
        await stage.runs.commit_wave(run.lease, (), resend_of(2, *run.ids))
        order = await only_order(stage.runs, run)
        assert (order.state, order.reason) == (S.SENDING, None)
        for number in (3, 4):
            unknown = Settlement(run.ids[0], S.UNKNOWN, reason=f"try {number}")
            answer = await stage.runs.commit_wave(
                run.lease, (unknown,), resend_of(number, *run.ids)
            )
            assert answer.claimed == run.ids

    @pytest.mark.parametrize("engaged", [False, True])
    async def test_a_latch_that_moved_halts_a_resend(
        self, stage: RunStage, *, engaged: bool
    ) -> None:
        run = await _doubtful(stage, ["AAPL"])
        claim = resend_of(2, *run.ids)
        if engaged:
            await engage(stage.runs)
        else:
            claim = WaveClaim(2, run.ids, TRADING.epoch + 1, resends=True)
        answer = await stage.runs.commit_wave(run.lease, (), claim)
        assert answer == ClaimAnswer(halted=True)
        assert await order_states(stage.runs, run.run_id) == [S.UNKNOWN]

    async def test_repeating_a_resend_returns_what_it_took(self, stage: RunStage) -> None:
        run = await _doubtful(stage, ["AAPL", "IBM"])
        settled = a_settlement(run.ids[1], S.REJECTED)
        for _ in range(3):
            answer = await stage.runs.commit_wave(
                run.lease, (settled,), resend_of(2, run.ids[0], run.ids[1])
            )
            assert answer == ClaimAnswer(claimed=(run.ids[0],))
            assert await order_states(stage.runs, run.run_id) == [S.SENDING, S.REJECTED]
        await engage(stage.runs)
        answer = await stage.runs.commit_wave(run.lease, (settled,), resend_of(2, run.ids[0]))
        assert answer == ClaimAnswer(claimed=(run.ids[0],))

    async def test_a_resend_begins_the_age_of_its_claim_anew(self, stage: RunStage) -> None:
        run = await _doubtful(stage, ["AAPL", "IBM"])
        await stage.pass_time(50)
        await stage.runs.commit_wave(run.lease, (), resend_of(2, run.ids[0]))
        taken = await taken_over(stage, run.run_id)
        younger, older = (taken.claim_ages[id_] for id_ in run.ids)
        assert about(older - younger, 50)

    async def test_a_new_holder_sends_again_what_he_took_over(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "IBM"], claims=True)
        lease = (await taken_over(stage, run.run_id)).lease
        answer = await stage.runs.commit_wave(lease, (), resend_of(1, *run.ids))
        assert answer == ClaimAnswer(claimed=run.ids)

    async def test_after_the_latch_moved_no_resend_at_its_old_epoch_is_committed(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        moved = 0
        for attempt in range(15):
            names = [[f"E{attempt}R{run}N{n}" for n in range(6)] for run in range(3)]
            runs = [await _doubtful(stage, symbols) for symbols in names]
            moved += await race_engagement(stage, runs, pause=attempt % 5, resends=True)
            for run in runs:
                sending = await order_states(stage.runs, run.run_id)
                # Nothing of this round is on the wire in the next.
                again = [
                    a_settlement(id_, S.UNKNOWN)
                    for id_, state in zip(run.ids, sending, strict=True)
                    if state is S.SENDING
                ]
                await stage.runs.commit_wave(run.lease, again, None)
        assert moved > 0, "no claim was ever committed: the race was none"


async def _doubtful(stage: RunStage, symbols: list[str]) -> StartedRun:
    """Start a run whose orders are all UNKNOWN after its first claim."""
    latch = await stage.runs.read_latch()
    if latch is None:
        await let_trade(stage.runs)
        latch = TRADING
    run = await started(stage.runs, symbols)
    await stage.runs.commit_wave(run.lease, (), claim_of(1, *run.ids, epoch=latch.epoch))
    unknown = [a_settlement(id_, S.UNKNOWN) for id_ in run.ids]
    await stage.runs.commit_wave(run.lease, unknown, None)
    return run
