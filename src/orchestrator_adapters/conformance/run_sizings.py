"""What orders were sized with: kept with their run, and as a reference for later ones."""

from datetime import timedelta
from decimal import Decimal

import pytest

from orchestrator_adapters.conformance.run_books import keyed
from orchestrator_adapters.conformance.run_cases import (
    ALPHA,
    START,
    TRADING,
    StartedRun,
    a_closing,
    a_record,
    a_settlement,
    a_signal,
    an_opening,
    let_trade,
    started,
    stored,
)
from orchestrator_adapters.conformance.run_closings import as_known
from orchestrator_adapters.conformance.run_followings import an_acceptance
from orchestrator_adapters.conformance.run_recoveries import BETA, about
from orchestrator_adapters.conformance.run_resends import resend_of
from orchestrator_adapters.conformance.run_stage import RunStage, taken_over
from orchestrator_core.commits import WaveClaim
from orchestrator_core.identifiers import StrategyId, Symbol
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import Contribution, Signal
from orchestrator_core.orders import Order

S = OrderState
AAPL = Symbol("AAPL")


def a_netted_signal(share: str = "0.50", weight: float = 0.04) -> Signal:
    """Return a signal that two strategies put something into."""
    parts = (
        Contribution(StrategyId("a"), Decimal(share), 0.02, 3, weight),
        Contribution(StrategyId("b"), Decimal("0.25"), -0.02, 1, -0.04),
    )
    return Signal(Symbol("A"), 0.01, 1, 0.01, contributions=parts)


class SizingCases:
    """Cases of the price and the strategies' parts that come back with an order."""

    async def test_a_run_keeps_what_its_orders_were_sized_with(self, stage: RunStage) -> None:
        signal = a_netted_signal()
        opening = an_opening(("A", "B"))
        record = a_record(opening, [signal, a_signal("B", 0.0)], prices={"A": "100.010"})
        run = await started(stage.runs, opening=opening, record=record)
        kept = await stored(stage.runs, run.run_id)
        assert kept.orders == run.orders
        assert kept.orders is not None
        assert [(order.price, order.signal) for order in kept.orders] == [
            (Decimal("100.010"), signal),
            (None, a_signal("B", 0.0)),
        ]

    @pytest.mark.parametrize(
        ("price", "share", "weight"),
        [
            ("0.0000000001234567890123456789", "0.0000000000000000000123", 5e-324),
            ("876.2109876543210987654321", "0.1234567890123456789012345678", -0.0),
            ("1E+3", "1E-7", 0.1 + 0.2),
        ],
    )
    async def test_hard_numbers_are_kept_exactly(
        self, stage: RunStage, price: str, share: str, weight: float
    ) -> None:
        signal = a_netted_signal(share, weight)
        opening = an_opening(("A", "B"))
        record = a_record(opening, [signal, a_signal("B")], prices={"A": "1", "B": price})
        run = await started(stage.runs, opening=opening, record=record)
        kept = (await stored(stage.runs, run.run_id)).orders
        assert kept is not None
        assert kept == run.orders
        assert kept[0].signal == signal
        assert kept[1].price == Decimal(price)

    async def test_what_becomes_of_an_order_leaves_what_it_was_sized_with(
        self, stage: RunStage
    ) -> None:
        await let_trade(stage.runs)
        opening = an_opening(("A",))
        record = a_record(opening, [a_netted_signal()], prices={"A": "99.95"})
        run = await started(stage.runs, opening=opening, record=record, claims=True)
        adopting = an_opening(("A",))
        other = a_record(adopting, [a_netted_signal("0.49")], prices={"A": "101.05"})
        adopter = await started(stage.runs, opening=adopting, record=other)

        def check(orders: tuple[Order, ...] | None) -> None:
            assert orders is not None
            assert [(order.price, order.signal) for order in orders] == [
                (Decimal("99.95"), a_netted_signal())
            ]

        taken = await taken_over(stage, run.run_id)
        check(taken.run.orders)
        closing = await as_known(stage, run, a_closing(an_acceptance(run.ids[0])))
        check((await stage.runs.close_run(taken.lease, closing)).orders)
        check((await stored(stage.runs, run.run_id)).orders)
        [adopted] = (await stored(stage.runs, adopter.run_id)).orders or ()
        assert adopted.state is S.ADOPTED
        assert (adopted.price, adopted.signal) == (Decimal("101.05"), a_netted_signal("0.49"))


class ReferenceCases:
    """Cases of `last_accepted`."""

    async def test_a_symbol_that_was_never_accepted_has_no_reference(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        symbols = ("A", "B", "C", "D")
        run = await started(stage.runs, symbols, claims=True)
        states = (S.REJECTED, S.UNKNOWN, S.NOT_PLACED)
        outcomes = [a_settlement(id_, state) for id_, state in zip(run.ids, states, strict=False)]
        await stage.runs.commit_wave(run.lease, outcomes, None)
        assert await stage.runs.last_accepted([Symbol(name) for name in (*symbols, "Z")]) == {}

    async def test_the_latest_accepted_order_of_any_strategy_gives_the_reference(
        self, stage: RunStage
    ) -> None:
        await self._accept(stage, "first", "100.10")
        await stage.pass_time(60)
        await self._accept(stage, "second", "101.25", strategy=BETA)
        found = await stage.runs.last_accepted([AAPL, Symbol("Z"), AAPL])
        assert {s: (r.symbol, r.price, r.source) for s, r in found.items()} == {
            AAPL: (AAPL, Decimal("101.25"), "last_accepted")
        }
        assert found[AAPL].as_of.tzinfo is START.tzinfo

    async def test_the_latest_is_the_one_that_was_claimed_last(self, stage: RunStage) -> None:
        first = await self._claim(stage, "opened first", "100.10", claims=False)
        second = await self._claim(stage, "opened next", "101.25", claims=False)
        await stage.runs.commit_wave(second.lease, (), WaveClaim(1, second.ids, TRADING.epoch))
        await stage.pass_time(60)
        await stage.runs.commit_wave(first.lease, (), WaveClaim(1, first.ids, TRADING.epoch))
        for run in (first, second):
            await stage.runs.commit_wave(run.lease, [an_acceptance(run.ids[0])], None)
        assert await self._price(stage) == Decimal("100.10")

    async def test_an_order_that_was_sent_again_was_claimed_then(self, stage: RunStage) -> None:
        first = await self._claim(stage, "first", "100.10")
        await stage.pass_time(60)
        await self._accept(stage, "second", "101.25")
        doubt = a_settlement(first.ids[0], S.UNKNOWN)
        await stage.runs.commit_wave(first.lease, [doubt], None)
        await stage.pass_time(60)
        await stage.runs.commit_wave(first.lease, (), resend_of(2, *first.ids))
        assert await self._price(stage) == Decimal("101.25")
        await stage.runs.commit_wave(first.lease, [an_acceptance(first.ids[0])], None)
        assert await self._price(stage) == Decimal("100.10")

    async def test_a_later_order_that_was_refused_gives_no_reference(self, stage: RunStage) -> None:
        await self._accept(stage, "first", "100.10")
        await stage.pass_time(60)
        later = await self._claim(stage, "second", "101.25")
        refused = a_settlement(later.ids[0], S.REJECTED)
        await stage.runs.close_run(later.lease, a_closing(refused))
        assert await self._price(stage) == Decimal("100.10")

    async def test_a_reference_tells_when_its_order_was_claimed(self, stage: RunStage) -> None:
        await let_trade(stage.runs)
        run = await started(stage.runs, ("A", "B", "C"))
        for number, id_ in enumerate(run.ids, start=1):
            claim = WaveClaim(number, (id_,), TRADING.epoch)
            await stage.runs.commit_wave(run.lease, (), claim)
            await stage.pass_time(60)
        outcomes = [an_acceptance(id_, "filled") for id_ in run.ids]
        await stage.runs.close_run(run.lease, a_closing(*outcomes))
        found = await stage.runs.last_accepted([Symbol("A"), Symbol("C")])
        assert set(found) == {Symbol("A"), Symbol("C")}
        apart = found[Symbol("C")].as_of - found[Symbol("A")].as_of
        assert about(apart / timedelta(seconds=1), 120)

    async def test_no_symbols_have_no_references(self, stage: RunStage) -> None:
        await self._accept(stage, "first", "100.10")
        assert await stage.runs.last_accepted([]) == {}

    async def _price(self, stage: RunStage) -> Decimal:
        return (await stage.runs.last_accepted([AAPL]))[AAPL].price

    async def _claim(
        self,
        stage: RunStage,
        key: str,
        price: str,
        *,
        strategy: StrategyId = ALPHA,
        claims: bool = True,
    ) -> StartedRun:
        if await stage.runs.read_latch() is None:
            await let_trade(stage.runs)
        opening = keyed(key, strategy=strategy)
        record = a_record(opening, prices={"AAPL": price})
        return await started(stage.runs, opening=opening, record=record, claims=claims)

    async def _accept(
        self, stage: RunStage, key: str, price: str, *, strategy: StrategyId = ALPHA
    ) -> None:
        run = await self._claim(stage, key, price, strategy=strategy)
        await stage.runs.commit_wave(run.lease, [an_acceptance(run.ids[0], "filled")], None)
