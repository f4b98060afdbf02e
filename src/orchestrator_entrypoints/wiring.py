"""The composition root: the only place that constructs adapters.

Nothing here connects to anything: each adapter opens what it needs when it is first used, and again
after it was lost. An adapter is imported where it is wired, so that embedded parts load neither
psycopg nor redis.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from orchestrator_adapters.event_loop import SystemClock, at_once
from orchestrator_core.earlier import latest_acknowledged
from orchestrator_core.errors import Unavailable
from orchestrator_core.model import Quote
from orchestrator_core.ports import (
    CircuitBreaker,
    Clock,
    Inquiry,
    KillSwitch,
    OrderBudget,
    OrderSink,
    PositionSource,
    PriceSource,
    RunPorts,
    RunRepository,
    SignalSource,
)
from orchestrator_entrypoints.metrics import Metrics
from orchestrator_entrypoints.observed import (
    ObservedBudget,
    ObservedKillSwitch,
    ObservedPositions,
    ObservedPrices,
    ObservedRuns,
    ObservedSignals,
    ObservedSink,
)
from orchestrator_entrypoints.orchestrator import Ask, Orchestrator, StopFlag
from orchestrator_entrypoints.policies import request_policy, run_policy
from orchestrator_entrypoints.settings import Settings, SettingsError
from orchestrator_entrypoints.signal_wiring import wire_signals

if TYPE_CHECKING:
    from orchestrator_adapters.http.auth import ServiceAuth

PROBE_SECONDS = 1.5
# Connections to the gateway beside those that carry orders: probes, flags and look-ups.
SPARE_CONNECTIONS = 16
ORDERS_IN_FLIGHT = 96

_LOG = logging.getLogger("orchestrator.wiring")


@frozen
class _Stores:
    """What is remembered, and what is shared with other services and replicas."""

    runs: RunRepository
    kill_switch: KillSwitch
    prices: PriceSource
    breaker: CircuitBreaker
    budget: OrderBudget


@frozen
class _Peers:
    """The two services that a run talks to."""

    signals: SignalSource
    sink: OrderSink
    positions: PositionSource
    ask_signal_service: Ask
    ask_gateway: Ask


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

    peers = _peers(settings, clock, closing, latest_order)
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
        breaker=SqliteCircuitBreaker(database),
        budget=SqliteOrderBudget(
            database, clock, settings.max_orders_in_flight, settings.max_orders_per_minute
        ),
    )


def _peers(
    settings: Settings,
    clock: Clock,
    closing: AsyncExitStack,
    latest_order: Callable[[], Awaitable[Inquiry | None]],
) -> _Peers:
    from orchestrator_adapters.http.client import PeerClient  # noqa: PLC0415 - httpx is slow
    from orchestrator_adapters.http.orders import HttpOrderSink  # noqa: PLC0415
    from orchestrator_adapters.http.positions import HttpPositionSource  # noqa: PLC0415
    from orchestrator_adapters.http.signals import HttpSignalSource  # noqa: PLC0415

    auth = _auth(settings, clock)

    def signal_service(url: str, strategy_id: str) -> HttpSignalSource:
        client = PeerClient(url, clock=clock, auth=auth, headers={"X-Strategy-ID": strategy_id})
        closing.push_async_callback(client.aclose)
        seconds = settings.signal_service_timeout_seconds
        return HttpSignalSource(client, seconds=seconds, probe_seconds=PROBE_SECONDS)

    gateway_client = PeerClient(
        settings.execution_gateway_url,
        clock=clock,
        auth=auth,
        headers={"X-Strategy-ID": settings.strategy_id},
        max_connections=ORDERS_IN_FLIGHT + SPARE_CONNECTIONS,
    )
    closing.push_async_callback(gateway_client.aclose)
    signals = wire_signals(settings, signal_service)
    sink = HttpOrderSink(
        gateway_client,
        clock=clock,
        order_seconds=settings.gateway_timeout_seconds,
        probe_seconds=PROBE_SECONDS,
        max_in_flight=ORDERS_IN_FLIGHT,
        latest=latest_order,
    )
    return _Peers(
        signals=signals.source,
        sink=sink,
        positions=HttpPositionSource(gateway_client),
        ask_signal_service=signals.ask,
        ask_gateway=_asking("orders", sink.ready),
    )


def _auth(settings: Settings, clock: Clock) -> "ServiceAuth | None":
    from orchestrator_adapters.http.auth import ServiceAuth  # noqa: PLC0415 - httpx is slow

    secret = settings.token_secret
    if secret is None:
        _LOG.warning("calls to the peers are not signed: INTERNAL_TOKEN_SECRET is unset")
        return None
    return ServiceAuth(secret, clock)


def _asking(port: str, ready: Callable[[], Awaitable[bool]]) -> Ask:
    async def ask() -> None:
        if not await ready():
            raise Unavailable(port, "ready", "does not answer, or says that it is not ready")

    return ask


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
    from orchestrator_adapters.sqlite.database import SqliteDatabase  # noqa: PLC0415 - only here
    from orchestrator_adapters.sqlite.shared import SqlitePriceSource  # noqa: PLC0415

    database = SqliteDatabase(Path(settings.data))
    try:
        await SqlitePriceSource(database).put(quotes)
    finally:
        await database.aclose()
