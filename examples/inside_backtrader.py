"""The core as position sizer inside backtrader's own loop.

backtrader keeps the clock, the broker and the orders. At each rebalance it asks the core, beside
what its broker holds, how many shares to trade: the same lots, caps and limits as in production.
"""

from datetime import UTC, datetime
from decimal import Decimal

import backtrader as bt

from orchestrator_core.plans import OrderPlan
from orchestrator_entrypoints.backtests import BacktestPolicy, decide
from orchestrator_entrypoints.data import DailyPrices, daily_prices

WEIGHTS = {"KO": 0.4, "XOM": 0.4, "RRC": -0.1}
EVERY = 21
CENT = Decimal("0.01")


class Closes(bt.feed.DataBase):
    """One symbol's bundled closes; every price of a bar is its close."""

    params = (("prices", None), ("symbol", None))

    def start(self):
        super().start()
        closes = self.p.prices.closes_of(self.p.symbol)
        self.bars = iter(zip(self.p.prices.dates, closes, strict=True))

    def _load(self):
        day, close = next(self.bars, (None, None))
        if day is None:
            return False
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).replace(tzinfo=None)
        self.lines.datetime[0] = bt.date2num(midnight)
        for line in (self.lines.open, self.lines.high, self.lines.low, self.lines.close):
            line[0] = float(close)
        self.lines.volume[0] = self.lines.openinterest[0] = 0.0
        return True


class Rebalancing(bt.Strategy):
    """Brings the account to fixed weights once a month."""

    policy = BacktestPolicy(max_position_size=45_000, lot=5)

    def next(self):
        if (len(self) - 1) % EVERY == 0:
            by_name = {data._name: data for data in self.datas}
            for intent in self.plan(by_name).intents:
                trade = self.buy if intent.signed_qty > 0 else self.sell
                trade(data=by_name[intent.symbol], size=intent.qty)

    def plan(self, by_name) -> OrderPlan:
        equity = Decimal(repr(self.broker.getvalue())).quantize(CENT)
        return decide(
            WEIGHTS,
            {name: data.close[0] for name, data in by_name.items()},
            held={name: int(self.getposition(data).size) for name, data in by_name.items()},
            policy=self.policy,
            capital=equity,
            day=self.data.datetime.date(0),
        )


def run(prices: DailyPrices):
    """Return the strategy as backtrader ran it."""
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.broker.set_cash(100_000)
    # Orders trade at the close after the one that they were decided on.
    for symbol in WEIGHTS:
        cerebro.adddata(Closes(prices=prices, symbol=symbol), name=symbol)
    cerebro.addstrategy(Rebalancing)
    [strategy] = cerebro.run()
    return strategy


if __name__ == "__main__":
    strategy = run(daily_prices())
    print(f"equity {strategy.broker.getvalue():.2f}")
    for data in strategy.datas:
        print(data._name, int(strategy.getposition(data).size))
