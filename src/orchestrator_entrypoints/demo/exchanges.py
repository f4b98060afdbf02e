"""What both peers share: reading a JSON request, refusing it, and checking who sent it."""

import hashlib
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from attrs import define, field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1 << 20
MAX_CLOCK_SKEW_SECONDS = 300
MAX_NONCES = 10_000


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, detail: object) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


async def answer_refusal(_request: Request, refusal: Exception) -> Response:
    """Turn a `Refusal` into its HTTP answer."""
    if not isinstance(refusal, Refusal):
        raise refusal
    return JSONResponse({"detail": refusal.detail}, status_code=refusal.status)


async def read_object(request: Request) -> dict[str, Any]:
    """Return the body, a JSON object.

    Raises:
        Refusal: It is none.
    """
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise Refusal(422, "the body is no JSON") from None
    if not isinstance(body, dict):
        raise Refusal(422, "the body is no JSON object")
    return body


def sign(secret: str, signed: Mapping[str, str]) -> str:
    """Return the token that proves knowledge of the secret for one request.

    HMAC-SHA256 in hex over compact JSON with sorted keys.
    """
    message = json.dumps(dict(signed), sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


@define
class SignedRequestsOnly:
    """ASGI middleware: lets only requests through that the shared secret signed.

    Health probes need no signature. A nonce is good once, a timestamp for five minutes.
    """

    app: ASGIApp
    secret: str = field(repr=False)
    _nonces: OrderedDict[str, None] = field(factory=OrderedDict, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in {"/health", "/ready"}:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await request.body()
        problem = self._problem(request, body)
        if problem is not None:
            await JSONResponse({"detail": problem}, status_code=401)(scope, receive, send)
            return
        parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return parts.pop() if parts else await receive()

        await self.app(scope, replay, send)

    def _problem(self, request: Request, body: bytes) -> str | None:
        header = request.headers
        nonce, stamp = header.get("x-internal-nonce", ""), header.get("x-internal-timestamp", "")
        body_hash = hashlib.sha256(body).hexdigest()
        if header.get("x-body-hash") != body_hash:
            return "the body hash is missing or wrong"
        if not stamp.isdecimal() or abs(time.time() - int(stamp)) > MAX_CLOCK_SKEW_SECONDS:
            return "the timestamp is missing or too old"
        expected = sign(
            self.secret,
            {
                "service_id": header.get("x-service-id", ""),
                "method": request.method,
                "path": request.url.path,
                "query": request.url.query,
                "timestamp": stamp,
                "nonce": nonce,
                "user_id": header.get("x-user-id", ""),
                "strategy_id": header.get("x-strategy-id", ""),
                "body_hash": body_hash,
            },
        )
        if not hmac.compare_digest(expected, header.get("x-internal-token", "")):
            return "the token is missing or wrong"
        if not nonce or nonce in self._nonces:
            return "the nonce was used before"
        self._nonces[nonce] = None
        if len(self._nonces) > MAX_NONCES:
            self._nonces.popitem(last=False)
        return None
