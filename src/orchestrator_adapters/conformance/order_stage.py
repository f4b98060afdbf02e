"""The gateway behind an order sink, as its suite sets it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from orchestrator_adapters.memory.orders import Behaviour, Silence
from orchestrator_core.identifiers import ClientOrderId, Symbol
from orchestrator_core.model import OrderIntent, OrderReport, SafetyFlags, Side
from orchestrator_core.ports import OrderSink

IN_TIME = math.inf


class OrdersStage(Protocol):
    """The gateway behind an order sink."""

    @property
    def sink(self) -> OrderSink:
        """The adapter under test, over a gateway that holds no order."""
        ...

    @property
    def late(self) -> float:
        """A deadline that has passed."""
        ...

    async def script(self, symbol: Symbol, behaviours: Sequence[Behaviour]) -> None:
        """Let the gateway do this with the symbol's next tries, and take those after them."""
        ...

    async def ledger(self) -> Mapping[ClientOrderId, tuple[Symbol, Side, int]]:
        """Return the orders that the gateway holds."""
        ...

    async def claim(self, flags: SafetyFlags) -> None:
        """Let the gateway say that these brakes are on."""
        ...

    async def go_blind(self) -> None:
        """Let the gateway answer under ids of its own, and place a new order at each try."""
        ...

    async def say(self, report: OrderReport) -> None:
        """Let the gateway's word on the order that it holds under the report's id be this one."""
        ...

    async def garble(self, gateway_order_id: str, **fields: Any) -> None:
        """Let the gateway's record of an order be of another one, in these fields of an intent."""
        ...

    async def forget(self, gateway_order_id: str) -> None:
        """Let the gateway lose its record of an order."""
        ...

    async def silence(self, intent: OrderIntent, silences: Sequence[Silence]) -> None:
        """Let the next questions after the order, and wishes to cancel it, go so."""
        ...

    async def vanish(self) -> None:
        """Let nothing reach the gateway any more."""
        ...


def an_intent(symbol: str, *, qty: int = 10, side: Side = Side.BUY) -> OrderIntent:
    """Return an order with an id of its own a symbol."""
    id_ = ClientOrderId(f"o1{symbol.lower():z<22}")
    return OrderIntent(id_, Symbol(symbol), side, qty)
