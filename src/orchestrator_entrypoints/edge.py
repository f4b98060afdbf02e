"""The outermost edge of the HTTP service: request ids, and an answer to whatever was unforeseen."""

import logging
import re
from uuid import uuid4

from attrs import frozen
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator_entrypoints.answers import Answer, internal_error
from orchestrator_entrypoints.logs import REQUEST_ID
from orchestrator_entrypoints.wire_json import render

_LOG = logging.getLogger("orchestrator.http")

REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def respond(answer: Answer) -> Response:
    """Return the response that carries an answer."""
    return Response(
        render(answer.body),
        status_code=answer.status,
        headers=dict(answer.headers),
        media_type="application/json",
    )


@frozen
class Edge:
    """Names each request, and answers 500 where nothing else answered."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; what it raises is logged here, once."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(Headers(scope=scope))
        REQUEST_ID.set(request_id)
        has_begun = False

        async def send_named(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_named)
        except ClientDisconnect:
            return
        except Exception:
            _LOG.exception("request broken")
            if has_begun:
                raise
            await respond(internal_error())(scope, receive, send_named)


def _request_id(headers: Headers) -> str:
    given = headers.get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex
