from collections.abc import Iterator

import pytest

from orchestrator_adapters.http.transport import MakeTransport, httpx_transport, lean_transport
from tests.integration.service_parts import Parts, parts_over
from tests.servers.peers import (
    ServedGateway,
    ServedSignalService,
    running_gateway,
    running_signal_service,
)
from tests.servers.postgres import PostgresServer, running_postgres
from tests.servers.redis import RedisServer, running_redis


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def database_url(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.fresh_database() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with running_redis() as server:
        yield server


@pytest.fixture
def empty_redis(redis_server: RedisServer) -> RedisServer:
    redis_server.empty()
    return redis_server


@pytest.fixture
def signal_service() -> Iterator[ServedSignalService]:
    with running_signal_service() as served:
        yield served


@pytest.fixture
def gateway() -> Iterator[ServedGateway]:
    with running_gateway() as served:
        yield served


@pytest.fixture
def parts(
    postgres_server: PostgresServer,
    database_url: str,
    empty_redis: RedisServer,
    signal_service: ServedSignalService,
    gateway: ServedGateway,
) -> Parts:
    return parts_over(postgres_server, database_url, empty_redis, signal_service, gateway)


@pytest.fixture(params=[lean_transport, httpx_transport])
def make_transport(request: pytest.FixtureRequest) -> MakeTransport:
    made: MakeTransport = request.param
    return made
