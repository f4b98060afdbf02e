"""A backtest in ten lines: bundled closes, a weight for each symbol, what came of it."""

from orchestrator_entrypoints.backtests import FillModel, Matrix, backtest
from orchestrator_entrypoints.data import daily_prices

data = daily_prices()
closes = Matrix(data.dates, data.symbols, data.closes)
signals = {day: {"KO": 0.4, "XOM": 0.4, "RRC": -0.1} for day in data.dates[::21]}
result = backtest(signals, closes, fills=FillModel(slippage_bps=2, commission_per_share="0.005"))

print(result.summary())
for step in result.explain(data.dates[21], "XOM"):
    print(step.name, step.value, step.note or "")
