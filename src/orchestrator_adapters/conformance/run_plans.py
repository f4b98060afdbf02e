"""How a plan is committed, and what becomes of an order whose id another run holds."""

from collections.abc import Awaitable, Callable

import pytest

from orchestrator_adapters.conformance.run_cases import (
    DAY,
    TRADING,
    a_closing,
    a_record,
    a_request,
    a_settlement,
    a_signal,
    an_opening,
    at_once,
    engage,
    ids_of,
    let_trade,
    only_order,
    opened,
    order_states,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_stage import RunStage, taken_over
from orchestrator_core.commits import Lease, PlanCommit, PlanRecord, WaveClaim
from orchestrator_core.errors import IllegalTransition, LeaseLost
from orchestrator_core.identifiers import StrategyId, Symbol
from orchestrator_core.lifecycle import HOLDS_ID, OrderState, RunStatus
from orchestrator_core.limits import Limits
from orchestrator_core.model import Signal
from orchestrator_core.orders import Order, Owner, order_of

S = OrderState
FREE = [S.NOT_PLACED, S.HALTED]
HELD = [S.ACCEPTED, S.REJECTED, S.CONFLICT, S.UNKNOWN]


class PlanCases:
    """Cases of `commit_plan`."""

    async def test_rows_of_every_kind_come_back_as_planned(self, stage: RunStage) -> None:
        opening = an_opening(["ZERO", "NONE", "TINY", "MUCH", "SOLD", "GOOD"])
        record = a_record(
            opening,
            [
                a_signal("ZERO", 0.0),
                a_signal("NONE", 0.1),
                a_signal("TINY", 1e-7),
                a_signal("MUCH", 0.5),
                a_signal("SOLD", -0.01),
                a_signal("GOOD", 0.02),
            ],
            prices={"TINY": "100", "MUCH": "100", "SOLD": "9.99", "GOOD": "100.00000001"},
            limits=Limits(max_order_qty=200),
        )
        run = await started(stage.runs, opening=opening, record=record)
        expected = tuple(order_of(decision) for decision in record.plan.decisions)
        assert [order.state for order in expected] == [
            S.SKIPPED,
            S.SKIPPED,
            S.SKIPPED,
            S.DENIED,
            S.PLANNED,
            S.PLANNED,
        ]
        assert run.orders == expected
        back = await stored(stage.runs, run.run_id)
        assert back.orders == expected
        assert back.status is RunStatus.RUNNING
        assert back.num_signals == 6

    async def test_a_plan_moves_the_run_to_the_signals_date(self, stage: RunStage) -> None:
        opening = an_opening(request=a_request(as_of_date=None))
        other_day = DAY.replace(day=27, month=2)
        record = a_record(opening, as_of_date=other_day)
        run = await started(stage.runs, opening=opening, record=record)
        assert (await stored(stage.runs, run.run_id)).as_of_date == other_day

    @pytest.mark.parametrize(
        "metadata",
        [
            {},
            {"model_version": "m1", "strategy": "alpha", "top_n": 3, "generated_at": None},
            {"model_version": 7},
            {"words": "naïve — 東京 🚀 ' \" \\ \n \x00", "": [1, [], {}, {"a": [None, True]}]},
            {"numbers": [0, -1, 2**63, 10**40, 0.1, 1e-7, 1e300, -0.5, 5e-324]},
        ],
    )
    async def test_metadata_come_back_as_they_came(
        self, stage: RunStage, metadata: dict[str, object]
    ) -> None:
        opening = an_opening()
        record = a_record(opening, metadata=metadata)
        run = await started(stage.runs, opening=opening, record=record)
        assert (await stored(stage.runs, run.run_id)).signal_metadata == metadata

    @pytest.mark.parametrize(
        "signal",
        [
            Signal(Symbol("AAPL"), predicted_return=1e-7, rank=1, target_weight=1e-7),
            Signal(Symbol("AAPL"), predicted_return=-1e300, rank=0, target_weight=-0.1),
            Signal(Symbol("AAPL"), predicted_return=5e-324, rank=-3, target_weight=1 / 3),
            Signal(Symbol("AAPL"), predicted_return=0.1 + 0.2, rank=2**70, target_weight=10.0),
        ],
    )
    async def test_a_signals_numbers_come_back_exactly(
        self, stage: RunStage, signal: Signal
    ) -> None:
        opening = an_opening()
        record = a_record(opening, [signal])
        run = await started(stage.runs, opening=opening, record=record)
        back = await stored(stage.runs, run.run_id)
        assert back.orders is not None
        assert back.orders[0].signal == signal

    async def test_a_quantity_beyond_64_bits_comes_back_exactly(self, stage: RunStage) -> None:
        opening = an_opening(request=a_request(capital="999999999999999"))
        record = a_record(opening, [a_signal("AAPL", 1.0)], prices={"AAPL": "0." + "0" * 30 + "3"})
        run = await started(stage.runs, opening=opening, record=record)
        back = await stored(stage.runs, run.run_id)
        assert back.orders == run.orders == (order_of(record.plan.decisions[0]),)

    async def test_a_plan_of_nothing_is_a_plan(self, stage: RunStage) -> None:
        opening = an_opening()
        run = await started(stage.runs, opening=opening, record=a_record(opening, []))
        assert run.orders == ()
        assert (await stored(stage.runs, run.run_id)).orders == ()

    async def test_a_plan_of_two_thousand_orders_is_committed(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, [f"S{number}" for number in range(2000)])
        assert len(run.orders) == 2000
        back = await stored(stage.runs, run.run_id)
        assert back.orders == run.orders

    async def test_committing_a_plan_again_finds_it(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ["AAPL", "MSFT"], claims=True)
        claim = WaveClaim(1, run.ids, TRADING.epoch)
        again = await stage.runs.commit_plan(run.lease, run.record, claim)
        assert again.answer == run.answer
        assert again.answer.claimed == run.ids
        assert len(again.orders) == 2
        assert await order_states(stage.runs, run.run_id) == [S.SENDING, S.SENDING]

    async def test_a_run_has_one_plan(self, stage: RunStage) -> None:
        run = await started(stage.runs, ["AAPL", "MSFT"])
        other = a_record(run.opening, [a_signal("AAPL", 0.5)])
        with pytest.raises(IllegalTransition):
            await stage.runs.commit_plan(run.lease, other, None)
        assert (await stored(stage.runs, run.run_id)).orders == run.orders

    async def test_a_plan_is_committed_though_its_claim_is_halted(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        await engage(stage.runs)
        run = await started(stage.runs, claims=True)
        assert run.answer.halted
        assert run.answer.claimed == ()
        assert await order_states(stage.runs, run.run_id) == [S.PLANNED]

    async def test_a_plan_under_an_old_lease_is_not_stored(self, stage: RunStage) -> None:
        opening = an_opening()
        lease = await opened(stage.runs, opening)
        await taken_over(stage, opening.run_id)
        with pytest.raises(LeaseLost):
            await stage.runs.commit_plan(lease, a_record(opening), None)
        assert (await stored(stage.runs, opening.run_id)).orders is None


class AdoptionCases:
    """Cases of two runs with one decision."""

    async def test_a_second_run_adopts_what_the_first_holds(self, stage: RunStage) -> None:
        first = await started(stage.runs, ["AAPL", "MSFT"])
        second = await started(stage.runs, ["MSFT", "AAPL"])
        assert [order.state for order in second.orders] == [S.ADOPTED, S.ADOPTED]
        assert {order.owner for order in second.orders} == {Owner(first.run_id, S.PLANNED)}
        assert set(first.ids) == set(second.ids)
        assert all(order.intent is not None for order in second.orders)
        assert (await stored(stage.runs, second.run_id)).orders == second.orders

    async def test_only_what_is_held_is_adopted(self, stage: RunStage) -> None:
        await started(stage.runs, ["AAPL", "MSFT"])
        second = await started(stage.runs, ["IBM", "MSFT", "TSLA"])
        assert [order.state for order in second.orders] == [S.PLANNED, S.ADOPTED, S.PLANNED]

    async def test_another_rebalance_adopts_nothing(self, stage: RunStage) -> None:
        await started(stage.runs)
        opening = an_opening(request=a_request(rebalance_key="second"))
        second = await started(stage.runs, opening=opening)
        assert [order.state for order in second.orders] == [S.PLANNED]

    async def test_an_adopted_order_is_not_claimed(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        await started(stage.runs, ["AAPL"])
        second = await started(stage.runs, ["AAPL", "MSFT"], claims=True)
        own = ids_of(a_record(an_opening(["MSFT"])))
        assert second.answer.claimed == own
        assert await order_states(stage.runs, second.run_id) == [S.ADOPTED, S.SENDING]

    async def test_a_dry_run_holds_no_id(self, stage: RunStage) -> None:
        opening = an_opening(request=a_request(dry_run=True))
        dry = await started(stage.runs, opening=opening)
        assert [order.state for order in dry.orders] == [S.SKIPPED]
        real = await started(stage.runs)
        assert [order.state for order in real.orders] == [S.PLANNED]
        assert real.orders[0].intent == dry.orders[0].intent

    async def test_a_denied_order_holds_no_id(self, stage: RunStage) -> None:
        opening = an_opening()
        denied = await started(
            stage.runs, opening=opening, record=a_record(opening, limits=Limits(max_order_qty=1))
        )
        assert [order.state for order in denied.orders] == [S.DENIED]
        allowed = await started(stage.runs)
        assert [order.state for order in allowed.orders] == [S.PLANNED]

    async def test_what_is_not_to_be_sent_adopts_nothing(self, stage: RunStage) -> None:
        await started(stage.runs)
        dry = await started(stage.runs, opening=an_opening(request=a_request(dry_run=True)))
        opening = an_opening()
        denied = await started(
            stage.runs, opening=opening, record=a_record(opening, limits=Limits(max_order_qty=1))
        )
        assert [order.state for order in (*dry.orders, *denied.orders)] == [S.SKIPPED, S.DENIED]
        assert [order.owner for order in (*dry.orders, *denied.orders)] == [None, None]

    @pytest.mark.parametrize("state", FREE)
    async def test_an_order_never_placed_gives_its_id_up(
        self, stage: RunStage, state: OrderState
    ) -> None:
        first = await started(stage.runs)
        await stage.runs.close_run(first.lease, a_closing(a_settlement(first.ids[0], state)))
        second = await started(stage.runs)
        assert [order.state for order in second.orders] == [S.PLANNED]

    @pytest.mark.parametrize("state", HELD)
    async def test_an_order_that_may_be_placed_keeps_its_id(
        self, stage: RunStage, state: OrderState
    ) -> None:
        await let_trade(stage.runs)
        first = await started(stage.runs, claims=True)
        await stage.runs.close_run(first.lease, a_closing(a_settlement(first.ids[0], state)))
        second = await started(stage.runs)
        owner = second.orders[0].owner
        assert owner is not None
        assert (owner.run_id, owner.state) == (first.run_id, state)

    async def test_an_adopting_run_is_no_owner(self, stage: RunStage) -> None:
        first = await started(stage.runs)
        await started(stage.runs)
        third = await started(stage.runs)
        assert [order.owner for order in third.orders] == [Owner(first.run_id, S.PLANNED)]

    async def test_the_owner_stays_the_owner_when_its_id_is_free(self, stage: RunStage) -> None:
        first = await started(stage.runs)
        second = await started(stage.runs)
        not_placed = a_settlement(first.ids[0], S.NOT_PLACED)
        await stage.runs.close_run(first.lease, a_closing(not_placed))
        third = await started(stage.runs)
        assert [order.state for order in third.orders] == [S.PLANNED]
        adopted = await stored(stage.runs, second.run_id)
        assert adopted.orders is not None
        assert adopted.orders[0].owner == Owner(first.run_id, S.NOT_PLACED, not_placed.reason)

    async def test_committing_an_adopting_plan_again_finds_it(self, stage: RunStage) -> None:
        await started(stage.runs)
        second = await started(stage.runs)
        again = await stage.runs.commit_plan(second.lease, second.record, None)
        assert again.orders == second.orders

    async def test_an_adopted_order_is_seen_as_its_owner_stands(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        first = await started(stage.runs, claims=True)
        second = await started(stage.runs)
        assert _owner(await only_order(stage.runs, second)).state is S.SENDING
        accepted = a_settlement(first.ids[0], S.ACCEPTED)
        await stage.runs.commit_wave(first.lease, (accepted,), None)
        order = await only_order(stage.runs, second)
        assert _owner(order) == Owner(first.run_id, S.ACCEPTED, None, accepted.report)
        assert order.report is None

    async def test_racing_runs_hold_each_id_once(self, stage: RunStage) -> None:
        for attempt in range(8):
            symbols = [f"R{attempt}N{number}" for number in range(12)]
            orders = [symbols[:9], symbols[:2:-1], [*symbols[6:], *symbols[:6]]]
            openings = [an_opening(part) for part in orders]
            leases = [await opened(stage.runs, opening) for opening in openings]

            commits = await at_once(
                *[
                    _commit_call(stage, lease, a_record(opening))
                    for lease, opening in zip(leases, openings, strict=True)
                ]
            )
            held: list[str] = []
            adopted: set[str] = set()
            for commit in commits:
                assert isinstance(commit, PlanCommit), commit
                held += [o.signal.symbol for o in commit.orders if o.state in HOLDS_ID]
                adopted |= {o.signal.symbol for o in commit.orders if o.state is S.ADOPTED}
            assert sorted(held) == sorted(symbols)
            assert adopted <= set(symbols)

    async def test_strategies_do_not_adopt_from_each_other(self, stage: RunStage) -> None:
        await started(stage.runs)
        other = an_opening(strategy=StrategyId("beta"))
        second = await started(stage.runs, opening=other)
        assert [order.state for order in second.orders] == [S.PLANNED]


def _owner(order: Order) -> Owner:
    assert order.owner is not None
    return order.owner


def _commit_call(
    stage: RunStage, lease: Lease, record: PlanRecord
) -> Callable[[], Awaitable[PlanCommit]]:
    return lambda: stage.runs.commit_plan(lease, record, None)
