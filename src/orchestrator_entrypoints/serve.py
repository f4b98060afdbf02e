"""Serving the application: uvicorn, started and stopped by us.

A stop (SIGTERM, or Ctrl-C) lets the waves in flight end: no further wave is claimed from that
moment, what runs is awaited for `STOP_SECONDS` at most, then every connection is given back. A
second Ctrl-C does not wait.
"""

import errno
import logging
import os
import signal
import socket
import sys
from types import FrameType

import uvicorn

from orchestrator_core import __version__
from orchestrator_entrypoints.app import create_app
from orchestrator_entrypoints.logs import configure_logging, log_event
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.receiving import guarded_protocol
from orchestrator_entrypoints.settings import Settings, SettingsError, read_settings
from orchestrator_entrypoints.wiring import wire

BACKLOG = 512
KEEP_ALIVE_SECONDS = 5
EXIT_SETTINGS = 2
EXIT_ADDRESS = 3

_LOG = logging.getLogger("orchestrator.serve")


class AddressError(Exception):
    """The address cannot be listened on; says which and why, in one line."""


class _Server(uvicorn.Server):
    """A server that says when it serves, and knows at once that it was told to stop."""

    def __init__(self, config: uvicorn.Config, orchestrator: Orchestrator) -> None:
        super().__init__(config)
        self._orchestrator = orchestrator

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        settings = self._orchestrator.settings
        for listening in sockets or ():
            log_event(
                _LOG,
                logging.INFO,
                "serving",
                url=url_of(*listening.getsockname()[:2]),
                version=__version__,
                pid=os.getpid(),
                embedded=settings.embedded,
                mode=str(self._orchestrator.policy.mode),
                strategy_id=settings.strategy_id,
            )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _LOG.info("stopping")
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._orchestrator.stop.set()
        super().handle_exit(sig, frame)


def serve(settings: Settings) -> None:
    """Serve until told to stop.

    Raises:
        AddressError: The address cannot be listened on.
    """
    listening = listen(settings.host, settings.port)
    with listening:
        for warning in settings.warnings:
            _LOG.warning("%s", warning)
        orchestrator = wire(settings)
        config = uvicorn.Config(
            create_app(orchestrator),
            http=guarded_protocol(settings.request_receive_seconds),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(settings.stop_seconds)),
        )
        _Server(config, orchestrator).run(sockets=[listening])
        _LOG.info("stopped")


def url_of(host: str, port: int) -> str:
    """Return the address that a client on this machine uses."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound there.

    Raises:
        AddressError: It cannot be bound.
    """
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise AddressError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        why = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise AddressError(f"cannot listen on {host}:{port}: {why}") from None
    return listening


def main() -> int:
    """Serve by the environment; return the exit code."""
    # Until the server takes the signals over, and again after it has handled them.
    signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        settings = read_settings(os.environ)
        configure_logging(settings.log_level, settings.log_format)
        serve(settings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_SETTINGS
    except AddressError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_ADDRESS
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
