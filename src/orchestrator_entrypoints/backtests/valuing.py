"""An account valued at each close: the money half of a day's row."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal

from attrs import define

from orchestrator_core.identifiers import Symbol
from orchestrator_core.money import SHOWN, WIDE, ZERO, add_all, rounded
from orchestrator_entrypoints.backtests.account import Account
from orchestrator_entrypoints.backtests.fills import Fill
from orchestrator_entrypoints.backtests.result import Day

# A drawdown is shown, and never computed with.
PLACES = Decimal("1e-12")


@define
class Valuing:
    """Values an account day by day.

    Attributes:
        peak: The highest equity so far, account currency.
    """

    peak: Decimal

    def value(
        self, day: date, account: Account, closes: Mapping[Symbol, Decimal], fills: Sequence[Fill]
    ) -> Day:
        """Return the account at a day's close.

        Args:
            day: Whose.
            account: As it stands after the day's fills.
            closes: Account currency per share.
            fills: Of the day.
        """
        long, short = account.worth(closes)
        equity = add_all((account.cash, long, short.copy_negate()))
        self.peak = max(self.peak, equity)
        return Day(
            date=day,
            equity=equity,
            cash=account.cash,
            positions=account.shares,
            long=long,
            short=short,
            turnover=add_all(fill.notional for fill in fills),
            costs=add_all(cost for fill in fills for cost in (fill.commission, fill.slippage)),
            drawdown=self._drawdown(equity),
        )

    def _drawdown(self, equity: Decimal) -> Decimal:
        below = WIDE.subtract(self.peak, equity)
        if not below:
            return ZERO
        return rounded(SHOWN.divide(below, self.peak), PLACES, ROUND_HALF_EVEN)
