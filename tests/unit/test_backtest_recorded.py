"""Recorded runs made once more: whatever the account, the day and the controls were, the bytes."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve

from orchestrator_core.books import DayExposure
from orchestrator_core.driver import run_sync
from orchestrator_core.errors import InvalidRequest
from orchestrator_core.holdings import Holdings, OpenQty, Unsettled
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId, Symbol, TradingMode
from orchestrator_core.limits import Limits
from orchestrator_core.model import NoQuote, Quote, Reference, Side
from orchestrator_core.plans import Snapshot
from orchestrator_core.replay import StoredRecord, UnreadableRecord, derive
from orchestrator_core.what_if import Changes
from orchestrator_entrypoints.backtests.from_runs import AS_RECORDED, backtest_from_runs
from orchestrator_entrypoints.backtests.kept_runs import KeptRun
from orchestrator_entrypoints.backtests.recorded import from_record
from tests.unit.builders import NOW
from tests.unit.test_delta_runs import a_world

A, B = Symbol("A"), Symbol("B")
ID = ClientOrderId("o1earlier")


def a_record(**changes: Any) -> StoredRecord:
    """Return the record of a run in delta mode that saw something else."""
    world, account = a_world({"A": 0.1, "B": -0.05}, closes_absent=True)
    account.hold(A=40, B=50)
    run = world.run(rebalance_key="1")
    record = run_sync(world.runs.get_record(run.run_id))
    assert record is not None
    snapshot = derive(record).snapshot
    request = evolve(snapshot.request, symbols=(A, B, Symbol("Z")))
    return recorded(evolve(snapshot, request=request, **changes), run.run_id)


def recorded(snapshot: Snapshot, run_id: RunId) -> StoredRecord:
    kept = KeptRun(run_id, snapshot.decision.strategy_id, NOW.date(), NOW, "completed")
    record = kept.keeping(snapshot).record
    assert record is not None
    return record


def limited(**limits: Any) -> Any:
    policy = derive(a_record()).snapshot.policy
    return evolve(policy, limits=evolve(policy.limits, **limits))


def account(*, opened: tuple[int, ...] = (), why: str | None = None) -> Holdings:
    return Holdings(
        positions=((A, 40), (B, 50), (Symbol("Z"), 3)),
        open_orders=tuple(
            OpenQty(A, ClientOrderId(f"o1open{qty}"), Side.BUY, qty) for qty in opened
        ),
        unsettled=() if why is None else (Unsettled(B, ID, why),),
    )


def quoted(*symbols: str) -> Any:
    (quote, *_) = derive(a_record()).snapshot.quotes
    return tuple(evolve(quote, symbol=Symbol(symbol)) for symbol in symbols)


SEEN: dict[str, Any] = {
    "nothing else": {},
    "no account": {"holdings": Holdings()},
    "open orders": {"holdings": account(opened=(7, 20)), "quotes": quoted("A", "B", "Z")},
    "a price that is missing": {"quotes": (*quoted("A"), NoQuote(B, "no such key"))},
    "a stale price": {"decided_at": NOW.replace(year=NOW.year + 1)},
    "reduce-only mode": {"policy": limited(reduce_only=True)},
    "a band": {
        "policy": limited(price_band=Decimal("0.01"), requires_reference=True),
        "references": (Reference(A, Decimal(90), NOW, "last_accepted"),),
    },
    "a day's orders": {
        "policy": limited(max_day_gross=Decimal(5_000), max_day_short=Decimal(4_000)),
        "day": DayExposure(Decimal(3_000), Decimal("1000.5")),
    },
    "a day that holds an order": {
        "policy": limited(max_day_gross=Decimal(12_000)),
        "day": DayExposure(
            Decimal(6_000),
            Decimal(0),
            frozenset({derive(a_record()).snapshot.decision.client_order_id(A)}),
        ),
    },
    "live trading": {
        "decision": evolve(derive(a_record()).snapshot.decision, mode=TradingMode.LIVE)
    },
    **{
        f"an order {why}": {"holdings": account(why=why), "quotes": quoted("A", "B", "Z")}
        for why in (
            *("unknown", "sending", "planned", "unresolved", "conflict", "filling"),
            *("look-up absent", "look-up unanswered", "12.5 of 40 filled", "41 of 40 filled"),
        )
    },
}


@pytest.mark.parametrize("seen", SEEN)
def test_a_recorded_run_is_decided_once_more_to_the_same_bytes(seen: str) -> None:
    record = a_record(**SEEN[seen])
    again = from_record(record)
    assert again.text == record.text
    assert [row.decided for row in again.rows] == [row.decided for row in record.rows]


def test_a_dry_request_is_made_dry_once_more() -> None:
    snapshot = derive(a_record()).snapshot
    dry = evolve(snapshot, request=evolve(snapshot.request, dry_run=True))
    record = recorded(dry, a_record().run_id)
    assert from_record(record).text == record.text


def test_limits_of_the_request_are_kept() -> None:
    snapshot = derive(a_record()).snapshot
    limits = Limits(max_side_weight=Decimal(100), max_order_qty=3)
    # An operator had turned reduce-only mode on meanwhile.
    tight = evolve(
        snapshot,
        request=evolve(snapshot.request, limits=limits),
        policy=evolve(snapshot.policy, limits=evolve(limits, reduce_only=True)),
    )
    record = recorded(tight, a_record().run_id)
    again = from_record(record)
    assert again.text == record.text
    assert {row.state for row in again.rows} == {"denied"}


def test_a_damaged_record_is_refused() -> None:
    record = a_record()
    with pytest.raises(UnreadableRecord):
        from_record(evolve(record, text=record.text.replace("0.1", "0.2")))


def test_a_record_whose_signals_no_run_would_take_makes_no_plan() -> None:
    snapshot = derive(a_record()).snapshot
    record = recorded(
        evolve(snapshot, batch=evolve(snapshot.batch, num_signals=7)), a_record().run_id
    )
    with pytest.raises(LookupError, match="num_signals says 7"):
        from_record(record)


def test_recorded_runs_are_decided_under_other_policies_with_the_account_as_it_was() -> None:
    damaged = evolve(a_record(), digest="0" * 64)
    policies = {
        "half": Changes(capital=Decimal(50_000)),
        "capped": Changes(max_position_size=Decimal(1_000)),
        "no A": Changes(limits={"restricted_symbols": frozenset({A})}),
    }
    found = backtest_from_runs([a_record(), damaged], policies)
    names = [outcome.name for outcome in found.outcomes]
    assert names == [AS_RECORDED, *policies]
    assert [outcome.changed for outcome in found.outcomes] == [0, 2, 2, 1]
    assert "is left out" in found.notes[0]
    [restricted] = found.outcomes[3].runs[0].differences
    assert restricted.symbol == "A"
    assert "RESTRICTED_SYMBOL" in (restricted.derived or "")
    # One date has no later price to trade at.
    assert found.outcomes[0].result is not None
    assert found.outcomes[0].result.runs == ()


def test_prices_that_lack_a_recorded_symbol_give_decisions_and_no_result() -> None:
    day = derive(a_record()).snapshot.batch.as_of_date
    found = backtest_from_runs([a_record()], {}, prices={day: {"A": 100}})
    assert [outcome.result for outcome in found.outcomes] == [None]
    assert found.notes == ("no results: unknown symbol: no prices of B",)


def test_runs_that_saw_no_price_give_decisions_and_no_result() -> None:
    found = backtest_from_runs([a_record(quotes=(NoQuote(A, "none"), NoQuote(B, "none")))], {})
    assert [outcome.result for outcome in found.outcomes] == [None]
    assert found.notes[0].startswith("no results: ")


def test_prices_far_from_those_that_runs_were_sized_with_are_told_of() -> None:
    snapshot = derive(a_record()).snapshot
    day = snapshot.batch.as_of_date
    seen = {each.symbol: each.price for each in snapshot.quotes if isinstance(each, Quote)}
    near = {symbol: price * Decimal("1.4") for symbol, price in seen.items()}
    assert not backtest_from_runs([a_record()], {}, prices={day: near}).notes
    far = near | {B: seen[B] * 10}
    [note] = backtest_from_runs([a_record()], {}, prices={day: far}).notes
    assert note.startswith(f"B closes at {far[B]:f} on {day}, and a run was sized with {seen[B]:f}")


def test_a_run_that_would_be_refused_changes_every_order() -> None:
    policies = {
        "signals": Changes(limits={"max_signal_weight": Decimal("0.05")}),
        "basket": Changes(limits={"max_basket_gross": Decimal(1)}),
    }
    as_recorded, signals, basket = backtest_from_runs([a_record()], policies).outcomes
    [run] = signals.runs
    assert (run.after, run.refusal) == (None, "A weighs 0.1, the limit is 0.05")
    assert (as_recorded.changed, signals.changed, basket.changed) == (0, 2, 2)
    assert "MAX_BASKET_GROSS" in (basket.runs[0].refusal or "")


def test_a_lot_of_one_symbol_leaves_others_as_each_run_had_them() -> None:
    def with_lots(at: int, **lots: int) -> StoredRecord:
        snapshot = derive(a_record()).snapshot
        named = {Symbol(name): lot for name, lot in lots.items()}
        rules = evolve(snapshot.policy.sizing.rules, lot_sizes=named)
        sizing = evolve(snapshot.policy.sizing, rules=rules)
        day = snapshot.batch.as_of_date + timedelta(days=at)
        return recorded(
            evolve(
                snapshot,
                policy=evolve(snapshot.policy, sizing=sizing),
                batch=evolve(snapshot.batch, as_of_date=day),
            ),
            RunId(UUID(int=at + 1)),
        )

    records = [with_lots(0, B=7), with_lots(1, B=1)]
    policies = {"lot.A": Changes(lots={A: 9}), "lot": Changes(lot=9)}
    _, one, common = backtest_from_runs(records, policies).outcomes
    assert {each.symbol for run in one.runs for each in run.differences} == {A}
    assert {each.symbol for run in common.runs for each in run.differences} == {A, B}


def test_what_cannot_be_decided_otherwise_is_refused() -> None:
    with pytest.raises(ValueError, match="one strategy, got none that can be read"):
        backtest_from_runs([], {})
    with pytest.raises(InvalidRequest, match="is the name of the policy recorded"):
        backtest_from_runs([a_record()], {AS_RECORDED: Changes()})
    with pytest.raises(InvalidRequest, match="are what was recorded"):
        backtest_from_runs([a_record()], {"x": Changes(prices={A: Decimal(1)})})
    snapshot = derive(a_record()).snapshot
    other = evolve(snapshot, decision=evolve(snapshot.decision, strategy_id=StrategyId("beta")))
    with pytest.raises(ValueError, match="one strategy, got alpha, beta"):
        backtest_from_runs([a_record(), recorded(other, a_record().run_id)], {})


def test_a_policy_that_changed_within_the_period_is_told_of() -> None:
    later = derive(a_record(policy=limited(max_order_qty=7))).snapshot
    batch = evolve(later.batch, as_of_date=later.batch.as_of_date + timedelta(days=1))
    changed = recorded(evolve(later, batch=batch), RunId(UUID(int=9)))
    found = backtest_from_runs([a_record(), changed], {})
    assert any("the policy changed meanwhile" in note for note in found.notes)
    [outcome] = found.outcomes
    assert outcome.result is not None
    assert [run.status for run in outcome.result.runs] == ["completed"]


def test_runs_of_one_date_are_merged_the_later_first_heard_by_symbol() -> None:
    first = derive(a_record()).snapshot
    (signal, other), (quote, _) = first.batch.signals, first.quotes
    assert isinstance(quote, Quote)
    later = evolve(
        first,
        batch=evolve(first.batch, signals=(evolve(signal, target_weight=0.3),), num_signals=1),
        quotes=(evolve(quote, price=quote.price * 2),),
    )
    next_day = evolve(
        first, batch=evolve(first.batch, as_of_date=first.batch.as_of_date + timedelta(days=1))
    )
    records = [
        recorded(snapshot, RunId(UUID(int=at)))
        for at, snapshot in enumerate((first, later, next_day), start=1)
    ]
    found = backtest_from_runs(records, {})
    [note] = found.notes
    assert note.endswith(f"merged on {first.batch.as_of_date}")
    [outcome] = found.outcomes
    assert len(outcome.runs) == 3
    assert outcome.result is not None
    [run] = outcome.result.runs
    assert run.record is not None
    made = derive(run.record).snapshot
    weights = {each.symbol: each.target_weight for each in made.batch.signals}
    assert weights == {signal.symbol: 0.3, other.symbol: other.target_weight}
    prices = {each.symbol: each.price for each in made.quotes if isinstance(each, Quote)}
    assert quote.symbol == signal.symbol
    assert prices[quote.symbol] == quote.price * 2
