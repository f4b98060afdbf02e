"""Service-to-service authentication: an HMAC over what is sent, as the peers verify it."""

import hashlib
import hmac
import json
from collections.abc import Callable, Generator
from uuid import uuid4

import httpx
from attrs import field, frozen

from orchestrator_core.ports import Clock

SERVICE_ID = "orchestrator"

_canonical = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


def _fresh_nonce() -> str:
    return str(uuid4())


@frozen(eq=False)
class ServiceAuth(httpx.Auth):
    """Signs each request anew: new nonce, new timestamp, over the exact bytes sent.

    The strategy and the user that are signed are those of the request's own headers, so that the
    signature always agrees with them.

    Attributes:
        secret: The shared key; never shown.
        clock: Where timestamps come from.
        nonce: Gives a text never given before.
    """

    requires_request_body = True

    secret: str = field(repr=False)
    clock: Clock
    nonce: Callable[[], str] = _fresh_nonce

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign and send."""
        self.sign(request)
        yield request

    def sign(self, request: httpx.Request) -> None:
        """Put the headers that authenticate it into a request whose body is at hand."""
        request.headers.update(self.headers_for(request))

    def headers_for(self, request: httpx.Request) -> dict[str, str]:
        """Return the headers that authenticate a request whose body is at hand."""
        body_hash = hashlib.sha256(request.content).hexdigest()
        # The verifier reads the timestamp out of its header: it is signed as text.
        timestamp = str(int(self.clock.now().timestamp()))
        nonce = self.nonce()
        signed = _canonical(
            {
                "service_id": SERVICE_ID,
                "method": request.method,
                "path": request.url.path,
                "query": request.url.query.decode("ascii"),
                "timestamp": timestamp,
                "nonce": nonce,
                "user_id": request.headers.get("X-User-ID", ""),
                "strategy_id": request.headers.get("X-Strategy-ID", ""),
                "body_hash": body_hash,
            }
        )
        return {
            "X-Internal-Token": hmac.digest(self.secret.encode(), signed.encode(), "sha256").hex(),
            "X-Internal-Timestamp": timestamp,
            "X-Internal-Nonce": nonce,
            "X-Service-ID": SERVICE_ID,
            "X-Body-Hash": body_hash,
        }
