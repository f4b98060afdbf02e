"""Positions in memory."""

from collections.abc import Iterable, Mapping

from attrs import define, field

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import OrderIntent, Position, Side


@define
class MemoryPositionSource:
    """Holds an account's shares; `apply` keeps it in step with fills."""

    _held: dict[Symbol, int] = field(factory=dict, init=False)

    async def positions(self) -> Mapping[Symbol, Position]:
        return {symbol: Position(symbol, qty) for symbol, qty in self._held.items() if qty != 0}

    def put(self, positions: Iterable[Position]) -> None:
        """Let these positions stand for their symbols."""
        self._held.update((position.symbol, position.qty) for position in positions)

    def apply(self, filled: OrderIntent) -> None:
        """Count an order that was filled completely."""
        signed = filled.qty if filled.side is Side.BUY else -filled.qty
        self._held[filled.symbol] = self._held.get(filled.symbol, 0) + signed
