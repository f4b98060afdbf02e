"""Adapters over Redis: the kill switch's shared half, prices, closes, circuit breaker, budget.

`client` holds the connections, every time-out and the one map of Redis's errors; the others hold a
port each. Building any of them connects to nothing.
"""

from orchestrator_adapters.redis.breaker import RedisCircuitBreaker
from orchestrator_adapters.redis.budget import RedisOrderBudget
from orchestrator_adapters.redis.client import RedisAddress, RedisClient
from orchestrator_adapters.redis.kill_switch import RedisKillSwitch
from orchestrator_adapters.redis.prices import RedisCloseSource, RedisPriceSource

__all__ = [
    "RedisAddress",
    "RedisCircuitBreaker",
    "RedisClient",
    "RedisCloseSource",
    "RedisKillSwitch",
    "RedisOrderBudget",
    "RedisPriceSource",
]
