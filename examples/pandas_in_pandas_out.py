"""pandas in, pandas out: weights from returns of a frame of closes, results as frames."""

import pandas as pd

from orchestrator_entrypoints.backtests import BacktestPolicy, FillModel, backtest
from orchestrator_entrypoints.data import daily_prices

data = daily_prices()
closes = pd.DataFrame(
    data.closes, index=pd.DatetimeIndex(data.dates, name="date"), columns=data.symbols
).astype(float)

# Momentum: long the five best of a quarter, short the five worst, changed once a month. A day's
# weights know the closes of that day and before, and trade at the close after it.
ranks = closes.pct_change(63).rank(axis=1)
weights = ((ranks > 15) * 0.2 - (ranks <= 5) * 0.1).iloc[63::21]

policy = BacktestPolicy(capital=250_000, max_position_size=60_000)
result = backtest(weights, closes, policy=policy, fills=FillModel(slippage_bps=3))

days = pd.DataFrame(result.table()).set_index("date")
orders = pd.DataFrame(result.orders_table())
print(days[["equity", "gross", "net", "turnover", "costs"]].astype(float).tail().round(2))
print(orders.groupby("symbol")["filled_qty"].sum().nlargest(5))
