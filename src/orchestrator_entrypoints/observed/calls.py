"""One call to something outside: its time, and its failure."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from orchestrator_core.errors import PortError
from orchestrator_entrypoints.metrics import Metrics


@contextmanager
def observed(metrics: Metrics, port: str, operation: str) -> Iterator[None]:
    """Time the call within, and count it where it fails."""
    began = perf_counter()
    try:
        yield
    except PortError as error:
        metrics.call_errors.labels(port, operation, type(error).__name__).inc()
        raise
    finally:
        metrics.call_seconds.labels(port, operation).observe(perf_counter() - began)
