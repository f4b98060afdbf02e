import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import date

import pytest
from attrs import frozen

from orchestrator_adapters.conformance.kill_switch import a_disengagement, an_engagement
from orchestrator_adapters.redis import (
    RedisAddress,
    RedisCircuitBreaker,
    RedisClient,
    RedisCloseSource,
    RedisKillSwitch,
    RedisOrderBudget,
    RedisPriceSource,
)
from orchestrator_adapters.redis.client import load_script
from orchestrator_adapters.shared_keys import (
    CIRCUIT_BREAKER_STATE,
    KILL_SWITCH_HISTORY,
    KILL_SWITCH_STATE,
)
from orchestrator_core.errors import MalformedReply, OutcomeUnknown, PortError, Unavailable
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.kill_switch import SwitchState
from orchestrator_core.model import NoQuote
from orchestrator_core.ports import Allowance
from tests.servers.redis import RedisServer, running_redis
from tests.servers.redis_wire import Loss, LossyProxy, lossy_proxy, scripted_redis

pytestmark = pytest.mark.anyio

AAPL = Symbol("AAPL")
TODAY = date(2026, 3, 2)
ORDER, ANOTHER = ClientOrderId("o1"), ClientOrderId("o2")
TIMEOUT_SECONDS = 0.25
# A read takes two exchanges at most; the rest is for a busy machine.
BOUND_SECONDS = 2 * TIMEOUT_SECONDS + 1.5


@frozen
class Adapters:
    client: RedisClient
    switch: RedisKillSwitch
    prices: RedisPriceSource
    closes: RedisCloseSource
    breaker: RedisCircuitBreaker

    def reads(self) -> dict[str, Callable[[], Awaitable[object]]]:
        return {
            "read": self.switch.read,
            "history": lambda: self.switch.history(limit=5),
            "check": self.switch.check,
            "quotes": lambda: self.prices.quotes([AAPL]),
            "closes": lambda: self.closes.closes([AAPL], before=TODAY),
            "breaker": self.breaker.read,
        }

    def writes(self) -> dict[str, Callable[[], Awaitable[object]]]:
        return {
            "engage": lambda: self.switch.engage(an_engagement(), latch_epoch=2),
            "disengage": lambda: self.switch.disengage(a_disengagement(), latch_epoch=2),
        }

    def calls(self) -> dict[str, Callable[[], Awaitable[object]]]:
        return self.reads() | self.writes()

    @property
    def budget(self) -> RedisOrderBudget:
        return RedisOrderBudget(self.client, max_in_flight=1, max_per_minute=2)

    def budget_calls(self) -> dict[str, Callable[[], Awaitable[object]]]:
        return {
            "take": lambda: self.budget.take([ORDER], hold_seconds=30),
            "give_back": lambda: self.budget.give_back([ORDER]),
        }


@asynccontextmanager
async def adapters_at(
    port: int,
    *,
    username: str | None = None,
    password: str | None = None,
    timeout_seconds: float = TIMEOUT_SECONDS,
    max_connections: int = 32,
) -> AsyncIterator[Adapters]:
    address = RedisAddress(host="127.0.0.1", port=port, username=username, password=password)
    client = RedisClient(address, timeout_seconds=timeout_seconds, max_connections=max_connections)
    try:
        yield Adapters(
            client,
            RedisKillSwitch(client),
            RedisPriceSource(client),
            RedisCloseSource(client),
            RedisCircuitBreaker(client),
        )
    finally:
        await client.aclose()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
async def adapters(server: RedisServer) -> AsyncIterator[Adapters]:
    async with adapters_at(server.port) as adapters:
        yield adapters


async def failure_of(call: Callable[[], Awaitable[object]]) -> PortError:
    begun = time.monotonic()
    with pytest.raises(PortError) as raised:
        await call()
    assert time.monotonic() - begun < BOUND_SECONDS
    assert "\n" not in raised.value.cause
    return raised.value


async def expect_unavailable(calls: dict[str, Callable[[], Awaitable[object]]]) -> None:
    for name, call in calls.items():
        failure = await failure_of(call)
        assert type(failure) is Unavailable, (name, failure)


async def expect_all_well(adapters: Adapters) -> None:
    for call in adapters.calls().values():
        await call()
    state = await adapters.switch.read()
    assert state is not None
    assert state.state is SwitchState.ACTIVE


async def test_building_the_adapters_connects_to_nothing() -> None:
    async with adapters_at(1) as adapters:
        assert repr(adapters.client)


async def test_a_server_down_at_start_is_used_once_it_is_up(
    server: RedisServer, adapters: Adapters
) -> None:
    server.stop()
    await expect_unavailable(adapters.calls())
    server.start()
    await expect_all_well(adapters)


async def test_a_server_killed_in_the_middle_is_used_again_at_once(
    server: RedisServer, adapters: Adapters
) -> None:
    await expect_all_well(adapters)
    server.stop()
    await expect_unavailable(adapters.calls())
    server.start()
    assert await adapters.switch.read() is None
    await expect_all_well(adapters)


async def test_a_restart_between_two_calls_is_not_noticed(
    server: RedisServer, adapters: Adapters
) -> None:
    for call in adapters.calls().values():
        server.stop()
        server.start()
        await call()


async def test_a_server_that_stands_still_is_waited_for_within_a_bound(
    server: RedisServer, adapters: Adapters
) -> None:
    await expect_all_well(adapters)
    server.pause()
    await expect_unavailable(adapters.calls())
    server.resume()
    await expect_all_well(adapters)


async def test_connections_that_the_server_closed_do_not_make_it_look_down(
    server: RedisServer, adapters: Adapters
) -> None:
    for _ in range(3):
        await asyncio.gather(*(call() for _ in range(4) for call in adapters.reads().values()))
        with server.administered() as admin:
            admin.client_kill_filter(_type="normal", skipme=True)
        await asyncio.gather(*(call() for _ in range(4) for call in adapters.reads().values()))
        with server.administered() as admin:
            admin.client_kill_filter(_type="normal", skipme=True)
        await expect_all_well(adapters)


async def test_more_calls_than_connections_wait_for_each_other(server: RedisServer) -> None:
    async with adapters_at(server.port, max_connections=2, timeout_seconds=10) as adapters:
        await asyncio.gather(*(adapters.switch.read() for _ in range(50)))
        with server.administered() as admin:
            assert admin.info("clients")["connected_clients"] <= 3


async def test_a_call_that_is_cancelled_ends_at_once_and_leaves_the_client_usable(
    server: RedisServer,
) -> None:
    async with adapters_at(server.port, max_connections=1, timeout_seconds=30) as adapters:
        await adapters.switch.read()
        server.pause()
        for turns in range(4):
            waiting = asyncio.create_task(adapters.switch.read())
            for _ in range(turns):
                await asyncio.sleep(0)
            begun = time.monotonic()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert time.monotonic() - begun < 5
        server.resume()
        await expect_all_well(adapters)


async def test_a_replica_never_answers_the_kill_switch(server: RedisServer) -> None:
    with running_redis() as replica:
        async with adapters_at(server.port) as on_master:
            await on_master.switch.disengage(a_disengagement(), latch_epoch=1)
        with replica.administered() as admin, server.administered() as master:
            master.config_set("repl-diskless-sync-delay", 0)
            admin.replicaof("127.0.0.1", server.port)
            master.set("marker", "1")
            await wait_until(lambda: admin.get("marker") == b"1")
            assert b"ACTIVE" in (admin.get(KILL_SWITCH_STATE) or b"")
        async with adapters_at(replica.port) as on_replica:
            for call in (on_replica.switch.read, *on_replica.writes().values()):
                failure = await failure_of(call)
                assert type(failure) is Unavailable
                assert "read only replica" in failure.cause


async def test_a_master_demoted_while_in_use_stops_answering_the_kill_switch(
    server: RedisServer, adapters: Adapters
) -> None:
    await adapters.switch.disengage(a_disengagement(), latch_epoch=1)
    with running_redis() as new_master, server.administered() as admin:
        await adapters.switch.read()
        admin.replicaof("127.0.0.1", new_master.port)
        failure = await failure_of(adapters.switch.read)
        assert type(failure) is Unavailable
        admin.replicaof("NO", "ONE")
    await expect_all_well(adapters)


async def wait_until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


async def test_a_server_that_may_not_write_halts(server: RedisServer, adapters: Adapters) -> None:
    await adapters.switch.disengage(a_disengagement(), latch_epoch=1)
    with server.administered() as admin:
        admin.config_set("min-replicas-to-write", 1)
        await expect_unavailable({"read": adapters.switch.read, **adapters.writes()})
        admin.config_set("min-replicas-to-write", 0)
    await expect_all_well(adapters)


async def test_a_user_without_permission_halts_until_it_is_given(server: RedisServer) -> None:
    with server.administered() as admin:
        admin.acl_setuser(
            "trader", enabled=True, passwords=["+hunter2"], commands=["+client"], keys=["*"]
        )
        async with adapters_at(server.port, username="trader", password="hunter2") as adapters:
            await expect_unavailable(adapters.calls())
            admin.acl_setuser("trader", enabled=True, categories=["+@all"], keys=["*"])
            await expect_all_well(adapters)


@pytest.mark.parametrize("missing", ["set", "rpush", "ltrim", "get", "type"])
async def test_a_change_that_is_refused_half_way_leaves_the_state_as_it_was(
    server: RedisServer, adapters: Adapters, missing: str
) -> None:
    before = (await adapters.switch.engage(an_engagement(), latch_epoch=1)).state
    with server.administered() as admin:
        admin.acl_setuser(
            "trader",
            enabled=True,
            passwords=["+p"],
            categories=["+@all"],
            commands=[f"-{missing}"],
            keys=["*"],
        )
        async with adapters_at(server.port, username="trader", password="p") as limited:
            failure = await failure_of(
                lambda: limited.switch.disengage(a_disengagement(), latch_epoch=1)
            )
    assert type(failure) is Unavailable
    assert await adapters.switch.read() == before


async def test_a_state_of_another_type_is_malformed_and_gives_way(
    server: RedisServer, adapters: Adapters
) -> None:
    for name, change in adapters.writes().items():
        with server.administered() as admin:
            admin.delete(KILL_SWITCH_STATE)
            admin.rpush(KILL_SWITCH_STATE, "ACTIVE")
        with pytest.raises(MalformedReply, match="holds a list"):
            await adapters.switch.read()
        await change()
        state = await adapters.switch.read()
        assert state is not None
        assert state.state is (SwitchState.ENGAGED if name == "engage" else SwitchState.ACTIVE)


async def test_a_history_of_another_type_does_not_stop_a_change(
    server: RedisServer, adapters: Adapters
) -> None:
    with server.administered() as admin:
        admin.set(KILL_SWITCH_HISTORY, "not a list")
    await expect_unavailable({"history": lambda: adapters.switch.history(limit=1)})
    assert (await adapters.switch.engage(an_engagement(), latch_epoch=1)).changed
    assert len(await adapters.switch.history(limit=5)) == 1


async def test_a_breaker_price_or_close_of_another_type_is_not_read(
    server: RedisServer, adapters: Adapters
) -> None:
    with server.administered() as admin:
        admin.rpush(CIRCUIT_BREAKER_STATE, "OPEN")
        admin.rpush("price:AAPL", "1")
        admin.rpush("close:AAPL", "1")
    await expect_unavailable({"breaker": adapters.breaker.read})
    assert await adapters.prices.quotes([AAPL]) == {AAPL: NoQuote(AAPL, "no price")}
    assert await adapters.closes.closes([AAPL], before=TODAY) == {}


async def test_text_that_is_not_utf_8_is_malformed(server: RedisServer, adapters: Adapters) -> None:
    with server.administered() as admin:
        for key in (KILL_SWITCH_STATE, CIRCUIT_BREAKER_STATE, "price:AAPL", "close:AAPL"):
            admin.set(key, b'{"state":"OPEN\xff"}')
    with pytest.raises(MalformedReply):
        await adapters.switch.read()
    with pytest.raises(MalformedReply):
        await adapters.breaker.read()
    assert await adapters.prices.quotes([AAPL]) == {AAPL: NoQuote(AAPL, "price not UTF-8")}
    assert await adapters.closes.closes([AAPL], before=TODAY) == {}


async def test_a_full_server_is_read_and_refuses_changes_whole(
    server: RedisServer, adapters: Adapters
) -> None:
    before = (await adapters.switch.engage(an_engagement(), latch_epoch=1)).state
    with server.administered() as admin:
        admin.config_set("maxmemory", 1)
        failure = await failure_of(
            lambda: adapters.switch.disengage(a_disengagement(), latch_epoch=1)
        )
        assert type(failure) is Unavailable
        assert await adapters.switch.read() == before
        assert len(await adapters.switch.history(limit=5)) == 1
        admin.config_set("maxmemory", 0)
    await expect_all_well(adapters)


# A loading server looks at its connections once every 2 MiB.
LOADED_KEYS, LOADED_KEY_BYTES = 600, 100_000


async def test_a_server_that_is_loading_is_used_once_it_has_loaded(server: RedisServer) -> None:
    with server.administered() as admin:
        admin.config_set("rdbcompression", "no")
        with admin.pipeline(transaction=False) as pipeline:
            for number in range(LOADED_KEYS):
                pipeline.set(f"key:{number}", "x" * LOADED_KEY_BYTES)
            pipeline.execute()
        admin.save()
    server.stop()
    server.options = ("--key-load-delay", "4000")
    server.start(wait_for=b"-LOADING")
    async with adapters_at(server.port, timeout_seconds=5) as adapters:
        for call in adapters.calls().values():
            with pytest.raises(Unavailable, match="loading"):
                await call()
        with server.administered() as admin:
            await wait_until(lambda: admin.info("persistence")["loading"] == 0)
        await expect_all_well(adapters)


@pytest.mark.parametrize("password", [None, "wr0ng-s3cret"])
async def test_a_wrong_password_is_refused_and_never_shown(
    server: RedisServer, password: str | None
) -> None:
    with server.administered() as admin:
        admin.config_set("requirepass", "s3cret")
    async with adapters_at(server.port, password=password) as adapters:
        await expect_unavailable(adapters.calls())
        failure = await failure_of(adapters.switch.read)
        shown = f"{failure!r} {adapters!r} {failure.__cause__!r}"
    assert "s3cret" not in shown
    async with adapters_at(server.port, password="s3cret") as adapters:
        await expect_all_well(adapters)


async def test_forgotten_scripts_are_sent_again(server: RedisServer, adapters: Adapters) -> None:
    for call in adapters.calls().values():
        with server.administered() as admin:
            admin.script_flush()
        await call()


async def test_a_flushed_server_holds_no_state(server: RedisServer, adapters: Adapters) -> None:
    await adapters.switch.engage(an_engagement(), latch_epoch=1)
    with server.administered() as admin:
        admin.flushall()
    assert await adapters.switch.read() is None
    assert await adapters.breaker.read() is None
    assert list(await adapters.switch.history(limit=5)) == []
    await expect_all_well(adapters)


async def test_a_state_that_was_to_expire_stays_once_it_is_changed(
    server: RedisServer, adapters: Adapters
) -> None:
    with server.administered() as admin:
        admin.set(KILL_SWITCH_STATE, '{"state":"ACTIVE"}', ex=100)
        await adapters.switch.engage(an_engagement(), latch_epoch=1)
        assert admin.ttl(KILL_SWITCH_STATE) == -1


# Answers that are lost


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[LossyProxy]:
    async with lossy_proxy(server.port) as proxy:
        yield proxy


@pytest.mark.parametrize("loss", Loss)
async def test_a_change_whose_answer_is_lost_may_have_been_done(
    proxy: LossyProxy, adapters: Adapters, loss: Loss
) -> None:
    async with adapters_at(proxy.port, timeout_seconds=1) as behind:
        await behind.switch.disengage(a_disengagement(), latch_epoch=1)
        # The first script of a change reads; the second writes.
        proxy.lost, proxy.after, proxy.loss = b"EVALSHA", 1, loss
        failure = await failure_of(lambda: behind.switch.engage(an_engagement(), latch_epoch=2))
        assert type(failure) is OutcomeUnknown
        proxy.lost = None
        again = await behind.switch.engage(an_engagement(), latch_epoch=2)
    assert again.changed is (loss is not Loss.ITS_ANSWER)
    assert await adapters.switch.read() == again.state
    assert [entry.event for entry in await adapters.switch.history(limit=5)] == [
        "ENGAGED",
        "DISENGAGED",
    ]


async def test_a_change_that_cannot_be_sent_was_not_done(
    server: RedisServer, adapters: Adapters
) -> None:
    script = load_script("swap_state.lua")
    server.stop()
    failure = await failure_of(
        lambda: adapters.client.write_script("port", "operation", script, "a", "b", keys=2)
    )
    assert type(failure) is Unavailable
    assert (failure.port, failure.operation) == ("port", "operation")


async def test_a_state_that_others_keep_changing_is_given_up_unchanged() -> None:
    async with (
        scripted_redis(
            lambda command: (
                b"*3\r\n:0\r\n$4\r\nnone\r\n$0\r\n\r\n" if is_swap(command) else EMPTY_STATE
            )
        ) as port,
        adapters_at(port) as adapters,
    ):
        failure = await failure_of(adapters.writes()["engage"])
    assert type(failure) is Unavailable
    assert "keeps changing" in failure.cause


@pytest.mark.parametrize("loss", Loss)
async def test_a_read_whose_answer_is_lost_is_read_again(proxy: LossyProxy, loss: Loss) -> None:
    async with adapters_at(proxy.port) as behind:
        await behind.switch.disengage(a_disengagement(), latch_epoch=1)
        proxy.lost, proxy.times, proxy.loss = b"PING", 1, loss
        await behind.switch.check()


@pytest.mark.parametrize("loss", Loss)
async def test_a_read_that_is_lost_twice_is_unavailable(proxy: LossyProxy, loss: Loss) -> None:
    async with adapters_at(proxy.port) as behind:
        proxy.lost, proxy.loss = b"PING", loss
        assert type(await failure_of(behind.switch.check)) is Unavailable


# Peers that answer otherwise

REFUSALS = [
    b"-READONLY You can't write against a read only replica.",
    b"-NOPERM this user has no permissions",
    b"-OOM command not allowed when used memory > 'maxmemory'.",
    b"-LOADING Redis is loading the dataset in memory",
    b"-MASTERDOWN Link with MASTER is down",
    b"-NOREPLICAS Not enough good replicas to write.",
    b"-MISCONF Redis is configured to save RDB snapshots",
    b"-BUSY Redis is busy running a script.",
    b"-WRONGTYPE Operation against a key holding the wrong kind of value",
    b"-CLUSTERDOWN Hash slot not served",
    b"-MOVED 3999 127.0.0.1:6381",
    b"-ASK 3999 127.0.0.1:6381",
    b"-TRYAGAIN Multiple keys request during rehashing of slot",
    b"-CROSSSLOT Keys in request don't hash to the same slot",
    b"-NOAUTH Authentication required.",
    b"-ERR unknown command",
    b"-ANYTHING else",
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal[:12].decode())
async def test_an_error_answered_to_a_change_means_not_done(refusal: bytes) -> None:
    async with (
        scripted_redis(
            lambda command: refusal + b"\r\n" if is_swap(command) else EMPTY_STATE
        ) as port,
        adapters_at(port) as adapters,
    ):
        for call in adapters.writes().values():
            assert type(await failure_of(call)) is Unavailable


@pytest.mark.parametrize(
    "refusal",
    [*REFUSALS, b"-ERR max number of clients reached"],
    ids=lambda refusal: refusal[:12].decode(),
)
async def test_an_error_answered_to_a_read_is_unavailable(refusal: bytes) -> None:
    async with scripted_redis(lambda _: refusal + b"\r\n") as port, adapters_at(port) as adapters:
        await expect_unavailable(adapters.reads())


@pytest.mark.parametrize(
    "reply", [b"HTTP/1.1 400 Bad Request\r\n", b":one\r\n", b"$x\r\n", b"*-7x\r\n", b"\r\n"]
)
async def test_an_answer_outside_the_protocol_is_no_answer(reply: bytes) -> None:
    async with (
        scripted_redis(
            lambda command: (
                EMPTY_STATE if command[0] == b"EVALSHA" and not is_swap(command) else reply
            )
        ) as port,
        adapters_at(port) as adapters,
    ):
        assert type(await failure_of(adapters.switch.check)) is Unavailable
        for call in adapters.writes().values():
            assert type(await failure_of(call)) is OutcomeUnknown


EMPTY_STATE = b"*2\r\n$4\r\nnone\r\n$0\r\n\r\n"


def is_swap(command: list[bytes]) -> bool:
    return KILL_SWITCH_HISTORY.encode() in command


# The order budget: what cannot be asked lets nothing go


async def expect_budget_well(adapters: Adapters) -> None:
    assert await adapters.budget.take([ORDER], hold_seconds=30) == Allowance(1)
    await adapters.budget.give_back([ORDER])


async def test_the_budget_of_a_server_that_is_down_lets_nothing_go(
    server: RedisServer, adapters: Adapters
) -> None:
    await expect_budget_well(adapters)
    server.stop()
    # On a connection of before, the call may have been done; on a new one it was not.
    assert type(await failure_of(adapters.budget_calls()["take"])) is OutcomeUnknown
    await expect_unavailable(adapters.budget_calls())
    server.start()
    await expect_budget_well(adapters)


async def test_a_restart_between_two_calls_is_not_noticed_by_the_budget(
    server: RedisServer, adapters: Adapters
) -> None:
    for _ in range(2):
        for call in adapters.budget_calls().values():
            server.stop()
            server.start()
            await call()


async def test_a_server_that_stands_still_may_have_counted(
    server: RedisServer, adapters: Adapters
) -> None:
    await expect_budget_well(adapters)
    server.pause()
    failure = await failure_of(lambda: adapters.budget.take([ORDER], hold_seconds=30))
    assert type(failure) is OutcomeUnknown
    server.resume()
    # Whether it counted or not: the same order may still go.
    assert (await adapters.budget.take([ORDER], hold_seconds=30)).granted == 1


@pytest.mark.parametrize("loss", Loss)
async def test_a_place_whose_answer_was_lost_is_taken_again_and_counted_once(
    proxy: LossyProxy, adapters: Adapters, loss: Loss
) -> None:
    async with adapters_at(proxy.port, timeout_seconds=0.5) as behind:
        await adapters.budget.take([ANOTHER], hold_seconds=30)
        await adapters.budget.give_back([ANOTHER])
        proxy.lost, proxy.loss = b"EVALSHA", loss
        for _ in range(2):
            failure = await failure_of(lambda: behind.budget.take([ORDER], hold_seconds=30))
            assert type(failure) is OutcomeUnknown
        proxy.lost = None
        assert await behind.budget.take([ORDER], hold_seconds=30) == Allowance(1)
        await behind.budget.give_back([ORDER])
        # Two went this minute, and two are all.
        assert (await behind.budget.take([ANOTHER], hold_seconds=30)).granted == 0


async def test_an_old_copy_of_the_budget_grants_nothing(
    server: RedisServer, adapters: Adapters
) -> None:
    await adapters.budget.take([ORDER], hold_seconds=30)
    with running_redis() as new_master, server.administered() as admin:
        admin.replicaof("127.0.0.1", new_master.port)
        failure = await failure_of(lambda: adapters.budget.take([ORDER], hold_seconds=30))
        assert type(failure) is Unavailable
        assert "read only replica" in failure.cause
        admin.replicaof("NO", "ONE")
    await expect_budget_well(adapters)


async def test_a_full_server_goes_on_counting(server: RedisServer, adapters: Adapters) -> None:
    # What the script adds is bounded, and it begins by deleting.
    with server.administered() as admin:
        admin.config_set("maxmemory", 1)
        assert (await adapters.budget.take([ORDER, ANOTHER], hold_seconds=30)).granted == 1
        await adapters.budget.give_back([ORDER])
        assert (await adapters.budget.take([ANOTHER], hold_seconds=30)).granted == 1


@pytest.mark.parametrize("place", [0, 1])
async def test_a_budget_of_another_type_grants_nothing(
    server: RedisServer, adapters: Adapters, place: int
) -> None:
    with server.administered() as admin:
        admin.set(adapters.budget.keys[place], "1")
    failure = await failure_of(lambda: adapters.budget.take([ORDER], hold_seconds=30))
    assert type(failure) is Unavailable
    assert "WRONGTYPE" in failure.cause


async def test_forgotten_scripts_of_the_budget_are_sent_again(
    server: RedisServer, adapters: Adapters
) -> None:
    for call in adapters.budget_calls().values():
        with server.administered() as admin:
            admin.script_flush()
        await call()


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal[:12].decode())
async def test_an_error_answered_to_the_budget_means_not_done(refusal: bytes) -> None:
    async with scripted_redis(lambda _: refusal + b"\r\n") as port, adapters_at(port) as adapters:
        await expect_unavailable(adapters.budget_calls())


@pytest.mark.parametrize(
    "reply",
    [
        b"+OK\r\n",
        b":1\r\n",
        b"$-1\r\n",
        b"*0\r\n",
        b"*1\r\n:1\r\n",
        b"*2\r\n:2\r\n:0\r\n",
        b"*2\r\n:-1\r\n:1\r\n",
        b"*2\r\n:0\r\n:0\r\n",
        b"*2\r\n:1\r\n:5\r\n",
        b"*2\r\n$1\r\n1\r\n:0\r\n",
        b"*3\r\n:1\r\n:0\r\n:0\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
    ],
)
async def test_an_answer_that_is_no_allowance_grants_nothing(reply: bytes) -> None:
    async with scripted_redis(lambda _: reply) as port, adapters_at(port) as adapters:
        failure = await failure_of(lambda: adapters.budget.take([ORDER], hold_seconds=30))
        assert type(failure) is OutcomeUnknown
