"""The account of a backtest: cash and shares, moved by fills alone."""

from collections.abc import Mapping
from decimal import Decimal

from attrs import define, field

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Position
from orchestrator_core.money import WIDE, ZERO, multiply
from orchestrator_entrypoints.backtests.fills import Fill


@define
class Account:
    """Cash and shares; a source of positions for runs.

    Attributes:
        cash: Account currency; below zero where more was bought than there was.
        shares: By symbol, below zero when short; none that are zero. Replaced at each change, never
            changed in place.
    """

    cash: Decimal
    shares: Mapping[Symbol, int] = field(factory=dict)

    async def positions(self) -> Mapping[Symbol, Position]:
        return {symbol: Position(symbol, qty) for symbol, qty in self.shares.items()}

    def book(self, fills: list[Fill]) -> None:
        """Count fills: shares, what they cost or brought, and commission."""
        if not fills:
            return
        shares = dict(self.shares)
        for fill in fills:
            symbol = fill.intent.symbol
            paid = WIDE.add(multiply(fill.price, fill.signed_qty), fill.commission)
            self.cash = WIDE.subtract(self.cash, paid)
            shares[symbol] = shares.get(symbol, 0) + fill.signed_qty
            if not shares[symbol]:
                del shares[symbol]
        self.shares = shares

    def worth(self, prices: Mapping[Symbol, Decimal]) -> tuple[Decimal, Decimal]:
        """Return the worth of long and of short positions, both unsigned, account currency."""
        long = short = ZERO
        for symbol, qty in self.shares.items():
            notional = multiply(prices[symbol], qty)
            if qty > 0:
                long = WIDE.add(long, notional)
            else:
                short = WIDE.subtract(short, notional)
        return long, short
