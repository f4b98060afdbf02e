from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from attrs import frozen

from orchestrator_adapters.conformance.budget import BudgetStage, OrderBudgetConformance
from orchestrator_adapters.conformance.budget_model import fresh, ids
from orchestrator_adapters.redis import RedisAddress, RedisClient, RedisOrderBudget
from orchestrator_core.ports import Allowance
from tests.servers.redis import RedisServer

# As if the server's clock had gone on: all that is written down becomes older.
LET_TIME_PASS = """
for _, key in ipairs(KEYS) do
  local entries = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for place = 1, #entries, 2 do
    redis.call('ZADD', key, string.format('%.0f', entries[place + 1] - ARGV[1]), entries[place])
  end
  local left = redis.call('PTTL', key) - math.floor(ARGV[1] / 1000)
  if left > 0 then
    redis.call('PEXPIRE', key, left)
  else
    redis.call('DEL', key)
  end
end
"""


@frozen
class RedisBudgetStage:
    server: RedisServer
    replicas: list[RedisClient]

    def budget(
        self, *, max_in_flight: int | None = None, max_per_minute: int | None = None
    ) -> RedisOrderBudget:
        self.replicas.append(self.replicas.pop(0))
        return RedisOrderBudget(self.replicas[0], max_in_flight, max_per_minute)

    async def pass_time(self, seconds: float) -> None:
        keys = self.budget().keys
        with self.server.administered() as admin:
            admin.eval(LET_TIME_PASS, len(keys), *keys, round(seconds * 1_000_000))


@pytest.fixture
async def stage(empty_redis: RedisServer) -> AsyncIterator[RedisBudgetStage]:
    address = RedisAddress(host="127.0.0.1", port=empty_redis.port)
    async with AsyncExitStack() as stack:
        replicas = [RedisClient(address, timeout_seconds=10) for _ in range(4)]
        for client in replicas:
            stack.push_async_callback(client.aclose)
        yield RedisBudgetStage(empty_redis, replicas)


class TestRedisOrderBudget(OrderBudgetConformance):
    @pytest.fixture
    def stage(self, stage: RedisBudgetStage) -> BudgetStage:
        return stage


@pytest.mark.anyio
async def test_the_keys_end_with_what_they_hold(stage: RedisBudgetStage) -> None:
    budget = stage.budget(max_in_flight=9, max_per_minute=9)
    await budget.take(ids("a"), hold_seconds=100)
    await budget.take(ids("b"), hold_seconds=20)
    with stage.server.administered() as admin:
        assert set(admin.keys()) == {key.encode() for key in budget.keys}
        places, sent = (admin.pttl(key) for key in budget.keys)
    assert 90_000 < places <= 100_001
    assert 50_000 < sent <= 60_000


@pytest.mark.anyio
async def test_only_the_last_minute_is_kept(stage: RedisBudgetStage) -> None:
    budget = stage.budget(max_in_flight=99, max_per_minute=99)
    for number in range(5):
        await budget.take(fresh(3, f"r{number}n"), hold_seconds=30)
        await stage.pass_time(40)
    await budget.take(ids("last"), hold_seconds=30)
    with stage.server.administered() as admin:
        assert [admin.zcard(key) for key in budget.keys] == [1, 4]


@pytest.mark.anyio
async def test_budgets_of_two_names_are_two(stage: RedisBudgetStage) -> None:
    one = stage.budget(max_in_flight=1)
    another = RedisOrderBudget(one.client, 1, None, prefix="orchestrator:budget:another")
    assert await one.take(ids("a"), hold_seconds=30) == Allowance(1)
    assert await another.take(ids("b"), hold_seconds=30) == Allowance(1)
    assert (await one.take(ids("b"), hold_seconds=30)).granted == 0


@pytest.mark.anyio
async def test_a_clock_that_is_put_back_keeps_nobody_waiting_longer_than_a_minute(
    stage: RedisBudgetStage,
) -> None:
    budget = stage.budget(max_per_minute=2)
    await budget.take(ids("a", "b"), hold_seconds=30)
    await stage.pass_time(-86_400)
    answer = await budget.take(ids("c"), hold_seconds=30)
    assert (answer.granted, answer.retry_after) == (0, 60.0)
    await stage.pass_time(60)
    assert await budget.take(ids("c"), hold_seconds=30) == Allowance(1)


@pytest.mark.anyio
async def test_a_wave_of_thousands_is_one_exchange(stage: RedisBudgetStage) -> None:
    wave = fresh(20_000, "o")
    budget = stage.budget(max_in_flight=15_000, max_per_minute=50_000)
    assert (await budget.take(wave, hold_seconds=30)).granted == 15_000
    await budget.give_back(wave)
    assert (await budget.take(wave[15_000:], hold_seconds=30)).granted == 5_000
