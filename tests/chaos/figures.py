"""Figures of many measurements, in one line."""

from collections.abc import Sequence


def figures_of(values: Sequence[float]) -> str:
    """Return median, 99th percentile and the most.

    >>> figures_of([3.0, 1.0, 2.0])
    'p50 2.0, p99 3.0, max 3.0 of 3'
    """
    if not values:
        return "none"
    ordered = sorted(values)
    p50, p99 = (ordered[int(share * len(ordered))] for share in (0.5, 0.99))
    return f"p50 {p50:.1f}, p99 {p99:.1f}, max {ordered[-1]:.1f} of {len(ordered)}"
