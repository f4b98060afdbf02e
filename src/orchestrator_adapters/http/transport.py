"""Which wire lies under httpx."""

import ssl
from collections.abc import Callable
from importlib.util import find_spec

import httpx
from attrs import frozen


@frozen
class WireOptions:
    """What a wire must keep to.

    Attributes:
        uses_tls: The peer's URL says https.
        max_connections: Calls on the wire at once; more wait.
        keep_alive_seconds: How long a free connection is kept.
    """

    uses_tls: bool
    max_connections: int
    keep_alive_seconds: float


MakeTransport = Callable[[WireOptions], httpx.AsyncBaseTransport]


def lean_transport(options: WireOptions) -> httpx.AsyncBaseTransport:
    """Return the wire of ours; needs httptools."""
    from orchestrator_adapters.http.lean import LeanTransport  # noqa: PLC0415 - an extra

    return LeanTransport(
        max_connections=options.max_connections,
        keep_alive_seconds=options.keep_alive_seconds,
        ssl_context=ssl.create_default_context() if options.uses_tls else None,
    )


def httpx_transport(options: WireOptions) -> httpx.AsyncBaseTransport:
    """Return httpx's own wire."""
    # Loading the system's certificates takes long and is of no use without TLS: an empty context
    # trusts nobody.
    context = (
        ssl.create_default_context()
        if options.uses_tls
        else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    return httpx.AsyncHTTPTransport(
        verify=context,
        trust_env=False,
        limits=httpx.Limits(
            max_connections=options.max_connections,
            max_keepalive_connections=options.max_connections,
            keepalive_expiry=options.keep_alive_seconds,
        ),
    )


def choose_transport(options: WireOptions) -> httpx.AsyncBaseTransport:
    """Return the lean wire where httptools is installed, else httpx's own."""
    if find_spec("httptools") is None:
        return httpx_transport(options)
    return lean_transport(options)
