"""Receiving a request's body: within a size, within a time, of one content type."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request

from orchestrator_core.errors import InvalidRequest
from orchestrator_entrypoints.settings import Settings

# The rest of a body that is not read would be taken for the next request.
CLOSE = {"Connection": "close"}


async def receive_json(request: Request, settings: Settings) -> bytes:
    """Return the body, which claims to be JSON, within the bounds that the settings have for it.

    Raises:
        HTTPException: 415 for another content type, 413 for a body that is too large, 408 for one
            that does not arrive in time.
        ClientDisconnect: The client has gone.
    """
    max_bytes, seconds = settings.max_body_bytes, settings.request_receive_seconds
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HTTPException(415, "expected Content-Type: application/json", headers=CLOSE)
    announced = request.headers.get("content-length", "")
    too_large = HTTPException(413, f"expected a body of at most {max_bytes} bytes", headers=CLOSE)
    if announced.isdecimal() and int(announced[:20]) > max_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > max_bytes:
                    raise too_large
    except TimeoutError:
        raise HTTPException(
            408, f"the body did not arrive within {seconds:g} s", headers=CLOSE
        ) from None
    return bytes(body)


def told(name: str, text: str) -> str:
    """Return what an operator said, which must be something.

    Raises:
        InvalidRequest: Nothing but blanks.
    """
    if not text.strip():
        raise InvalidRequest(name, f"{name}: expected some text")
    return text.strip()
