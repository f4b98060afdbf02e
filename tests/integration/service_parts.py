"""What tests of the service over real servers share: every part, wired, and what each holds."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import define

from orchestrator_adapters.shared_keys import utc_text
from tests.servers.peers import ServedGateway, ServedSignalService, a_batch_document
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

SYMBOLS = ("AAPL", "MSFT", "TSLA")
PAPER = {"DRY_RUN": "false", "ALPACA_PAPER": "true"}
ENGAGE = "/api/v1/kill-switch/engage"
DISENGAGE = "/api/v1/kill-switch/disengage"
HISTORY = "/api/v1/kill-switch/history"

# The shortest lease that the settings allow: a killed replica's runs are found after it.
SWIFT = {
    "SEND_WINDOW_SECONDS": "0.5",
    "GATEWAY_TIMEOUT_SECONDS": "0.5",
    "PERSIST_SECONDS": "0.5",
    "SIGNAL_SERVICE_TIMEOUT_SECONDS": "1.5",
    "LEASE_SECONDS": "6.5",
    "RECOVERY_SECONDS": "0.1",
}
# No round of recovery but the first, at the start.
LEFT_ALONE = {"RECOVERY_SECONDS": "3600"}


def a_signal_document(symbol: str, rank: int, weight: float = 0.1) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "predicted_return": 0.01,
        "rank": rank,
        "target_weight": weight,
    }


def offer(signals: ServedSignalService, symbols: Sequence[str], *, weight: float = 0.1) -> None:
    signals.peer.batch = a_batch_document(
        *(a_signal_document(symbol, rank, weight) for rank, symbol in enumerate(symbols, start=1))
    )


@define
class Parts:
    """Real servers of every kind, and the service's environment over them."""

    postgres: PostgresServer
    redis: RedisServer
    signals: ServedSignalService
    gateway: ServedGateway
    environ: dict[str, str]


def parts_over(
    postgres: PostgresServer,
    database_url: str,
    redis: RedisServer,
    signals: ServedSignalService,
    gateway: ServedGateway,
) -> Parts:
    offer(signals, SYMBOLS)
    environ = {
        "DATABASE_URL": database_url,
        "REDIS_PORT": str(redis.port),
        "REDIS_HOST": "127.0.0.1",
        "SIGNAL_SERVICE_URL": signals.server.url,
        "EXECUTION_GATEWAY_URL": gateway.server.url,
        **PAPER,
    }
    return Parts(postgres, redis, signals, gateway, environ)


def price_in_redis(server: RedisServer, symbols: Sequence[str]) -> None:
    now = utc_text(datetime.now(UTC))
    with server.administered() as client:
        for symbol in symbols:
            document = {"symbol": symbol, "mid": "100", "timestamp": now}
            client.set(f"price:{symbol}", json.dumps(document))
