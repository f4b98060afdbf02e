"""What a date's decision sees of the market, and what its orders meet."""

from collections.abc import Mapping
from datetime import UTC, date, time
from decimal import Decimal

from attrs import frozen

from orchestrator_core.identifiers import Symbol

# 14:30 in winter and 15:30 in summer in New York.
DECISION_TIME = time(19, 30, tzinfo=UTC)


@frozen
class Market:
    """What a decision sees, and what its orders meet.

    Attributes:
        closes: Of the date, account currency per share; what is sized with.
        references: The closes of the date before.
        before: That date; None on the first.
        next_prices: What orders trade at, account currency per share.
    """

    closes: Mapping[Symbol, Decimal]
    references: Mapping[Symbol, Decimal]
    before: date | None
    next_prices: Mapping[Symbol, Decimal]
