"""One decision for somebody else's loop is the decision of a backtest, and of a service."""

from datetime import date

import pytest

from orchestrator_core.errors import InvalidRequest, MalformedReply
from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import Limits, SessionRule
from orchestrator_core.plans import OrderPlan
from orchestrator_core.sizing import SizingRules
from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.sizer import decide

MONDAY, SATURDAY = date(2024, 1, 8), date(2024, 1, 13)


def orders(plan: OrderPlan) -> list[tuple[str, int]]:
    return [(intent.symbol, intent.signed_qty) for intent in plan.intents]


def test_what_is_lacking_is_ordered_and_what_is_not_named_is_closed() -> None:
    plan = decide(
        {"ko": 0.1}, {"KO": 60, "MO": 50.5}, day=MONDAY, held={"KO": 100, "MO": -7, "XOM": 0}
    )
    assert orders(plan) == [("KO", 66), ("MO", 7)]
    absolute = BacktestPolicy(rules=SizingRules())
    assert orders(
        decide({"KO": 0.1}, {"KO": 60}, day=MONDAY, held={"KO": 100}, policy=absolute)
    ) == [("KO", 166)]


def test_capital_lots_caps_and_limits_are_those_of_the_policy() -> None:
    policy = BacktestPolicy(
        lot=10,
        max_position_size=5_000,
        limits=Limits(restricted_symbols=frozenset({Symbol("MO")})),
    )
    weights, prices = {"KO": 0.5, "MO": 0.5}, {"KO": 60, "MO": 50}
    plan = decide(weights, prices, day=MONDAY, policy=policy, capital=8_000.0)
    assert orders(plan) == [("KO", 60)]
    assert [str(each.denial) for each in plan.decisions if each.denial] == [
        "RESTRICTED_SYMBOL symbol=MO"
    ]


def test_a_session_rule_judges_the_day_given() -> None:
    policy = BacktestPolicy(limits=Limits(market_session=SessionRule.REFUSE))
    prices = {"KO": 60}
    assert decide({"KO": 0.1}, prices, policy=policy, day=MONDAY).refusal is None
    assert decide({"KO": 0.1}, prices, policy=policy, day=SATURDAY).refusal is not None


def test_a_decision_is_that_of_a_backtest() -> None:
    closes = {MONDAY: {"KO": 60.25, "MO": 33.0}, SATURDAY: {"KO": 1.5, "MO": 1.5}}
    weights = {"KO": 0.3, "MO": -0.2}
    result = backtest({MONDAY: weights}, closes)
    plan = decide(weights, closes[MONDAY], day=MONDAY)
    ids = {intent.client_order_id: intent.qty for intent in plan.intents}
    assert ids == {order.client_order_id: order.qty for order in result.orders}


def test_what_no_run_would_take_is_refused() -> None:
    with pytest.raises(MalformedReply, match="KO weighs 2"):
        decide({"KO": 2}, {"KO": 60}, day=MONDAY)
    with pytest.raises(InvalidRequest, match="is no symbol"):
        decide({"K O": 0.1}, {"KO": 60}, day=MONDAY)
    with pytest.raises(ValueError, match="KO: expected a price above zero"):
        decide({"KO": 0.1}, {"KO": 0}, day=MONDAY)
    with pytest.raises(ValueError, match="KO: expected a finite number, got 'x'"):
        decide({"KO": "x"}, {"KO": 1}, day=MONDAY)  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"KO: expected whole shares, got '1\.5'"):
        decide({"KO": 0.1}, {"KO": 1}, day=MONDAY, held={"KO": 1.5})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="capital: expected a finite number"):
        decide({"KO": 0.1}, {"KO": 1}, day=MONDAY, capital="much")
    with pytest.raises(ValueError, match="KO: is given twice"):
        decide({"KO": 0.1, "ko": 0.3}, {"KO": 1}, day=MONDAY)
    with pytest.raises(ValueError, match="KO: expected a price above zero, at most"):
        decide({"KO": 0.1}, {"KO": 1e16}, day=MONDAY)
    with pytest.raises(ValueError, match="expected a day such as"):
        decide({"KO": 0.1}, {"KO": 1}, day="monday")


def test_numbers_and_dates_of_numpy_and_pandas_are_taken() -> None:
    np, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    plan = decide(
        {"KO": np.float64(0.1)},
        {"KO": np.int64(60), "MO": np.float64(50.5)},
        day=pandas.Timestamp("2024-01-08"),
        held={"KO": np.int64(100), "MO": np.float64(-7)},
        policy=BacktestPolicy(lot=np.int64(1), capital=np.float64(100_000)),
    )
    assert orders(plan) == [("KO", 66), ("MO", 7)]
    assert {type(intent.qty) for intent in plan.intents} == {int}
