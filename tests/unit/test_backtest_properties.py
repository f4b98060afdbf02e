"""What holds of every backtest, whatever the signals, prices, costs and faults."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator_core.money import WIDE, ZERO, add_all
from orchestrator_core.sizing import SizingMode, SizingRules
from orchestrator_entrypoints.backtests.backtesting import backtest
from orchestrator_entrypoints.backtests.fills import OF_THE_DAY, Fault, FaultKind, FillModel
from orchestrator_entrypoints.backtests.policy import BacktestPolicy
from orchestrator_entrypoints.backtests.result import BacktestResult

MONDAY = date(2024, 1, 8)
SYMBOLS = ("KO", "MO", "XOM")
MOST_DAYS = 6

Series = Mapping[date, Mapping[str, Any]]


def days(count: int) -> list[date]:
    return [MONDAY + timedelta(days=number) for number in range(count)]


prices = st.floats(0.01, 5_000).map(lambda price: round(price, 2))
weights = st.one_of(st.just(0.0), st.floats(-0.33, 0.33))
bps = st.sampled_from([0, 0.5, 1, 7.25, 100])


@st.composite
def series_of(draw: st.DrawFn, values: st.SearchStrategy[float], count: int) -> Series:
    return {day: {symbol: draw(values) for symbol in SYMBOLS} for day in days(count)}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Series, Series, Series]:
    """Return signals, closes and opens of a few days."""
    count = draw(st.integers(2, MOST_DAYS))
    signals = draw(series_of(weights, count - 1))
    return signals, draw(series_of(prices, count)), draw(series_of(prices, count))


models = st.builds(
    FillModel,
    slippage_bps=bps,
    commission_bps=bps,
    commission_per_share=st.sampled_from(["0", "0.005"]),
    commission_per_order=st.sampled_from([0, 1]),
    partial_rate=st.sampled_from([0, 0.5]),
    rejection_rate=st.sampled_from([0, 0.3]),
    seed=st.integers(0, 5),
)
policies = st.builds(
    BacktestPolicy,
    compounds=st.booleans(),
    max_position_size=st.sampled_from([None, 10_000]),
    lot=st.sampled_from([1, 10]),
    rules=st.builds(
        SizingRules,
        mode=st.sampled_from(SizingMode),
        cash_buffer=st.sampled_from([ZERO, Decimal("0.05")]),
        spends_leftover=st.booleans(),
        closes_absent=st.booleans(),
    ),
)


@st.composite
def faults_of(draw: st.DrawFn, signals: Series) -> tuple[Fault, ...]:
    day = draw(st.sampled_from(sorted(signals)))
    kind = draw(st.sampled_from(FaultKind))
    symbol = None if kind in OF_THE_DAY else draw(st.sampled_from([None, *SYMBOLS]))
    return (Fault(day, kind, symbol),)


def signed(side: str, qty: int) -> int:
    return qty if side == "buy" else -qty


@settings(max_examples=60, deadline=None)
@given(worlds(), models, policies, st.data())
def test_cash_and_positions_account_for_every_fill_exactly(
    world: tuple[Series, Series, Series],
    model: FillModel,
    policy: BacktestPolicy,
    data: st.DataObject,
) -> None:
    signals, closes, opens = world
    model = evolve(model, faults=data.draw(faults_of(signals)))
    result = backtest(signals, closes, opens=opens, policy=policy, fills=model)

    cash, shares = policy.capital, dict.fromkeys(SYMBOLS, 0)
    yesterday: Sequence[Any] = ()
    for day in result.days:
        for order in yesterday:
            if order.fill_price is not None:
                moved = signed(order.side, order.filled_qty)
                shares[order.symbol] += moved
                paid = WIDE.add(WIDE.multiply(order.fill_price, moved), order.commission)
                cash = WIDE.subtract(cash, paid)
                market = Decimal(repr(opens[day.date][order.symbol]))
                slipped = WIDE.subtract(order.fill_price, market).copy_abs() * order.filled_qty
                assert order.slippage == slipped
        assert day.cash == cash
        assert day.positions == {symbol: qty for symbol, qty in shares.items() if qty}
        worth = [Decimal(repr(closes[day.date][s])) * qty for s, qty in shares.items()]
        assert day.equity == add_all([cash, *worth])
        assert (day.long, -day.short) == (
            add_all(each for each in worth if each > 0),
            add_all(each for each in worth if each < 0),
        )
        assert day.drawdown >= 0
        assert day.costs == add_all(o.commission + o.slippage for o in yesterday)
        yesterday = [order for order in result.orders if order.as_of_date == day.date]


@settings(max_examples=40, deadline=None)
@given(worlds(), models, policies, st.data())
def test_nothing_decided_depends_on_a_later_price(
    world: tuple[Series, Series, Series],
    model: FillModel,
    policy: BacktestPolicy,
    data: st.DataObject,
) -> None:
    signals, closes, opens = world
    until = data.draw(st.sampled_from(sorted(signals)))
    later = {
        day: row if day <= until else {symbol: price * 3 for symbol, price in row.items()}
        for day, row in closes.items()
    }
    opened_later = {
        day: row if day <= until else {symbol: price * 2 for symbol, price in row.items()}
        for day, row in opens.items()
    }
    first = backtest(signals, closes, opens=opens, policy=policy, fills=model)
    second = backtest(signals, later, opens=opened_later, policy=policy, fills=model)

    def seen(result: BacktestResult) -> list[Any]:
        known = [day for day in result.days if day.date <= until]
        decided = [
            (each.as_of_date, each.symbol, each.side, each.qty, each.leg)
            for each in result.orders
            if each.as_of_date <= until
        ]
        records = [run.record for run in result.runs if run.as_of_date <= until]
        return [known, decided, [record and record.text for record in records]]

    assert seen(first) == seen(second)


@settings(max_examples=30, deadline=None)
@given(series_of(weights, 5), series_of(prices, 1), policies)
def test_where_prices_stand_and_nothing_costs_the_equity_stands(
    signals: Series, first: Series, policy: BacktestPolicy
) -> None:
    [row] = first.values()
    result = backtest(signals, dict.fromkeys(days(6), row), policy=policy)
    assert {day.equity for day in result.days} == {policy.capital}
    assert result.summary().total_return == 0


@settings(max_examples=30, deadline=None)
@given(worlds(), models, policies, st.data())
def test_the_same_inputs_give_the_same_bytes(
    world: tuple[Series, Series, Series],
    model: FillModel,
    policy: BacktestPolicy,
    data: st.DataObject,
) -> None:
    signals, closes, opens = world
    model = evolve(model, faults=data.draw(faults_of(signals)))

    def made(keeps_runs: bool) -> BacktestResult:
        kept = evolve(policy, keeps_runs=keeps_runs)
        return backtest(signals, closes, opens=opens, policy=kept, fills=model)

    one, two = made(keeps_runs=True), made(keeps_runs=True)
    assert repr(one) == repr(two)
    assert [run.record for run in one.runs] == [run.record for run in two.runs]
    assert repr(made(keeps_runs=False).days) == repr(one.days)


@settings(max_examples=40, deadline=None)
@given(worlds())
def test_positions_are_those_of_a_plain_loop(world: tuple[Series, Series, Series]) -> None:
    signals, closes, _ = world
    result = backtest(signals, closes)
    cash = Decimal(100_000)
    shares = dict.fromkeys(SYMBOLS, 0)
    for today, tomorrow in zip(result.days, result.days[1:], strict=False):
        close = {s: Decimal(repr(closes[today.date][s])) for s in SYMBOLS}
        equity = cash + sum(close[s] * shares[s] for s in SYMBOLS)
        assert today.equity == equity
        if equity < Decimal("0.01"):
            break
        capital = Decimal(int(equity * 100)) / 100
        for s in SYMBOLS:
            weight = Decimal(repr(signals[today.date][s]))
            target = int(abs(weight) * capital / close[s])
            target = target if weight > 0 else -target
            cash -= (target - shares[s]) * Decimal(repr(closes[tomorrow.date][s]))
            shares[s] = target
        assert tomorrow.positions == {s: qty for s, qty in shares.items() if qty}
