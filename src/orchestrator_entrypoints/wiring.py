"""The composition root: the only place that constructs adapters.

Nothing here connects to anything: each adapter opens what it needs when it is first used, and again
after it was lost. An adapter is imported where it is wired, so that embedded parts load neither
psycopg nor redis.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from orchestrator_adapters.event_loop import SystemClock, at_once
from orchestrator_core.earlier import latest_acknowledged
from orchestrator_core.model import Quote
from orchestrator_core.ports import (
    CircuitBreaker,
    Clock,
    CloseSource,
    Inquiry,
    KillSwitch,
    OrderBudget,
    PriceSource,
    RunPorts,
    RunRepository,
)
from orchestrator_entrypoints.metrics import Metrics
from orchestrator_entrypoints.observed import (
    ObservedBudget,
    ObservedCloses,
    ObservedKillSwitch,
    ObservedPositions,
    ObservedPrices,
    ObservedRuns,
    ObservedSignals,
    ObservedSink,
)
from orchestrator_entrypoints.orchestrator import Orchestrator, StopFlag
from orchestrator_entrypoints.peer_wiring import wire_peers
from orchestrator_entrypoints.policies import request_policy, run_policy
from orchestrator_entrypoints.settings import Settings, SettingsError

if TYPE_CHECKING:
    from orchestrator_adapters.shared_closes import Close
    from orchestrator_adapters.sqlite.database import SqliteDatabase


@frozen
class _Stores:
    """What is remembered, and what is shared with other services and replicas."""

    runs: RunRepository
    kill_switch: KillSwitch
    prices: PriceSource
    closes: CloseSource
    breaker: CircuitBreaker
    budget: OrderBudget


def wire(settings: Settings) -> Orchestrator:
    """Return the service that these settings describe; it has reached nothing yet.

    Raises:
        SettingsError: The run database's address has an option that is none.
    """
    clock, metrics, stop = SystemClock(), Metrics(), StopFlag()
    closing = AsyncExitStack()
    stores = (_embedded if settings.embedded else _servers)(settings, clock, closing)
    policy = run_policy(settings)

    async def latest_order() -> Inquiry | None:
        return await latest_acknowledged(stores.runs, policy.strategy_id)

    peers = wire_peers(settings, clock, closing, latest_order)
    ports = RunPorts(
        signals=ObservedSignals(peers.signals, metrics),
        prices=ObservedPrices(stores.prices, metrics),
        sink=ObservedSink(peers.sink, metrics),
        runs=ObservedRuns(stores.runs, metrics),
        kill_switch=ObservedKillSwitch(stores.kill_switch, metrics),
        clock=clock,
        breaker=stores.breaker if settings.circuit_breaker_enabled else None,
        budget=ObservedBudget(stores.budget, metrics) if settings.is_budgeted else None,
        positions=ObservedPositions(peers.positions, metrics),
        closes=ObservedCloses(stores.closes, metrics),
        together=at_once,
        stopping=lambda: stop.is_set,
    )

    async def prepare() -> None:
        await ports.runs.check()
        await ports.kill_switch.check()

    return Orchestrator(
        settings=settings,
        ports=ports,
        policy=policy,
        request_policy=request_policy(settings),
        metrics=metrics,
        stop=stop,
        ask_signal_service=peers.ask_signal_service,
        ask_gateway=peers.ask_gateway,
        prepare=prepare,
        aclose=closing.aclose,
    )


def _servers(settings: Settings, _clock: Clock, closing: AsyncExitStack) -> _Stores:
    from orchestrator_adapters.postgres.database import PostgresDatabase  # noqa: PLC0415 - slow
    from orchestrator_adapters.postgres.runs import PostgresRunRepository  # noqa: PLC0415
    from orchestrator_adapters.redis import (  # noqa: PLC0415
        RedisAddress,
        RedisCircuitBreaker,
        RedisClient,
        RedisCloseSource,
        RedisKillSwitch,
        RedisOrderBudget,
        RedisPriceSource,
    )

    try:
        database = PostgresDatabase(
            settings.database_url,
            min_size=settings.db_pool_min_size,
            max_size=settings.db_pool_max_size,
            pool_timeout=settings.db_pool_timeout,
        )
    except ValueError as problem:
        # Only the driver knows every option of an address, and it is loaded only here.
        raise SettingsError((f"DATABASE_URL: {problem}",)) from None
    address = RedisAddress(
        host=settings.redis_host,
        port=settings.redis_port,
        db=settings.redis_db,
        password=settings.redis_password,
    )
    client = RedisClient(address)
    closing.push_async_callback(database.aclose)
    closing.push_async_callback(client.aclose)
    return _Stores(
        runs=PostgresRunRepository(database),
        kill_switch=RedisKillSwitch(client),
        prices=RedisPriceSource(client),
        closes=RedisCloseSource(client),
        breaker=RedisCircuitBreaker(client),
        budget=RedisOrderBudget(
            client, settings.max_orders_in_flight, settings.max_orders_per_minute
        ),
    )


def _embedded(settings: Settings, clock: Clock, closing: AsyncExitStack) -> _Stores:
    from orchestrator_adapters.sqlite.budget import SqliteOrderBudget  # noqa: PLC0415 - only here
    from orchestrator_adapters.sqlite.database import SqliteDatabase  # noqa: PLC0415
    from orchestrator_adapters.sqlite.runs import SqliteRunRepository  # noqa: PLC0415
    from orchestrator_adapters.sqlite.shared import (  # noqa: PLC0415
        SqliteCircuitBreaker,
        SqliteCloseSource,
        SqliteKillSwitch,
        SqlitePriceSource,
    )
    from orchestrator_entrypoints.first_use import FirstUseKillSwitch  # noqa: PLC0415

    database = SqliteDatabase(Path(settings.data))
    closing.push_async_callback(database.aclose)
    runs = SqliteRunRepository(database, clock)
    return _Stores(
        runs=runs,
        kill_switch=FirstUseKillSwitch(SqliteKillSwitch(database), runs, clock),
        prices=SqlitePriceSource(database),
        closes=SqliteCloseSource(database),
        breaker=SqliteCircuitBreaker(database),
        budget=SqliteOrderBudget(
            database, clock, settings.max_orders_in_flight, settings.max_orders_per_minute
        ),
    )


@frozen
class RunStore:
    """The run database alone: nothing here can reach a peer, so nothing can be sent.

    Attributes:
        aclose: Gives back every connection, file and thread.
    """

    runs: RunRepository
    aclose: Callable[[], Awaitable[None]]


def wire_runs(settings: Settings) -> RunStore:
    """Return the run database that these settings describe; it has reached nothing yet.

    Raises:
        SettingsError: The run database's address has an option that is none.
    """
    closing = AsyncExitStack()
    stores = (_embedded if settings.embedded else _servers)(settings, SystemClock(), closing)
    return RunStore(stores.runs, closing.aclose)


async def put_embedded_prices(settings: Settings, quotes: Iterable[Quote]) -> None:
    """Write prices into embedded parts.

    Raises:
        PortError: They were not, or may not have been written.
    """
    from orchestrator_adapters.sqlite.shared import SqlitePriceSource  # noqa: PLC0415 - only here

    async with _embedded_file(settings) as database:
        await SqlitePriceSource(database).put(quotes)


async def put_embedded_closes(settings: Settings, closes: "Iterable[Close]") -> None:
    """Write closing prices into embedded parts.

    Raises:
        PortError: They were not, or may not have been written.
    """
    from orchestrator_adapters.sqlite.shared import SqliteCloseSource  # noqa: PLC0415 - only here

    async with _embedded_file(settings) as database:
        await SqliteCloseSource(database).put(closes)


@asynccontextmanager
async def _embedded_file(settings: Settings) -> AsyncIterator["SqliteDatabase"]:
    from orchestrator_adapters.sqlite.database import SqliteDatabase  # noqa: PLC0415 - only here

    database = SqliteDatabase(Path(settings.data))
    try:
        yield database
    finally:
        await database.aclose()
