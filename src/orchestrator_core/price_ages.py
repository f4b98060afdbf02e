"""How old a price may be: held to when it is decided on, and again before its order leaves."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from attrs import field, frozen

from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.limits import Limits
from orchestrator_core.model import OrderIntent, Quote
from orchestrator_core.plans import Snapshot


def price_problem(as_of: datetime, now: datetime, limits: Limits) -> str | None:
    """Say why a price of that time may not be traded on now, or return None.

    A price exactly as old as the limit is still good.
    """
    age = now - as_of
    if age > timedelta(seconds=limits.max_price_age_seconds):
        return f"stale, {age.total_seconds():.1f} s old, limit {limits.max_price_age_seconds:g} s"
    if -age > timedelta(seconds=limits.max_price_lead_seconds):
        return f"{-age.total_seconds():.1f} s ahead of our clock"
    return None


@frozen
class PriceAges:
    """When the prices are from that a run's orders were sized with.

    Attributes:
        priced_at: By order; each order that is asked about is in it.
    """

    limits: Limits = field(factory=Limits)
    priced_at: Mapping[ClientOrderId, datetime] = field(factory=dict)

    @classmethod
    def of(cls, snapshot: Snapshot, intents: Iterable[OrderIntent]) -> "PriceAges":
        """Return those of orders that were planned from a snapshot."""
        times = {quote.symbol: quote.as_of for quote in snapshot.quotes if isinstance(quote, Quote)}
        return cls(
            snapshot.policy.limits,
            {
                intent.client_order_id: times[intent.symbol]
                for intent in intents
                if intent.symbol in times
            },
        )

    def problems(
        self, intents: Sequence[OrderIntent], at: datetime
    ) -> Iterator[tuple[OrderIntent, str]]:
        """Yield each order whose price may not be traded on at that time, with why."""
        if not intents or price_problem(min(self.priced_at.values()), at, self.limits) is None:
            return
        for intent in intents:
            problem = price_problem(self.priced_at[intent.client_order_id], at, self.limits)
            if problem is not None:
                yield intent, problem
