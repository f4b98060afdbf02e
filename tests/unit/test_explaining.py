"""The waterfall of one decision, and what a change of its inputs does."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from orchestrator_core.errors import InvalidRequest
from orchestrator_core.explaining import Step, StepName, explain, explain_record
from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import Limits
from orchestrator_core.model import NoQuote
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import Snapshot
from orchestrator_core.replay import UnreadableRecord
from orchestrator_core.sizing import SizingPolicy, SizingRules
from orchestrator_core.what_if import Changes, what_if
from tests.unit.builders import NOW, a_decision, a_policy, a_quote, a_signal, a_snapshot
from tests.unit.test_replay import a_stored_record, a_varied_snapshot

AAPL = Symbol("AAPL")


def steps_of(snapshot: Snapshot) -> list[Step]:
    [decision] = plan_orders(snapshot, snapshot.policy).decisions
    return list(explain(decision, snapshot))


def one(weight: float = 0.25, price: str = "264.58", **rules: Any) -> Snapshot:
    policy = a_policy()
    sizing = evolve(policy.sizing, rules=SizingRules(**rules))
    return a_snapshot(
        [a_signal("AAPL", weight)],
        [a_quote("AAPL", price, as_of=NOW - timedelta(seconds=1.25))],
        policy=evolve(policy, sizing=sizing),
    )


ID = a_decision().client_order_id(AAPL)


def test_an_order_is_explained_from_weight_to_id() -> None:
    assert steps_of(one()) == [
        Step(StepName.WEIGHT, "0.25"),
        Step(StepName.TARGET_NOTIONAL, "25000.00", note="of capital 100000"),
        Step(StepName.CAPPED_NOTIONAL, "20000", bound="20000"),
        Step(StepName.PRICE, "264.58", note="test, 1.250000 s old at the decision"),
        Step(StepName.SHARES, "75", note="whole shares, toward zero"),
        Step(StepName.ORDER, "buy 75", note=ID),
    ]


def test_a_target_below_the_cap_is_held_to_nothing() -> None:
    assert steps_of(one(-0.2))[2] == Step(StepName.CAPPED_NOTIONAL, "20000.0")
    assert steps_of(one(-0.2))[-1].value == "sell 75"


def test_a_buffer_lots_and_the_leftover_are_steps_of_their_own() -> None:
    snapshot = one(0.1, "100", cash_buffer=Decimal("0.05"), lot_sizes={AAPL: 10})
    target, _, _, shares, lots, order = steps_of(snapshot)[1:]
    assert (target.value, target.note) == ("9500.000", "of capital 100000 less a buffer of 0.05")
    assert (shares.value, lots) == ("95", Step(StepName.LOTS, "90", bound="10"))
    assert order.value == "buy 90"


def test_an_order_below_the_minimum_says_so() -> None:
    last = steps_of(one(0.001, "100", min_order_notional=Decimal(500)))[-1]
    assert last == Step(StepName.SKIPPED, "notional_below_minimum", bound="500")


def test_a_weight_of_zero_stops_at_once() -> None:
    assert steps_of(a_snapshot([a_signal("AAPL", 0.0)], [])) == [
        Step(StepName.WEIGHT, "0.0"),
        Step(StepName.SKIPPED, "zero_weight"),
    ]


def test_no_price_says_why() -> None:
    snapshot = a_snapshot([a_signal("AAPL", 0.1)], [NoQuote(AAPL, "no key")])
    assert steps_of(snapshot)[1:] == [
        Step(StepName.PRICE, None, note="no key"),
        Step(StepName.SKIPPED, "price_unavailable", note="no key"),
    ]


@pytest.mark.parametrize(("age", "bound"), [(31, "30 s"), (-6, "5 s")])
def test_an_untimely_price_is_shown_with_its_bound(age: int, bound: str) -> None:
    quote = a_quote("AAPL", "100", as_of=NOW - timedelta(seconds=age))
    _, price, skipped = steps_of(a_snapshot([a_signal("AAPL", 0.1)], [quote]))
    note = f"test, {age}.000000 s old at the decision"
    assert price == Step(StepName.PRICE, "100", bound=bound, note=note)
    assert skipped.value == "price_unavailable"


def test_less_than_a_share_and_a_dry_run_are_skips() -> None:
    assert steps_of(one(0.001))[-1] == Step(StepName.SKIPPED, "qty_less_than_one_share")
    dry = one()
    dry = evolve(dry, request=evolve(dry.request, dry_run=True))
    assert steps_of(dry)[-2:] == [
        Step(StepName.ORDER, "buy 75", note=ID),
        Step(StepName.SKIPPED, "dry_run"),
    ]


def test_a_denial_is_shown_with_its_code_and_figures() -> None:
    snapshot = one()
    snapshot = evolve(snapshot, policy=evolve(snapshot.policy, limits=Limits(max_order_qty=10)))
    assert steps_of(snapshot)[-2:] == [
        Step(StepName.ORDER, "buy 75", note=ID),
        Step(StepName.DENIED, "MAX_ORDER_QTY", bound="10", note="qty=75 limit=10"),
    ]


def test_figures_are_exact_and_never_in_powers_of_ten() -> None:
    policy = evolve(a_policy(), sizing=SizingPolicy(Decimal("1E+6"), Decimal("2E+4")))
    snapshot = evolve(one(1e-7), policy=policy)
    values = [step.value for step in steps_of(snapshot)[:3]]
    assert values == ["0.0000001", "0.1", "0.1"]


def test_a_stored_record_explains_each_symbol() -> None:
    snapshot = a_varied_snapshot()
    explained = explain_record(a_stored_record(snapshot))
    decisions = plan_orders(snapshot, snapshot.policy).decisions
    assert explained == {(each.signal.symbol, 0): explain(each, snapshot) for each in decisions}


def test_an_explanation_says_where_this_version_decides_otherwise() -> None:
    record = a_stored_record(a_varied_snapshot())
    rows = (evolve(record.rows[0], qty=76), *record.rows[1:])
    explained = explain_record(evolve(record, rows=rows))
    last = explained[AAPL, 0][-1]
    assert last.name is StepName.DECIDED_OTHERWISE
    assert last.value is not None
    assert last.value.startswith("buy 76 market day as o1")
    names = [steps[-1].name for key, steps in explained.items() if key != (AAPL, 0)]
    assert StepName.DECIDED_OTHERWISE not in names


def test_a_damaged_record_explains_nothing() -> None:
    record = a_stored_record(a_varied_snapshot(), digest="0" * 64)
    with pytest.raises(UnreadableRecord, match="digest"):
        explain_record(record)


def test_what_if_plans_with_the_changes_and_leaves_the_rest() -> None:
    snapshot = one()
    found = what_if(
        snapshot,
        Changes(
            capital=Decimal(10_000),
            max_position_size=Decimal(1_000),
            limits={"max_order_qty": 9},
            prices={AAPL: Decimal(100)},
            weights={AAPL: -0.5},
        ),
    )
    [before], [after] = found.before.decisions, found.after.decisions
    assert before.intent is not None
    assert after.intent is not None
    assert (before.intent.side, before.intent.qty) == ("buy", 75)
    assert (after.intent.side, after.intent.qty) == ("sell", 10)
    assert str(after.denial) == "MAX_ORDER_QTY qty=10 limit=9"
    assert found.refusal is None
    assert found.changed.request.capital == found.changed.policy.sizing.capital == 10_000
    unchanged = what_if(snapshot, Changes())
    assert unchanged.changed == snapshot
    assert unchanged.before == unchanged.after


def test_what_if_changes_how_shares_are_rounded() -> None:
    changes = Changes(rules={"cash_buffer": Decimal("0.9"), "min_order_notional": Decimal(9_999)})
    [after] = what_if(one(), changes).after.decisions
    assert after.sizing is not None
    assert after.sizing.target_notional == Decimal(2_500)
    assert after.skip == "notional_below_minimum"
    with pytest.raises(InvalidRequest, match="cash_buffer"):
        what_if(one(), Changes(rules={"cash_buffer": Decimal(1)}))


def test_what_if_tells_of_signals_that_a_run_would_refuse() -> None:
    refusal = what_if(one(), Changes(weights={AAPL: 1.5})).refusal
    assert refusal is not None
    assert "AAPL" in refusal


def test_what_if_gives_a_price_to_a_symbol_that_had_none() -> None:
    snapshot = a_snapshot([a_signal("AAPL", 0.0)], [])
    changes = Changes(prices={AAPL: Decimal(10)}, weights={AAPL: 0.1})
    [after] = what_if(snapshot, changes).after.decisions
    assert after.intent is not None
    assert after.intent.qty == 1_000


@pytest.mark.parametrize(
    "changes", [Changes(prices={Symbol("KO"): Decimal(1)}), Changes(weights={Symbol("KO"): 0.1})]
)
def test_what_if_knows_only_the_runs_own_symbols(changes: Changes) -> None:
    with pytest.raises(InvalidRequest, match="no signal of KO"):
        what_if(one(), changes)
