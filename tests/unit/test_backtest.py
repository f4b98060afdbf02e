"""Backtests as users see them: what a day holds, when orders trade, and what explains them."""

import gc
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from orchestrator_adapters.memory.stored_run import StoredRun
from orchestrator_core.explaining import StepName
from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import Limits, SessionRule
from orchestrator_core.replay import Verdict, replay
from orchestrator_core.sizing import SizingMode, SizingRules
from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.fills import Fault, FaultKind, FillModel, FillTime
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.result import BacktestResult
from orchestrator_entrypoints.backtests.tables import BacktestDataError

MONDAY = date(2024, 1, 8)
FIXED = BacktestPolicy(compounds=False)


def day(number: int) -> date:
    """Return the number-th day of a week that has no holiday, from 0."""
    return MONDAY + timedelta(days=number)


def series(**prices: list[float]) -> dict[date, dict[str, float]]:
    """Return prices by date from one list a symbol."""
    length = max(map(len, prices.values()))
    return {
        day(at): {symbol: values[at] for symbol, values in prices.items()} for at in range(length)
    }


def held(result: BacktestResult) -> list[Mapping[Symbol, int]]:
    return [dict(each.positions) for each in result.days]


def money(values: Any) -> list[str]:
    return [f"{value.normalize():f}" for value in values]


def test_orders_trade_at_the_next_open_and_not_at_a_price_that_was_seen() -> None:
    result = backtest(
        {day(0): {"KO": 0.5}},
        series(KO=[100, 200, 400]),
        opens=series(KO=[1, 125, 1]),
        policy=FIXED,
    )
    # 500 shares, sized with the close of 100, cost 125 each.
    assert held(result) == [{}, {"KO": 500}, {"KO": 500}]
    assert money(each.cash for each in result.days) == ["100000", "37500", "37500"]
    assert money(each.equity for each in result.days) == ["100000", "137500", "237500"]
    assert money(each.turnover for each in result.days) == ["0", "62500", "0"]
    [order] = result.orders
    assert (order.price, order.fill_price, order.filled_qty) == (Decimal(100), Decimal(125), 500)
    assert result.policy["fills"] == FillTime.NEXT_OPEN


def test_without_opens_orders_trade_at_the_next_close() -> None:
    result = backtest({day(0): {"KO": 0.5}}, series(KO=[100, 200]), policy=FIXED)
    assert money(each.equity for each in result.days) == ["100000", "100000"]
    assert result.policy["fills"] == FillTime.NEXT_CLOSE
    with pytest.raises(BacktestDataError, match="no opens are given"):
        backtest({day(0): {"KO": 1}}, series(KO=[1, 1]), fills=FillModel(at="next_open"))


def test_opens_are_left_alone_where_closes_are_asked_for() -> None:
    result = backtest(
        {day(0): {"KO": 0.5}},
        series(KO=[100, 200]),
        opens=series(KO=[1, 1]),
        fills=FillModel(at=FillTime.NEXT_CLOSE),
    )
    assert result.orders[0].fill_price == 200


def test_each_day_trades_what_is_lacking_of_its_target() -> None:
    signals = {day(at): {"KO": weight} for at, weight in enumerate([0.1, 0.1, 0.2, -0.1, 0.0])}
    result = backtest(signals, series(KO=[100] * 6), policy=FIXED)
    assert [positions.get(Symbol("KO"), 0) for positions in held(result)] == [
        *(0, 100, 100, 200, -100, 0),
    ]
    orders = [(each.as_of_date, each.side, each.qty, each.leg) for each in result.orders]
    assert orders == [
        (day(0), "buy", 100, 0),
        (day(2), "buy", 100, 0),
        (day(3), "sell", 200, 0),
        (day(3), "sell", 100, 1),
        (day(4), "buy", 100, 0),
    ]
    assert [each.orders for each in result.days] == [1, 0, 1, 2, 1, 0]
    assert [each.filled for each in result.days] == [1, 0, 1, 2, 1, 0]


def test_a_position_that_no_signal_names_is_closed_unless_told_otherwise() -> None:
    signals = {day(0): {"KO": 0.1}, day(1): {"MO": 0.1}}
    prices = series(KO=[100] * 3, MO=[50] * 3)
    assert held(backtest(signals, prices, policy=FIXED))[-1] == {"MO": 200}
    kept = evolve(FIXED, rules=SizingRules(mode=SizingMode.DELTA))
    assert held(backtest(signals, prices, policy=kept))[-1] == {"KO": 100, "MO": 200}


def test_in_absolute_mode_orders_come_on_top_of_what_is_held() -> None:
    signals = {day(at): {"KO": 0.1} for at in range(2)}
    policy = evolve(FIXED, rules=SizingRules())
    result = backtest(signals, series(KO=[100] * 3), policy=policy)
    assert held(result) == [{}, {"KO": 100}, {"KO": 200}]


def test_in_absolute_mode_a_note_says_what_becomes_of_orders() -> None:
    policy = evolve(FIXED, rules=SizingRules())
    [note] = backtest({day(0): {"KO": 0.1}}, series(KO=[100] * 2), policy=policy).notes
    assert note == "in absolute mode each date's orders come on top of what is held"


def test_rows_that_name_nothing_make_no_run_and_are_told_of() -> None:
    signals = {day(0): {"KO": 0.1}, day(1): {}, day(2): {"KO": None}, day(3): {"KO": 0.0}}
    result = backtest(signals, series(KO=[100] * 5), policy=FIXED)
    assert [each.run_status is None for each in result.days] == [False, True, True, False, True]
    assert held(result)[3:] == [{"KO": 100}, {}]
    assert result.notes == ("2 rows of signals name nothing: no run, and nothing is closed",)


def test_weights_stand_for_the_equity_of_the_day_where_it_compounds() -> None:
    signals = {day(0): {"KO": 1.0}, day(1): {"KO": 1.0}}
    prices = series(KO=[100, 100, 110, 110])
    twice = backtest(signals, prices)
    assert held(twice)[2] == {"KO": 1000}
    later = backtest({day(0): {"KO": 1.0}, day(2): {"KO": 0.5}}, prices)
    # Half of 110,000 at 110.
    assert held(later)[3] == {"KO": 500}
    fixed = backtest({day(0): {"KO": 1.0}, day(2): {"KO": 0.5}}, prices, policy=FIXED)
    assert held(fixed)[3] == {"KO": 454}


def test_costs_are_what_slippage_and_commission_take() -> None:
    fills = FillModel(
        slippage_bps=10, commission_bps=1, commission_per_share="0.01", commission_per_order=1
    )
    signals = {day(0): {"KO": 0.1}, day(1): {"KO": 0.0}}
    result = backtest(signals, series(KO=[100] * 3), policy=FIXED, fills=fills)
    bought, sold = result.orders
    assert (bought.fill_price, sold.fill_price) == (Decimal("100.1"), Decimal("99.9"))
    assert bought.slippage == sold.slippage == 10
    assert (bought.commission, sold.commission) == (Decimal("3.001"), Decimal("2.999"))
    assert money(each.costs for each in result.days) == ["0", "13.001", "12.999"]
    assert result.days[-1].equity == 100_000 - 26
    assert result.summary().costs == 26


def test_denials_are_counted_by_code_and_explained() -> None:
    policy = evolve(FIXED, limits=Limits(restricted_symbols=frozenset({Symbol("MO")})))
    signals = {day(0): {"KO": 0.1, "MO": 0.1}}
    result = backtest(signals, series(KO=[100, 100], MO=[50, 50]), policy=policy)
    assert result.days[0].denials == {"RESTRICTED_SYMBOL": 1}
    assert result.summary().denials == {"RESTRICTED_SYMBOL": 1}
    steps = {step.name: step for step in result.explain(day(0), "MO")}
    assert steps[StepName.DENIED].value == "RESTRICTED_SYMBOL"
    assert steps[StepName.SHARES].value == "200"
    with pytest.raises(LookupError, match="decided nothing on XOM"):
        result.explain(day(0), "XOM")
    with pytest.raises(LookupError, match="no run of"):
        result.explain(day(1), "KO")


def test_a_band_holds_a_close_against_the_close_before() -> None:
    policy = evolve(FIXED, limits=Limits(price_band=Decimal("0.2"), requires_reference=True))
    signals = {day(at): {"KO": 0.1} for at in range(3)}
    result = backtest(signals, series(KO=[100, 150, 150, 150]), policy=policy)
    assert [dict(each.denials) for each in result.days] == [
        {"NO_REFERENCE_PRICE": 1},
        {"PRICE_BAND": 1},
        {},
        {},
    ]


def test_a_session_rule_judges_the_date() -> None:
    policy = evolve(FIXED, limits=Limits(market_session=SessionRule.REFUSE))
    saturday, sunday = day(5), day(6)
    prices = {each: {"KO": 100} for each in (day(4), saturday, sunday)}
    signals = {day(4): {"KO": 0.1}, saturday: {"KO": 0.2}}
    result = backtest(signals, prices, policy=policy)
    assert [each.run_status for each in result.days] == ["completed", "failed", None]
    assert result.days[1].denials == {"MARKET_CLOSED": 1}
    assert held(result)[-1] == {"KO": 100}


def test_a_refused_batch_is_a_failed_run_with_its_reason() -> None:
    result = backtest({day(0): {"KO": 1.5}}, series(KO=[100, 100]))
    assert result.days[0].run_status == "failed"
    [run] = result.runs
    assert run.code == "signals_malformed"
    assert run.failure is not None
    assert "KO weighs 1.5" in run.failure
    with pytest.raises(LookupError, match=r"made no plan: KO weighs 1\.5"):
        result.explain(day(0), "KO")
    assert run.record is None
    assert result.summary().failed_runs == 1
    assert result.table()[0]["failure"] == run.failure
    assert result.notes == ("1 run failed: KO weighs 1.5, the limit is 1",)


def test_the_most_frequent_reasons_of_failed_runs_are_told() -> None:
    weights = [2, 2, 2, 3, 4, 5, 6]
    signals = {day(at): {"KO": float(weight)} for at, weight in enumerate(weights)}
    result = backtest(signals, series(KO=[100] * 8))
    assert result.notes == (
        "3 runs failed: KO weighs 2.0, the limit is 1",
        "1 run failed: KO weighs 3.0, the limit is 1",
        "1 run failed: KO weighs 4.0, the limit is 1",
        "2 more runs failed, for other reasons",
    )


def test_each_kept_run_is_a_record_that_replays() -> None:
    signals = {day(at): {"KO": 0.1 * at, "MO": -0.1} for at in range(3)}
    result = backtest(signals, series(KO=[100] * 4, MO=[33.33] * 4))
    for run in result.runs:
        assert run.record is not None
        assert replay(run.record).verdict is Verdict.EQUAL
    assert result.runs == tuple(result.run_of(run.as_of_date) for run in result.runs)


def test_nothing_but_days_is_kept_where_that_is_asked() -> None:
    signals = {day(0): {"KO": 0.1}}
    full = backtest(signals, series(KO=[100, 101]))
    thin = backtest(signals, series(KO=[100, 101]), policy=BacktestPolicy(keeps_runs=False))
    assert thin.days == full.days
    assert (thin.runs, thin.orders) == ((), ())


def test_signals_of_the_last_date_make_no_run_and_are_told_of() -> None:
    result = backtest({day(1): {"KO": 0.1}}, series(KO=[100, 100]))
    assert result.runs == ()
    assert result.days[-1].run_status is None
    assert [note for note in result.notes if "no later price" in note] != []


def test_an_account_worth_nothing_trades_no_more() -> None:
    signals = {day(at): {"KO": -1.0} for at in range(3)}
    result = backtest(signals, series(KO=[100, 100, *[250] * 30]))
    assert [each.run_status for each in result.days[:4]] == ["completed", "completed", None, None]
    assert result.days[-1].equity < 0
    assert result.days[-1].drawdown > 1
    assert any("worth nothing" in note for note in result.notes)
    assert result.summary().annual_return is None


def test_only_every_second_date_is_traded() -> None:
    signals = {day(at): {"KO": 0.1} for at in range(4)}
    result = backtest(signals, series(KO=[100] * 5), policy=BacktestPolicy(rebalance_every=2))
    assert [run.as_of_date for run in result.runs] == [day(0), day(2)]


def test_a_lot_of_all_symbols_gives_way_to_one_of_its_own() -> None:
    rules = SizingRules(mode=SizingMode.DELTA, lot_sizes={Symbol("MO"): 7})
    policy = BacktestPolicy(lot=30, rules=rules)
    result = backtest(
        {day(0): {"KO": 0.1, "MO": 0.1}}, series(KO=[100] * 2, MO=[100] * 2), policy=policy
    )
    assert held(result)[-1] == {"KO": 90, "MO": 98}


def test_a_lot_of_what_has_no_prices_is_told_of() -> None:
    rules = evolve(FIXED.rules, lot_sizes={Symbol("XOM"): 5, Symbol("KO"): 5})
    policy = evolve(FIXED, rules=rules)
    result = backtest({day(0): {"KO": 0.1}}, series(KO=[100] * 2), policy=policy)
    assert result.notes == ("the policy names what has no prices: XOM",)
    policy = evolve(FIXED, limits=Limits(restricted_symbols=frozenset({Symbol("MO")})))
    result = backtest({day(0): {"KO": 0.1}}, series(KO=[100] * 2), policy=policy)
    assert result.notes == ("the policy names what has no prices: MO",)


def test_a_backtest_in_which_nothing_could_be_ordered_says_so() -> None:
    policy = evolve(FIXED, max_position_size=Decimal(1))
    result = backtest({day(0): {"KO": 0.1}}, series(KO=[100] * 2), policy=policy)
    [note] = result.notes
    assert note.startswith("no run made an order")
    assert backtest({day(0): {"KO": 0.1}}, series(KO=[100] * 2), policy=FIXED).notes == ()


def test_what_is_no_policy_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="policy: expected a BacktestPolicy, got dict"):
        backtest({day(0): {"KO": 0.1}}, series(KO=[100] * 2), policy={"lot": 1})  # type: ignore[arg-type]


def test_a_cap_bounds_each_position() -> None:
    policy = BacktestPolicy(max_position_size=5_000)
    assert held(backtest({day(0): {"KO": 0.5}}, series(KO=[100] * 2), policy=policy))[-1] == {
        "KO": 50
    }


def test_drawdown_is_from_the_highest_equity_so_far() -> None:
    prices = series(KO=[100, 100, 80, 90, 120, 60])
    result = backtest({day(0): {"KO": 1.0}}, prices)
    drawdowns = [each.drawdown for each in result.days]
    assert drawdowns == [0, 0, Decimal("0.2"), Decimal("0.1"), 0, Decimal("0.5")]
    summary = result.summary()
    assert (summary.max_drawdown, round(summary.total_return, 12)) == (0.5, -0.4)


def test_tables_are_rows_of_plain_values() -> None:
    result = backtest({day(0): {"KO": 0.1}}, series(KO=[100] * 2))
    first, last = result.table()
    assert first.keys() == last.keys()
    assert (first["date"], first["orders"], last["turnover"]) == (day(0), 1, 10_000)
    [order] = result.orders_table()
    assert (order["symbol"], order["qty"], order["gateway_status"]) == ("KO", 100, "filled")


def test_progress_is_told_of_every_date() -> None:
    told: list[tuple[int, int]] = []
    backtest(
        {day(0): {"KO": 0.1}},
        series(KO=[100] * 3),
        progress=lambda done, of: told.append((done, of)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_past_dates_are_let_go_of() -> None:
    def alive() -> int:
        gc.collect()
        return sum(isinstance(each, StoredRun) for each in gc.get_objects())

    before = alive()
    counted: list[int] = []
    backtest(
        {day(at): {"KO": 0.1 * (at % 3)} for at in range(12)},
        series(KO=[100] * 13),
        policy=BacktestPolicy(keeps_runs=False, engine="faithful"),
        progress=lambda _done, _of: counted.append(alive() - before),
    )
    assert max(counted) <= 1


def test_a_decision_is_explained_for_dates_and_symbols_as_they_are_written() -> None:
    result = backtest(
        {"2024-01-02": {"ko": 0.1}}, {"2024-01-02": {"KO": 1}, "2024-01-03": {"KO": 1}}
    )
    assert result.explain("2024-01-02", "ko") == result.explain(date(2024, 1, 2), "KO")
    with pytest.raises(LookupError, match="no run of 2024-01-03"):
        result.explain("2024-01-03", "ko")
    with pytest.raises(ValueError, match="expected a day such as"):
        result.explain("2 January", "ko")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (FillModel(seed=7, partial_fraction="0.2"), {}),
        (FillModel(rejection_rate="0.1", seed=7), {"rejection_rate": "0.1", "seed": "7"}),
        (
            FillModel(partial_rate="0.1", partial_fraction="0.2"),
            {"partial_rate": "0.1", "partial_fraction": "0.2", "seed": "0"},
        ),
        (
            FillModel(partial_fraction="0.2", faults=[Fault(date(2024, 1, 2), FaultKind.PARTIAL)]),
            {"partial_fraction": "0.2", "fault 2024-01-02 all partial": "yes"},
        ),
    ],
)
def test_what_chance_hangs_on_is_told_where_it_matters(
    model: FillModel, words: dict[str, str]
) -> None:
    assert model.in_words() == words
