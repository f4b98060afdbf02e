"""Driving the workflow without an event loop."""

from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run_sync(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine whose adapters never suspend, and return its result.

    For backtests, property tests and sweeps over in-memory adapters: no event loop is started.

    Raises:
        RuntimeError: An adapter suspended.
    """
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: Result = finished.value
        return result
    coroutine.close()
    raise RuntimeError("an adapter suspended: drive it with an event loop instead")
