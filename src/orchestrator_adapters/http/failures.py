"""What is known of a request that brought no usable answer: httpx's exceptions as one table.

The only thing that later code asks of a failure is whether the request can have left.
"""

from enum import Enum

import httpx

from orchestrator_core.errors import MalformedReply, PortError, Unavailable


class Fate(Enum):
    """What is known of a request that brought no answer."""

    NOT_SENT = "nothing was sent"
    LOST = "it may have been received"
    UNUSABLE = "it was answered, outside of the contract"


# Every exception of httpx. Only what is raised before a request's first byte is NOT_SENT; a class
# that can also be raised later, such as by a redirect's address, is not.
FATES: dict[type[Exception], Fate] = {
    httpx.ConnectError: Fate.NOT_SENT,
    httpx.ConnectTimeout: Fate.NOT_SENT,
    httpx.PoolTimeout: Fate.NOT_SENT,
    httpx.HTTPError: Fate.LOST,
    httpx.RequestError: Fate.LOST,
    httpx.TransportError: Fate.LOST,
    httpx.TimeoutException: Fate.LOST,
    httpx.ReadTimeout: Fate.LOST,
    httpx.WriteTimeout: Fate.LOST,
    httpx.NetworkError: Fate.LOST,
    httpx.ReadError: Fate.LOST,
    httpx.WriteError: Fate.LOST,
    httpx.CloseError: Fate.LOST,
    httpx.ProxyError: Fate.LOST,
    httpx.UnsupportedProtocol: Fate.LOST,
    httpx.ProtocolError: Fate.LOST,
    httpx.LocalProtocolError: Fate.LOST,
    httpx.RemoteProtocolError: Fate.LOST,
    httpx.InvalidURL: Fate.LOST,
    httpx.HTTPStatusError: Fate.UNUSABLE,
    httpx.DecodingError: Fate.UNUSABLE,
    httpx.TooManyRedirects: Fate.UNUSABLE,
    httpx.CookieConflict: Fate.UNUSABLE,
    httpx.StreamError: Fate.LOST,
    httpx.StreamConsumed: Fate.LOST,
    httpx.StreamClosed: Fate.LOST,
    httpx.ResponseNotRead: Fate.LOST,
    httpx.RequestNotRead: Fate.LOST,
}
MAPPED = (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError)
# What anyio, under httpx's own wire, lets through: on uvloop an AttributeError, when the peer
# resets a connection that is being made.
LEAKED = (OSError, AttributeError)


class CallFailed(Exception):
    """No usable answer came.

    Attributes:
        cause: One line for a human. It never quotes the library, whose words may hold a URL.
        fate: What is known of the request.
    """

    def __init__(self, cause: str, fate: Fate) -> None:
        super().__init__(cause)
        self.cause = cause
        self.fate = fate

    def as_read_error(self, port: str, operation: str) -> PortError:
        """Return what it means for a read."""
        if self.fate is Fate.UNUSABLE:
            return MalformedReply(port, operation, self.cause)
        return Unavailable(port, operation, self.cause)


def call_failed(error: Exception) -> CallFailed:
    """Return what an exception of httpx means; one that is none of its own is LOST."""
    fate = next((FATES[cls] for cls in type(error).__mro__ if cls in FATES), Fate.LOST)
    words = "no connection" if fate is Fate.NOT_SENT else "the exchange broke off"
    return CallFailed(f"{words} ({type(error).__name__})", fate)


class CalledTooLate(CallFailed):
    """The time to send had passed once there was a connection; nothing was sent."""

    def __init__(self) -> None:
        super().__init__("not sent before its deadline", Fate.NOT_SENT)
