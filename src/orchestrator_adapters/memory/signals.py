"""Signals in memory."""

from collections.abc import Callable

from attrs import frozen

from orchestrator_core.model import SignalBatch
from orchestrator_core.requests import RunRequest


@frozen
class MemorySignalSource:
    """Answers one batch, or whatever a function makes of each request.

    Attributes:
        answer: The batch, or a function that returns one or raises an error of the port.
    """

    answer: SignalBatch | Callable[[RunRequest], SignalBatch]

    async def fetch(self, request: RunRequest) -> SignalBatch:
        return self.answer if isinstance(self.answer, SignalBatch) else self.answer(request)
