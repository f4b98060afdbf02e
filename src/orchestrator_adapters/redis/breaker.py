"""The shared circuit breaker, in Redis."""

from attrs import frozen

from orchestrator_adapters.redis.client import RedisClient
from orchestrator_adapters.shared_keys import CIRCUIT_BREAKER_STATE, decode_breaker
from orchestrator_core.ports import Breaker

PORT = "breaker"


@frozen
class RedisCircuitBreaker:
    """Reads the breaker that other services pull."""

    client: RedisClient

    async def read(self) -> Breaker | None:
        text = await self.client.read(PORT, "read", "GET", CIRCUIT_BREAKER_STATE)
        return None if text is None else decode_breaker(text)
