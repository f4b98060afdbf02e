"""A Signal Service: weights are a function of the symbol alone, and now and then it fails."""

import asyncio
import hashlib
import random
from typing import Any

from attrs import define, field

from tests.chaos.wire import Answer, How, Request

TODAY = "2026-03-02"
FAILS = 0.02
SLOW = 0.03
SLOW_SECONDS = 0.5
WEIGHT = 0.02


@define
class SignalService:
    """Answers every batch asked for.

    Attributes:
        is_calm: Nothing is done wrong any more.
    """

    seed: int
    is_calm: bool = False
    _draw: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._draw = random.Random(f"{self.seed}:signals")  # noqa: S311 - a plan, no secret

    async def handle(self, request: Request) -> Answer:
        """Answer one request of a replica."""
        if request.path == "/ready":
            return Answer(200, {"ready": True})
        luck = 1.0 if self.is_calm else self._draw.random()
        if luck < FAILS:
            how = self._draw.choice((How.PLAIN, How.RESET, How.GARBAGE))
            return Answer(503, {"detail": "warming"}, how)
        if luck < FAILS + SLOW:
            await asyncio.sleep(SLOW_SECONDS)
        asked = request.json()
        return Answer(200, _batch(asked["symbols"], asked.get("as_of_date") or TODAY))


def _batch(symbols: list[str], as_of_date: str) -> dict[str, Any]:
    return {
        "signals": [
            {
                "symbol": symbol,
                "predicted_return": 0.01,
                "rank": rank,
                "target_weight": WEIGHT if is_long(symbol) else -WEIGHT,
            }
            for rank, symbol in enumerate(symbols, start=1)
        ],
        "metadata": {
            "as_of_date": as_of_date,
            "model_version": "m-1",
            "strategy": "chaos",
            "num_signals": len(symbols),
            "generated_at": "2026-03-02T15:00:00Z",
            "top_n": None,
            "bottom_n": None,
        },
    }


def is_long(symbol: str) -> bool:
    """Whether the strategy is for buying it: so for three of four."""
    return hashlib.sha256(symbol.encode()).digest()[0] % 4 != 0
