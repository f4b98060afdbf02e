"""What a trial runs on: servers, peers, proxies, replicas; all of it is ended afterwards."""

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from attrs import define, field, frozen
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tests.chaos.audit import install_audit
from tests.chaos.cli import run_cli
from tests.chaos.processes import Peers, Replica, free_port, running_peers
from tests.servers.postgres import PostgresServer, running_postgres
from tests.servers.proxy import TcpProxy, tcp_proxy
from tests.servers.redis import RedisServer, running_redis

TARGETS = ("postgres", "redis", "gateway")
STRATEGY = "chaos"
ENVIRONMENT = "trial"
DURABLE = ("--appendonly", "yes", "--appendfsync", "everysec")
KILL_SWITCH = "kill_switch:state"
PRICES_SECONDS = 4.0

SEND_WINDOW_SECONDS = 1.0
LEASE_SECONDS = 10.0
UNRESOLVED_AFTER_SECONDS = 33.0
QUICK = {
    "SEND_WINDOW_SECONDS": str(SEND_WINDOW_SECONDS),
    "GATEWAY_TIMEOUT_SECONDS": "2",
    "PERSIST_SECONDS": "2",
    "LEASE_SECONDS": str(LEASE_SECONDS),
    "RECOVERY_SECONDS": "0.5",
    "UNRESOLVED_AFTER_SECONDS": str(UNRESOLVED_AFTER_SECONDS),
    "RUN_ANSWER_SECONDS": "4",
    "KILL_SWITCH_DRAIN_SECONDS": "12",
    "SIGNAL_SERVICE_TIMEOUT_SECONDS": "3",
    "DB_POOL_TIMEOUT": "2",
    "STOP_SECONDS": "6",
    "MAX_IN_FLIGHT_ORDERS": "4",
}


@frozen
class Setting:
    """How a trial is set up.

    Attributes:
        seed: Of everything that is drawn.
        share: Scales what the gateway does wrong; 0 is honest.
        latency: Seconds that the gateway takes for a POST, at least.
        proxied: Whether the replicas' connections go through proxies.
        more: Put over the replicas' environment.
    """

    seed: int
    share: float = 1.0
    latency: float = 0.0
    replicas: int = 3
    proxied: bool = True
    more: dict[str, str] = field(factory=dict)


@define
class Stage:
    """What a trial runs on."""

    setting: Setting
    folder: Path
    postgres: PostgresServer
    redis: RedisServer
    peers: Peers
    database_url: str
    http: httpx.AsyncClient
    proxies: dict[tuple[int, str], TcpProxy]
    replicas: list[Replica] = field(factory=list)
    priced: set[str] = field(factory=set)

    def proxy(self, replica: int, target: str) -> TcpProxy:
        return self.proxies[replica, target]

    @asynccontextmanager
    async def shared_keys(self) -> AsyncIterator[Redis]:
        """Give a client of Redis itself: what other services and operators use."""
        client = Redis(host="127.0.0.1", port=self.redis.port, socket_timeout=3)
        try:
            yield client
        finally:
            await client.aclose()

    async def price(self, symbols: Iterable[str]) -> None:
        """Put fresh prices; errors are left to the next time."""
        now = datetime.now(UTC)
        with suppress(RedisError, OSError):
            async with self.shared_keys() as client, client.pipeline(transaction=False) as batch:
                for place, symbol in enumerate(symbols):
                    cents = 9_500 + (int(now.timestamp() * 10) + 37 * place) % 1_000
                    batch.set(
                        f"price:{symbol}",
                        json.dumps(
                            {
                                "symbol": symbol,
                                "mid": f"{cents / 100:.2f}",
                                "timestamp": now.isoformat(),
                            }
                        ),
                    )
                await batch.execute()

    async def keep_priced(self) -> None:
        """Keep the prices of `priced` fresh, and moving, until cancelled."""
        while True:
            await self.price(sorted(self.priced))
            await asyncio.sleep(PRICES_SECONDS)

    def direct_environ(self) -> dict[str, str]:
        """Return the environment of an operator's tools: past every proxy."""
        return _environ(
            self,
            database=self.database_url,
            redis_port=self.redis.port,
            gateway=self.peers.gateways[0],
        )

    async def orchestrator(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the `orchestrator` command."""
        return await run_cli(self.direct_environ(), self.folder, *arguments)


def _environ(stage: Stage, *, database: str, redis_port: int, gateway: int) -> dict[str, str]:
    return {
        **QUICK,
        "DATABASE_URL": database,
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis_port),
        "SIGNAL_SERVICE_URL": f"http://127.0.0.1:{stage.peers.signals}",
        "EXECUTION_GATEWAY_URL": f"http://127.0.0.1:{gateway}",
        "DRY_RUN": "false",
        "ALPACA_PAPER": "true",
        "CIRCUIT_BREAKER_ENABLED": "false",
        "STRATEGY_ID": STRATEGY,
        "ENVIRONMENT": ENVIRONMENT,
        **stage.setting.more,
    }


@asynccontextmanager
async def set_up(setting: Setting) -> AsyncIterator[Stage]:
    """Give a stage whose replicas serve and whose kill switch lets orders through."""
    async with AsyncExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        postgres = stack.enter_context(running_postgres())
        shared = stack.enter_context(running_redis(*DURABLE))
        peers = stack.enter_context(
            running_peers(
                folder,
                seed=setting.seed,
                share=setting.share,
                latency=setting.latency,
                replicas=setting.replicas,
            )
        )
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=60)
        http = await stack.enter_async_context(
            httpx.AsyncClient(timeout=30, trust_env=False, limits=limits)
        )
        url = stack.enter_context(postgres.fresh_database())
        stage = Stage(setting, folder, postgres, shared, peers, url, http, {})
        await _start(stage, stack)
        yield stage


async def _start(stage: Stage, stack: AsyncExitStack) -> None:
    setting = stage.setting
    for number in range(setting.replicas):
        ports = {
            "postgres": stage.postgres.port,
            "redis": stage.redis.port,
            "gateway": stage.peers.gateways[number],
        }
        if setting.proxied:
            for target in TARGETS:
                proxy = await stack.enter_async_context(tcp_proxy(ports[target]))
                stage.proxies[number, target] = proxy
                ports[target] = proxy.port
        database = stage.database_url.replace(f":{stage.postgres.port}/", f":{ports['postgres']}/")
        environ = _environ(
            stage, database=database, redis_port=ports["redis"], gateway=ports["gateway"]
        )
        replica = Replica(number, free_port(), environ, stage.folder)
        stage.replicas.append(replica)
        stack.callback(replica.kill)
    made = await stage.orchestrator("db", "upgrade")
    _check(made, "migrate")
    for replica in stage.replicas:
        replica.start()
    for replica in stage.replicas:
        await replica.wait_until_serving(stage.http)
    _check(await stage.orchestrator("kill-switch", "init", "--operator", "chaos"), "init")
    await install_audit(stage.database_url)


def _check(done: "subprocess.CompletedProcess[str]", what: str) -> None:
    if done.returncode != 0:
        raise RuntimeError(f"{what}: {done.stdout}{done.stderr}")


def shown(document: Any) -> str:
    """Return a document as one short line."""
    return json.dumps(document, default=str)[:300]
