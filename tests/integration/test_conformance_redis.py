from collections.abc import AsyncIterator
from datetime import date

import pytest
from attrs import frozen

from orchestrator_adapters.conformance.breaker import BreakerStage, CircuitBreakerConformance
from orchestrator_adapters.conformance.closes import CloseSourceConformance, ClosesStage
from orchestrator_adapters.conformance.kill_switch import KillSwitchConformance, KillSwitchStage
from orchestrator_adapters.conformance.prices import PriceSourceConformance, PricesStage
from orchestrator_adapters.redis import (
    RedisAddress,
    RedisCircuitBreaker,
    RedisClient,
    RedisCloseSource,
    RedisKillSwitch,
    RedisPriceSource,
)
from orchestrator_adapters.shared_closes import close_key
from orchestrator_adapters.shared_keys import CIRCUIT_BREAKER_STATE, KILL_SWITCH_STATE, price_key
from orchestrator_core.identifiers import Symbol
from tests.servers.redis import RedisServer


def put_key(server: RedisServer, key: str, text: str | None) -> None:
    with server.administered() as client:
        if text is None:
            client.delete(key)
        else:
            client.set(key, text)


@frozen
class RedisSwitchStage:
    server: RedisServer
    switch: RedisKillSwitch
    another: RedisKillSwitch

    async def put_text(self, text: str | None) -> None:
        put_key(self.server, KILL_SWITCH_STATE, text)

    async def get_text(self) -> str | None:
        with self.server.administered() as client:
            text = client.get(KILL_SWITCH_STATE)
        assert text is None or isinstance(text, bytes)
        return None if text is None else text.decode()


@frozen
class RedisPricesStage:
    server: RedisServer
    source: RedisPriceSource

    async def put_text(self, symbol: Symbol, text: str) -> None:
        put_key(self.server, price_key(symbol), text)


@frozen
class RedisClosesStage:
    server: RedisServer
    source: RedisCloseSource

    async def put_text(self, symbol: Symbol, text: str) -> None:
        put_key(self.server, close_key(symbol), text)


@frozen
class RedisBreakerStage:
    server: RedisServer
    breaker: RedisCircuitBreaker

    async def put_text(self, text: str | None) -> None:
        put_key(self.server, CIRCUIT_BREAKER_STATE, text)


# Patient: what is tested here is no time-out, and the machine may be busy.
async def a_client(server: RedisServer) -> AsyncIterator[RedisClient]:
    client = RedisClient(RedisAddress(host="127.0.0.1", port=server.port), timeout_seconds=10)
    yield client
    await client.aclose()


@pytest.fixture
async def client(empty_redis: RedisServer) -> AsyncIterator[RedisClient]:
    async for client in a_client(empty_redis):
        yield client


@pytest.fixture
async def other_replica(empty_redis: RedisServer) -> AsyncIterator[RedisClient]:
    async for client in a_client(empty_redis):
        yield client


class TestRedisKillSwitch(KillSwitchConformance):
    @pytest.fixture
    def stage(
        self, empty_redis: RedisServer, client: RedisClient, other_replica: RedisClient
    ) -> KillSwitchStage:
        return RedisSwitchStage(
            empty_redis, RedisKillSwitch(client), RedisKillSwitch(other_replica)
        )


class TestRedisPriceSource(PriceSourceConformance):
    @pytest.fixture
    def stage(self, empty_redis: RedisServer, client: RedisClient) -> PricesStage:
        return RedisPricesStage(empty_redis, RedisPriceSource(client))


class TestRedisCloseSource(CloseSourceConformance):
    @pytest.fixture
    def stage(self, empty_redis: RedisServer, client: RedisClient) -> ClosesStage:
        return RedisClosesStage(empty_redis, RedisCloseSource(client))


class TestRedisCircuitBreaker(CircuitBreakerConformance):
    @pytest.fixture
    def stage(self, empty_redis: RedisServer, client: RedisClient) -> BreakerStage:
        return RedisBreakerStage(empty_redis, RedisCircuitBreaker(client))


@pytest.mark.anyio
async def test_a_run_reads_its_prices_and_its_closes_with_one_command_each(
    empty_redis: RedisServer, client: RedisClient
) -> None:
    symbols = [Symbol(f"S{number}") for number in range(1000)]
    with empty_redis.administered() as admin:
        admin.config_resetstat()
        await RedisPriceSource(client).quotes(symbols)
        assert admin.info("commandstats")["cmdstat_mget"]["calls"] == 1
        await RedisCloseSource(client).closes(symbols, before=date(2026, 3, 2))
        assert admin.info("commandstats")["cmdstat_mget"]["calls"] == 2
