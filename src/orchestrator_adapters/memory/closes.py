"""Closing prices in memory."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from attrs import define, field

from orchestrator_adapters.shared_closes import Close, encode_close, references_in
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Reference


@define
class MemoryCloseSource:
    """Answers the last close that was put; `put_text` takes it as other services write it."""

    _texts: dict[Symbol, str] = field(factory=dict, init=False)

    async def closes(
        self, symbols: Sequence[Symbol], *, before: date
    ) -> Mapping[Symbol, Reference]:
        return references_in(
            ((symbol, self._texts.get(symbol)) for symbol in symbols), before=before
        )

    def put(self, closes: Iterable[Close]) -> None:
        """Let these closes stand for their symbols."""
        self._texts.update((close.symbol, encode_close(close)) for close in closes)

    def put_text(self, symbol: Symbol, text: str) -> None:
        """Let `text` stand under the symbol's key, as another service would write it."""
        self._texts[symbol] = text
