"""Prices in Redis."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from orchestrator_adapters.redis.client import RedisClient
from orchestrator_adapters.shared_keys import decode_price, price_key
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import NoQuote, Quote

PORT = "prices"
SOURCE = "redis"
# One MGET keeps Redis from serving anyone else while it lasts.
MAX_KEYS = 5000


@frozen
class RedisPriceSource:
    """Reads the prices of a run with one command."""

    client: RedisClient

    async def quotes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Quote | NoQuote]:
        answers: dict[Symbol, Quote | NoQuote] = {}
        for start in range(0, len(symbols), MAX_KEYS):
            chunk = symbols[start : start + MAX_KEYS]
            texts = await self.client.read(PORT, "quotes", "MGET", *map(price_key, chunk))
            for symbol, text in zip(chunk, texts, strict=True):
                answers[symbol] = decode_price(symbol, text, source=SOURCE)
        return answers
