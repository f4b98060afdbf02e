"""A lean Signal Service and Execution Gateway for measuring: one process, a given latency.

`python -m bench.peers PORT GATEWAY_LATENCY_SECONDS`
"""

import asyncio
import json
import sys
from datetime import UTC, datetime
from itertools import count
from typing import Any

import uvloop

from bench.lean_http import serve

# A run whose first symbol is this one gets no short signals: its orders are of one side.
LONG_ONLY = "LONG"
FLAGS = {"dry_run": True, "alpaca_paper": True, "circuit_breaker_enabled": True}


def signals_for(symbols: list[str], as_of_date: str | None) -> dict[str, Any]:
    """Return one signal a symbol, half long and half short; of `LONG_ONLY` symbols all long."""
    shorts = 0 if symbols[0] == LONG_ONLY else len(symbols) // 2
    half = len(symbols) - shorts
    rows = [
        {
            "symbol": symbol,
            "predicted_return": 0.01,
            "rank": number + 1,
            "target_weight": round(0.99 / half, 8) if number < half else round(-0.99 / shorts, 8),
        }
        for number, symbol in enumerate(symbols)
    ]
    now = datetime.now(UTC)
    return {
        "signals": rows,
        "metadata": {
            "as_of_date": as_of_date or now.date().isoformat(),
            "model_version": "bench",
            "strategy": "bench",
            "num_signals": len(rows),
            "generated_at": now.isoformat(),
            "top_n": half,
            "bottom_n": shorts,
        },
    }


async def main(port: int, latency: float) -> None:
    """Serve until killed."""
    numbers = count(1)

    async def handle(method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path.startswith("/api/v1/signals"):
            asked = json.loads(body)
            return 200, signals_for(asked["symbols"], asked.get("as_of_date"))
        if path == "/api/v1/orders" and method == "POST":
            order = json.loads(body)
            if latency:
                await asyncio.sleep(latency)
            return 200, {
                **order,
                "status": "dry_run",
                "broker_order_id": f"b{next(numbers)}",
                "limit_price": None,
                "created_at": "2026-03-02T15:00:00Z",
                "message": "ok",
            }
        if path == "/api/v1/config":
            return 200, FLAGS
        return 200, {"status": "healthy"}

    server = await serve(handle, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), float(sys.argv[2])))
