"""Prices and closing prices in Redis."""

from collections.abc import Mapping, Sequence
from datetime import date

from attrs import frozen

from orchestrator_adapters.redis.client import RedisClient
from orchestrator_adapters.shared_closes import close_key, references_in
from orchestrator_adapters.shared_keys import decode_price, price_key
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import NoQuote, Quote, Reference

PRICES_PORT = "prices"
CLOSES_PORT = "closes"
SOURCE = "redis"
# One MGET keeps Redis from serving anyone else while it lasts.
MAX_KEYS = 5000


async def _read_texts(
    client: RedisClient, port: str, operation: str, keys: Sequence[str]
) -> list[bytes | None]:
    """Return what stands under each key, in their order; None where no text does."""
    texts: list[bytes | None] = []
    for start in range(0, len(keys), MAX_KEYS):
        chunk = keys[start : start + MAX_KEYS]
        texts += await client.read(port, operation, "MGET", *chunk)
    return texts


@frozen
class RedisPriceSource:
    """Reads the prices of a run with one command."""

    client: RedisClient

    async def quotes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Quote | NoQuote]:
        keys = [price_key(symbol) for symbol in symbols]
        texts = await _read_texts(self.client, PRICES_PORT, "quotes", keys)
        return {
            symbol: decode_price(symbol, text, source=SOURCE)
            for symbol, text in zip(symbols, texts, strict=True)
        }


@frozen
class RedisCloseSource:
    """Reads the closing prices that a run's prices are held against, with one command."""

    client: RedisClient

    async def closes(
        self, symbols: Sequence[Symbol], *, before: date
    ) -> Mapping[Symbol, Reference]:
        keys = [close_key(symbol) for symbol in symbols]
        texts = await _read_texts(self.client, CLOSES_PORT, "closes", keys)
        return references_in(zip(symbols, texts, strict=True), before=before)
