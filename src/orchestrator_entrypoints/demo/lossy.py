"""A way between the service and the gateway on which an answer can be lost."""

from attrs import define
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROXY_TIMED_OUT = 504


@define
class LossyWay:
    """ASGI middleware: the request arrives, and where it is told to, the answer does not.

    Attributes:
        loses_next_order: Whether the answer to the next order is lost, as behind a proxy that
            times out.
    """

    app: ASGIApp
    loses_next_order: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_order = scope["type"] == "http" and scope["method"] == "POST"
        if not (is_order and self.loses_next_order):
            await self.app(scope, receive, send)
            return
        self.loses_next_order = False

        async def lose(_: Message) -> None:
            return

        await self.app(scope, receive, lose)
        lost = JSONResponse({"detail": "the gateway did not answer"}, status_code=PROXY_TIMED_OUT)
        await lost(scope, receive, send)
