"""An Execution Gateway: a ledger in memory, behind the real one's HTTP."""

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar
from uuid import uuid4

from attrs import frozen
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from orchestrator_core.identifiers import Symbol, is_canonical_symbol
from orchestrator_core.model import OrderType, Side, TimeInForce
from orchestrator_core.money import parse_money
from orchestrator_entrypoints.demo.exchanges import (
    Refusal,
    SignedRequestsOnly,
    answer_refusal,
    read_object,
)
from orchestrator_entrypoints.demo.ledger import (
    Ledger,
    NotCancelable,
    PlacedOrder,
    Ticket,
    TicketConflict,
)

# The real gateway's own bounds.
MAX_ORDER_QTY = 10_000
MAX_ORDER_NOTIONAL = 100_000

_ORDER_ID = re.compile(r"[A-Za-z0-9_-]{1,24}")
Word = TypeVar("Word", bound=StrEnum)


def execution_gateway(ledger: Ledger, *, secret: str | None = None) -> ASGIApp:
    """Return the gateway as an ASGI application.

    Args:
        ledger: What it takes orders into.
        secret: Where given, only requests that it signed are answered.
    """
    gateway = _Gateway(ledger)
    app: ASGIApp = Starlette(
        routes=[
            Route("/health", gateway.health),
            Route("/api/v1/config", gateway.config),
            Route("/api/v1/positions", gateway.positions),
            Route("/api/v1/orders", gateway.place, methods=["POST"]),
            Route("/api/v1/orders/{client_order_id}", gateway.look_up),
            Route("/api/v1/orders/{client_order_id}/cancel", gateway.cancel, methods=["POST"]),
        ],
        exception_handlers={Refusal: answer_refusal},
    )
    return app if secret is None else SignedRequestsOnly(app, secret)


@frozen
class _Gateway:
    ledger: Ledger

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "healthy", "service": "execution_gateway"})

    async def config(self, _request: Request) -> Response:
        flags = self.ledger.flags
        return JSONResponse(
            {
                "service": "execution_gateway",
                "environment": "demo",
                "dry_run": flags.dry_run,
                "alpaca_paper": flags.alpaca_paper,
                "circuit_breaker_enabled": flags.circuit_breaker_enabled,
            }
        )

    async def positions(self, _request: Request) -> Response:
        held = [
            {
                "symbol": symbol,
                "qty": str(qty),
                "avg_entry_price": str(self.ledger.prices[symbol]),
                "current_price": str(self.ledger.prices[symbol]),
            }
            for symbol, qty in self.ledger.positions().items()
        ]
        return JSONResponse({"positions": held, "total_positions": len(held)})

    async def place(self, request: Request) -> Response:
        ticket = _parse_ticket(await read_object(request), self.ledger.prices)
        try:
            order = self.ledger.place(ticket)
        except TicketConflict:
            raise Refusal(409, "this client_order_id stands for another order") from None
        return JSONResponse(_acknowledgement(order))

    async def look_up(self, request: Request) -> Response:
        order = self.ledger.find(request.path_params["client_order_id"])
        if order is None:
            raise Refusal(404, "no such order")
        return JSONResponse(_details(order))

    async def cancel(self, request: Request) -> Response:
        try:
            order = self.ledger.cancel(request.path_params["client_order_id"])
        except NotCancelable as ended:
            raise Refusal(409, f"the order is {ended}") from None
        if order is None:
            raise Refusal(404, "no such order")
        return JSONResponse(_details(order))


def _acknowledgement(order: PlacedOrder) -> dict[str, Any]:
    ticket = order.ticket
    dry = order.broker_order_id is None
    return {
        "client_order_id": ticket.client_order_id,
        "status": order.status,
        "broker_order_id": order.broker_order_id,
        "symbol": ticket.symbol,
        "side": ticket.side,
        "qty": ticket.qty,
        "order_type": ticket.order_type,
        "limit_price": None if ticket.limit_price is None else str(ticket.limit_price),
        "created_at": f"{order.created_at:%Y-%m-%dT%H:%M:%S.%fZ}",
        "message": "logged, not sent: dry run" if dry else "taken by the demo's broker",
    }


def _details(order: PlacedOrder) -> dict[str, Any]:
    price = order.filled_avg_price
    return _acknowledgement(order) | {
        "filled_qty": str(order.filled_qty),
        "filled_avg_price": None if price is None else str(price),
        "error_message": None,
    }


def _parse_ticket(body: Mapping[str, Any], prices: Mapping[Symbol, Decimal]) -> Ticket:
    symbol = _symbol(body.get("symbol"))
    qty = body.get("qty")
    if type(qty) is not int or not 0 < qty <= MAX_ORDER_QTY:
        raise Refusal(422, f"qty: expected 1 to {MAX_ORDER_QTY} shares")
    if qty * prices.get(symbol, Decimal(0)) > MAX_ORDER_NOTIONAL:
        raise Refusal(422, f"the order is worth more than {MAX_ORDER_NOTIONAL}")
    id_ = body.get("client_order_id", uuid4().hex[:24])
    if not isinstance(id_, str) or not _ORDER_ID.fullmatch(id_):
        raise Refusal(422, "client_order_id: expected 1 to 24 letters, digits, _ or -")
    order_type = _word(body, "order_type", OrderType)
    limit_price, stop_price = _price(body, "limit_price"), _price(body, "stop_price")
    if ("limit" in order_type) != (limit_price is not None):
        raise Refusal(400, f"limit_price does not go with a {order_type} order, or is missing")
    if ("stop" in order_type) != (stop_price is not None):
        raise Refusal(400, f"stop_price does not go with a {order_type} order, or is missing")
    return Ticket(
        client_order_id=id_,
        symbol=symbol,
        side=_word(body, "side", Side),
        qty=qty,
        order_type=order_type,
        time_in_force=_word(body, "time_in_force", TimeInForce),
        limit_price=limit_price,
        stop_price=stop_price,
    )


def _symbol(value: object) -> Symbol:
    if not isinstance(value, str) or not is_canonical_symbol(value):
        raise Refusal(422, "symbol: expected one in upper case")
    return Symbol(value)


def _word(body: Mapping[str, Any], name: str, words: type[Word]) -> Word:
    try:
        return words(str(body.get(name)))
    except ValueError:
        raise Refusal(422, f"{name}: expected one of {', '.join(words)}") from None


def _price(body: Mapping[str, Any], name: str) -> Decimal | None:
    value = body.get(name)
    if value is None:
        return None
    try:
        return parse_money(value)
    except ValueError as problem:
        raise Refusal(422, f"{name}: {problem}") from None
