"""Bad days: an answer lost, a crash in mid-send, a gateway down, the kill switch engaged.

Each is what production does with it: what is in doubt is looked up and not sent twice, what was not
placed is lacking the next day and ordered then, and the account is true throughout.
"""

from orchestrator_entrypoints.backtests import Fault, FaultKind, FillModel, Matrix, backtest
from orchestrator_entrypoints.data import daily_prices

data = daily_prices()
days = data.dates[:10]
closes = Matrix(days, data.symbols, data.closes[:10])
signals = {day: {"KO": 0.3, "XOM": -0.2} for day in days}
faults = [
    Fault(days[0], FaultKind.TIME_OUT, "KO"),
    Fault(days[2], FaultKind.CRASH),
    Fault(days[4], FaultKind.GATEWAY_DOWN),
    Fault(days[6], FaultKind.KILL_SWITCH),
]

result = backtest(signals, closes, fills=FillModel(faults=faults))

for day in result.days:
    print(day.date, day.run_status or "-", dict(day.positions), f"equity {day.equity:.2f}")
for order in result.orders:
    if order.as_of_date in {fault.day for fault in faults}:
        print(
            order.as_of_date, order.symbol, order.side, order.qty, order.state, order.reason or ""
        )
