"""What goes wrong in a backtest goes the way it goes in production, and the account stays true."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_core.driver import run_sync
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import OrderIntent, Side
from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.fills import Fault, FaultKind, FillModel
from orchestrator_entrypoints.backtests.gateway import SimulatedGateway
from orchestrator_entrypoints.backtests.market import DECISION_TIME
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.result import BacktestResult, OrderRow

MONDAY = date(2024, 1, 8)
DAYS = [MONDAY + timedelta(days=number) for number in range(4)]
KO = Symbol("KO")
PRICES = {day: {"KO": 100, "MO": 50} for day in DAYS}
SIGNALS = {day: {"KO": 0.2, "MO": -0.1} for day in DAYS[:-1]}
FIXED = BacktestPolicy(compounds=False)
TARGET = {"KO": 200, "MO": -200}


def with_fault(kind: FaultKind, symbol: Symbol | None = None, **model: Any) -> BacktestResult:
    """Return a backtest whose first day goes wrong."""
    fills = FillModel(faults=[Fault(DAYS[0], kind, symbol)], **model)
    return backtest(SIGNALS, PRICES, policy=FIXED, fills=fills)


def held(result: BacktestResult) -> list[Mapping[Symbol, int]]:
    return [dict(day.positions) for day in result.days]


def orders_of(result: BacktestResult, day: date) -> dict[str, OrderRow]:
    return {order.symbol: order for order in result.orders if order.as_of_date == day}


def test_an_order_whose_answer_was_lost_is_found_by_recovery() -> None:
    result = with_fault(FaultKind.TIME_OUT)
    assert held(result) == [{}, TARGET, TARGET, TARGET]
    for order in orders_of(result, DAYS[0]).values():
        assert (order.state, order.gateway_status) == ("accepted", "filled")
        assert order.filled_qty == order.qty
    assert result.days[0].run_status == "completed"
    assert [day.turnover for day in result.days] == [0, 30_000, 0, 0]


def test_an_order_lost_at_a_gateway_that_was_never_seen_is_left_to_an_operator() -> None:
    result = with_fault(FaultKind.LOST)
    assert held(result) == [{}, {}, TARGET, TARGET]
    for order in orders_of(result, DAYS[0]).values():
        assert order.state == "not_placed"
        assert order.reason == "closed by backtest: it never arrived"


def test_an_order_lost_at_a_gateway_that_keeps_ids_is_sent_again_and_fills_once() -> None:
    signals = {DAYS[0]: {"MO": -0.1}, DAYS[1]: {"MO": -0.1, "KO": 0.2}}
    fills = FillModel(faults=[Fault(DAYS[1], FaultKind.LOST)])
    result = backtest(signals, PRICES, policy=FIXED, fills=fills)
    assert held(result) == [{}, {"MO": -200}, TARGET, TARGET]
    order = orders_of(result, DAYS[1])["KO"]
    assert (order.state, order.gateway_status, order.filled_qty) == ("accepted", "filled", 200)


def test_only_the_symbol_named_is_befallen() -> None:
    result = with_fault(FaultKind.REJECT, KO)
    first = orders_of(result, DAYS[0])
    assert {symbol: order.state for symbol, order in first.items()} == {
        "KO": "rejected",
        "MO": "accepted",
    }
    assert result.days[0].rejected == 1
    # What was rejected is lacking still, and ordered the next day.
    assert held(result) == [{}, {"MO": -200}, TARGET, TARGET]
    assert orders_of(result, DAYS[1]).keys() == {"KO"}


def test_what_did_not_fill_ends_with_the_day_and_is_ordered_again() -> None:
    result = with_fault(FaultKind.PARTIAL, KO, partial_fraction=Decimal("0.255"))
    order = orders_of(result, DAYS[0])["KO"]
    assert (order.state, order.gateway_status, order.filled_qty) == ("accepted", "expired", 51)
    assert result.days[0].filled == 1
    assert held(result)[1:3] == [{"KO": 51, "MO": -200}, TARGET]
    assert orders_of(result, DAYS[1])["KO"].qty == 149


def test_a_crash_after_sending_orders_nothing_twice_and_nothing_at_a_stale_price() -> None:
    result = with_fault(FaultKind.CRASH)
    first = orders_of(result, DAYS[0])
    # Sales go first: they were sent, and are found. The price of the rest is too old by then.
    assert (first["MO"].state, first["MO"].filled_qty) == ("accepted", 200)
    assert first["KO"].state == "not_placed"
    assert (first["KO"].reason or "").startswith("price stale")
    assert held(result) == [{}, {"MO": -200}, TARGET, TARGET]
    assert [day.turnover for day in result.days] == [0, 10_000, 20_000, 0]


def test_orders_that_fill_in_part_or_never_stood_there_are_counted_by_themselves() -> None:
    rejected, partial, crash = (
        with_fault(kind).days[0] for kind in (FaultKind.REJECT, FaultKind.PARTIAL, FaultKind.CRASH)
    )
    counts = [(d.filled, d.partial, d.rejected, d.not_placed) for d in (rejected, partial, crash)]
    assert counts == [(0, 0, 2, 0), (0, 2, 0, 0), (1, 0, 0, 1)]
    # One that the gateway took counts as filled in part, should nothing of it fill.
    unfilled = with_fault(FaultKind.PARTIAL, partial_fraction=0).days[0]
    assert (unfilled.orders, unfilled.filled, unfilled.partial) == (2, 0, 2)


def test_a_fault_of_a_symbol_that_has_no_order_is_told_of() -> None:
    assert with_fault(FaultKind.TIME_OUT, KO).notes == ()
    missed = with_fault(FaultKind.TIME_OUT, Symbol("XOM"))
    assert missed.notes == (f"time_out of XOM on {DAYS[0]} met no order",)
    assert missed.days == backtest(SIGNALS, PRICES, policy=FIXED).days


def test_a_fault_of_a_day_without_an_order_or_a_run_is_told_of() -> None:
    signals = {DAYS[0]: {"KO": 0.2}, DAYS[1]: {"KO": 0.2}, DAYS[2]: {"KO": 0.2}}
    crash = FillModel(faults=[Fault(DAYS[1], FaultKind.CRASH), Fault(DAYS[0], FaultKind.CRASH)])
    notes = backtest(signals, PRICES, policy=FIXED, fills=crash).notes
    assert notes == (f"crash on {DAYS[1]} met no order",)
    down = {day: {"KO": price} for day, price in zip(DAYS, [100, 100, 900, 900], strict=True)}
    short = {day: {"KO": -1.0} for day in DAYS[:-1]}
    late = FillModel(faults=[Fault(DAYS[2], FaultKind.KILL_SWITCH)])
    assert f"kill_switch on {DAYS[2]} met no run" in backtest(short, down, fills=late).notes


def test_a_gateway_that_is_down_costs_the_day() -> None:
    result = with_fault(FaultKind.GATEWAY_DOWN)
    assert result.days[0].run_status == "failed"
    assert result.runs[0].code == "gateway_unsafe"
    assert result.days[0].failure == result.runs[0].failure
    assert held(result) == [{}, {}, TARGET, TARGET]


def test_a_kill_switch_lets_no_run_begin_and_trading_goes_on_after_it() -> None:
    result = with_fault(FaultKind.KILL_SWITCH)
    assert result.days[0].run_status == "halted"
    assert result.runs[0].failure is not None
    assert "a fault of this day" in result.runs[0].failure
    assert result.days[0].failure == result.runs[0].failure
    assert result.notes == ("1 run halted: a fault of this day",)
    assert [run.status for run in result.runs] == ["halted", "completed", "completed"]
    assert held(result) == [{}, {}, TARGET, TARGET]


def test_a_flip_whose_first_leg_does_not_fill_sends_no_second() -> None:
    signals = {DAYS[0]: {"KO": 0.2}, DAYS[1]: {"KO": -0.2}, DAYS[2]: {"KO": -0.2}}
    fills = FillModel(faults=[Fault(DAYS[1], FaultKind.PARTIAL)])
    result = backtest(signals, PRICES, policy=FIXED, fills=fills)
    legs = [order for order in result.orders if order.as_of_date == DAYS[1]]
    assert [(order.leg, order.filled_qty) for order in legs] == [(0, 100), (1, 0)]
    assert [positions.get(KO, 0) for positions in held(result)] == [0, 200, 100, -200]


def test_chance_is_the_same_for_the_same_seed_and_befalls_as_often_as_told() -> None:
    symbols = [f"S{number}" for number in range(400)]
    prices = {day: dict.fromkeys(symbols, 10) for day in DAYS[:2]}
    signals = {DAYS[0]: dict.fromkeys(symbols, 0.002)}

    def rejected(seed: int) -> set[str]:
        fills = FillModel(rejection_rate=0.25, seed=seed)
        result = backtest(signals, prices, policy=FIXED, fills=fills)
        return {order.symbol for order in result.orders if order.state == "rejected"}

    assert rejected(1) == rejected(1)
    assert rejected(1) != rejected(2)
    assert 60 < len(rejected(1)) < 140
    part = backtest(
        signals, prices, policy=FIXED, fills=FillModel(partial_rate=1, partial_fraction=0)
    )
    assert held(part)[-1] == {}
    assert {order.gateway_status for order in part.orders} == {"expired"}


def test_every_kind_of_fault_on_every_day_leaves_a_true_account() -> None:
    days = [MONDAY + timedelta(days=number) for number in range(20)]
    prices = {day: {"KO": 100 + at, "MO": 50 - at} for at, day in enumerate(days)}
    signals = {
        day: {"KO": (-1) ** at * 0.2, "MO": 0.1 * (at % 3)} for at, day in enumerate(days[:-1])
    }
    faults = [Fault(day, kind) for day, kind in zip(days[:-1], [*FaultKind] * 3, strict=False)]
    fills = FillModel(faults=faults, slippage_bps=3, commission_per_order=1)
    result = backtest(signals, prices, fills=fills)
    shares = {"KO": 0, "MO": 0}
    cash = Decimal(100_000)
    for order in result.orders:
        signed = order.filled_qty if order.side == "buy" else -order.filled_qty
        shares[order.symbol] += signed
        cash -= signed * (order.fill_price or 0) + order.commission
    assert shares == {symbol: result.days[-1].positions.get(Symbol(symbol), 0) for symbol in shares}
    assert cash == result.days[-1].cash
    assert all(
        order.state in {"accepted", "rejected", "not_placed", "halted"} for order in result.orders
    )


def test_a_fault_of_a_day_without_a_run_is_refused() -> None:
    with pytest.raises(ValueError, match="no run is decided on 2024-01-11"):
        backtest(SIGNALS, PRICES, fills=FillModel(faults=[Fault(DAYS[3], FaultKind.CRASH)]))
    with pytest.raises(ValueError, match="befalls the whole day"):
        Fault(DAYS[0], FaultKind.KILL_SWITCH, KO)


def test_a_gateway_asked_twice_fills_an_order_once() -> None:
    clock = VirtualClock(datetime.combine(MONDAY, DECISION_TIME))
    gateway = SimulatedGateway(FillModel(), clock)
    gateway.open_day({KO: Decimal(100)}, ())
    intent = OrderIntent(ClientOrderId("o1"), KO, Side.BUY, 5)
    first, second = (run_sync(gateway.submit([intent], deadline=1.0)) for _ in range(2))
    assert first == second
    assert [fill.qty for fill in gateway.fills] == [5]
