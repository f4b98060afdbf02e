"""What clients decide to trade: a function of seed, client and number alone.

Each decision has symbols that are its own, so that a double shows at the gateway whatever ids it
came under, and some that decisions share, where the id must tell them apart.
"""

import random
import re
from datetime import date
from typing import Any

from attrs import field, frozen

from orchestrator_core.identifiers import StrategyId, Symbol, TradingMode, client_order_id
from tests.chaos.signals import TODAY

DATES = (None, TODAY, "2026-03-03", "2026-03-04")
KEYS = ("", "noon", "close", "k-1", "k-2")
SHARED = ("AAPL", "MSFT", "BRK.B")
OWN_SYMBOLS = (1, 9)
KEYED_SHARE = 0.5


def is_own(symbol: str) -> bool:
    """Whether one decision alone trades the symbol."""
    return re.fullmatch(r"C\d+N\d+[A-Z]", symbol) is not None


@frozen
class Decision:
    """One request, however often it is made.

    Attributes:
        as_of_date: None leaves it to the signals.
        idempotency_key: None for a client that gives none.
    """

    name: str
    as_of_date: str | None
    rebalance_key: str
    symbols: tuple[str, ...]
    idempotency_key: str | None = None

    @property
    def signal_date(self) -> str:
        return self.as_of_date or TODAY

    def body(self) -> dict[str, Any]:
        """Return the request's body."""
        body: dict[str, Any] = {"symbols": list(self.symbols)}
        if self.as_of_date is not None:
            body["as_of_date"] = self.as_of_date
        if self.rebalance_key:
            body["rebalance_key"] = self.rebalance_key
        return body


@frozen
class Deciding:
    """The decisions of all clients."""

    seed: int
    environment: str
    strategy_id: str
    shared: tuple[str, ...] = field(default=SHARED)

    def decision(self, client: int, number: int) -> Decision:
        """Return a client's decision by its number."""
        draw = random.Random(f"{self.seed}:decision:{client}:{number}")  # noqa: S311 - a plan
        name = f"C{client}N{number:04d}"
        own = [f"{name}{letter}" for letter in "ABCDEFGHI"[: draw.randint(*OWN_SYMBOLS)]]
        common = [symbol for symbol in self.shared if draw.random() < 1 / 4]
        symbols = own + common
        draw.shuffle(symbols)
        is_keyed = draw.random() < KEYED_SHARE
        return Decision(
            name=name,
            as_of_date=draw.choice(DATES),
            rebalance_key=draw.choice(KEYS),
            symbols=tuple(symbols),
            idempotency_key=f"key-{name}" if is_keyed else None,
        )

    def order_id(self, as_of_date: str, rebalance_key: str, symbol: str) -> str:
        """Return the one id that a decision on a symbol may have at the gateway."""
        return client_order_id(
            environment=self.environment,
            mode=TradingMode.PAPER,
            strategy_id=StrategyId(self.strategy_id),
            as_of_date=date.fromisoformat(as_of_date),
            rebalance_key=rebalance_key,
            symbol=Symbol(symbol),
        )
