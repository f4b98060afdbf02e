"""Prices in memory."""

from collections.abc import Iterable, Mapping, Sequence

from attrs import define, field

from orchestrator_adapters.shared_keys import decode_price
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import NoQuote, Quote

SOURCE = "memory"


@define
class MemoryPriceSource:
    """Answers the last quote that was put; `put_text` takes it as other services write it."""

    _answers: dict[Symbol, Quote | NoQuote] = field(factory=dict, init=False)

    async def quotes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Quote | NoQuote]:
        answers = self._answers
        return {
            symbol: answers.get(symbol) or decode_price(symbol, None, source=SOURCE)
            for symbol in symbols
        }

    def put(self, quotes: Iterable[Quote]) -> None:
        """Let these quotes stand for their symbols."""
        self._answers.update((quote.symbol, quote) for quote in quotes)

    def put_text(self, symbol: Symbol, text: str) -> None:
        """Let `text` stand under the symbol's key, as another service would write it."""
        self._answers[symbol] = decode_price(symbol, text, source=SOURCE)
