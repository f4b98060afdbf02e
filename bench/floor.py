"""The floor: the leanest honest program that does a run's I/O.

A kill-switch read, one signals POST, one MGET, run and intents committed before sending, the order
POSTs 32 at once over raw keep-alive connections, outcomes committed after. No gateway flags, no
leases, no latch, no waves, no explanation, a lean schema: what a run costs at least.

`python -m bench.floor PORT PEERS_PORT REDIS_PORT DSN`
"""

import asyncio
import json
import sys
import uuid
from decimal import Decimal
from typing import Any

import psycopg
import uvloop

from bench.lean_http import LeanClient, serve

SCHEMA = """
CREATE TABLE IF NOT EXISTS floor_runs (run_id uuid PRIMARY KEY, status text, n int);
CREATE TABLE IF NOT EXISTS floor_orders (
    run_id uuid, symbol text, side text, qty int, client_order_id text, status text,
    broker_order_id text, PRIMARY KEY (run_id, client_order_id));
"""
PLAN = """
WITH run AS (INSERT INTO floor_runs VALUES (%s, 'running', %s))
INSERT INTO floor_orders SELECT %s, * , NULL, NULL
FROM unnest(%s::text[], %s::text[], %s::int[], %s::text[])
"""
OUTCOMES = """
WITH run AS (UPDATE floor_runs SET status = 'completed' WHERE run_id = %s)
UPDATE floor_orders o SET status = u.status, broker_order_id = u.broker
FROM unnest(%s::text[], %s::text[], %s::text[]) AS u(id, status, broker)
WHERE o.run_id = %s AND o.client_order_id = u.id
"""


class LeanRedis:
    """GET and MGET over one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def command(self, *words: str) -> list[bytes | None]:
        """Return the strings that a command answers."""
        encoded = [word.encode() for word in words]
        parts = [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
        self._writer.write(b"*%d\r\n" % len(encoded) + b"".join(parts))
        line = await self._reader.readline()
        if line[:1] == b"*":
            return [await self._bulk(await self._reader.readline()) for _ in range(int(line[1:]))]
        return [await self._bulk(line)]

    async def _bulk(self, line: bytes) -> bytes | None:
        length = int(line[1:])
        return None if length < 0 else (await self._reader.readexactly(length + 2))[:-2]


class Floor:
    """One process with what a run needs at hand."""

    def __init__(self, peers_port: int, redis_port: int, dsn: str) -> None:
        self._redis_port, self._dsn = redis_port, dsn
        self._http = LeanClient("127.0.0.1", peers_port)
        self._idle: list[tuple[psycopg.AsyncConnection[Any], LeanRedis]] = []

    async def handle(self, method: str, _path: str, body: bytes) -> tuple[int, Any]:
        """Answer a run, or anything else as health."""
        if method != "POST":
            return 200, {"status": "healthy"}
        stores = self._idle.pop() if self._idle else await self._open()
        try:
            return 200, await self._run(json.loads(body)["symbols"], *stores)
        finally:
            self._idle.append(stores)

    async def _open(self) -> tuple[psycopg.AsyncConnection[Any], LeanRedis]:
        connection = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True)
        return connection, LeanRedis(*await asyncio.open_connection("127.0.0.1", self._redis_port))

    async def _run(
        self, symbols: list[str], database: psycopg.AsyncConnection[Any], redis: LeanRedis
    ) -> dict[str, Any]:
        (state,) = await redis.command("GET", "kill_switch:state")
        if state is None or json.loads(state)["state"] != "ACTIVE":
            raise RuntimeError("halted")
        asked = json.dumps({"symbols": symbols}).encode()
        _, batch = await self._http.post("/api/v1/signals/generate", asked)
        signals = batch["signals"]
        prices = await redis.command("MGET", *(f"price:{s['symbol']}" for s in signals))
        run_id = uuid.uuid4()
        orders = []
        for signal, price in zip(signals, prices, strict=True):
            if price is None:
                raise RuntimeError("no price")
            weight = Decimal(repr(signal["target_weight"]))
            notional = min(abs(weight) * 100_000_000, Decimal(20_000))
            qty = int(notional // Decimal(json.loads(price)["mid"]))
            orders.append(
                {
                    "symbol": signal["symbol"],
                    "side": "buy" if weight > 0 else "sell",
                    "qty": qty,
                    "order_type": "market",
                    "time_in_force": "day",
                    "client_order_id": uuid.uuid4().hex[:24],
                }
            )
        ids = [order["client_order_id"] for order in orders]
        columns = [[order[name] for order in orders] for name in ("symbol", "side", "qty")]
        await database.execute(PLAN, (run_id, len(orders), run_id, *columns, ids))
        gate = asyncio.Semaphore(32)

        async def place(order: dict[str, Any]) -> dict[str, Any]:
            async with gate:
                _, answer = await self._http.post("/api/v1/orders", json.dumps(order).encode())
                return dict(answer)

        answers = await asyncio.gather(*map(place, orders))
        statuses = [answer["status"] for answer in answers]
        brokers = [answer["broker_order_id"] for answer in answers]
        await database.execute(OUTCOMES, (run_id, ids, statuses, brokers, run_id))
        return {"run_id": str(run_id), "status": "completed", "mappings": answers}


async def main(port: int, peers_port: int, redis_port: int, dsn: str) -> None:
    """Serve until killed."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(SCHEMA)
    floor = Floor(peers_port, redis_port, dsn)
    server = await serve(floor.handle, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
