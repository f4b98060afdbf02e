"""The shared circuit breaker, in memory."""

from attrs import define

from orchestrator_adapters.shared_keys import decode_breaker
from orchestrator_core.ports import Breaker


@define
class MemoryCircuitBreaker:
    """Holds the same text as every other store."""

    _text: str | None = None

    async def read(self) -> Breaker | None:
        return None if self._text is None else decode_breaker(self._text)

    def put_text(self, text: str | None) -> None:
        """Let `text` stand there, as the breaker's owner would write it; None deletes it."""
        self._text = text
