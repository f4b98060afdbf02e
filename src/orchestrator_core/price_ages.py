"""How old a price may be: held to when it is decided on, and again before its order leaves."""

from datetime import datetime, timedelta

from orchestrator_core.limits import Limits


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
