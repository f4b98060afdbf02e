"""Serving small applications beside a program, on loopback, from a thread of their own."""

import asyncio
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager

import uvicorn
from starlette.types import ASGIApp

LOOPBACK = "127.0.0.1"
START_SECONDS = 10.0
STOP_SECONDS = 5
POLL_SECONDS = 0.005


class ServerFailure(Exception):
    """A server did not start."""


@contextmanager
def serving(apps: Sequence[ASGIApp], *, ports: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """Serve each application over HTTP while the block runs; give their base URLs.

    Args:
        apps: ASGI applications.
        ports: One an application; 0 takes a free one.

    Raises:
        OSError: A port is taken.
        ServerFailure: A server did not start.
        TimeoutError: It did not within ten seconds.
    """
    sockets = _bind_all(ports)
    urls = tuple(f"http://{LOOPBACK}:{bound.getsockname()[1]}" for bound in sockets)
    servers = [
        uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=STOP_SECONDS,
                server_header=False,
            )
        )
        for app in apps
    ]
    started: Future[None] = Future()
    # uvicorn takes over signals only in the main thread: Ctrl-C stays the program's.
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve_all(servers, sockets, started)), name="servers"
    )
    thread.start()
    try:
        started.result(START_SECONDS)
        yield urls
    finally:
        for server in servers:
            server.should_exit = True
        thread.join(START_SECONDS + STOP_SECONDS)
        for bound in sockets:
            bound.close()


def _bind_all(ports: Sequence[int]) -> list[socket.socket]:
    with ExitStack() as unwound:
        sockets = [unwound.enter_context(bind(LOOPBACK, port)) for port in ports]
        unwound.pop_all()
    return sockets


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound there; port 0 takes a free one.

    Raises:
        OSError: It cannot be bound.
    """
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        error.filename = f"{host}:{port}"
        raise
    except OverflowError:
        bound.close()
        raise OSError(errno.EINVAL, "no such port", f"{host}:{port}") from None
    return bound


def wait_for_signal(*, each: Callable[[], None] = lambda: None, seconds: float = 3600.0) -> None:
    """Return at SIGINT or SIGTERM; until then do `each` every so many seconds."""
    came = threading.Event()
    awaited = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda *_: came.set()) for number in awaited}
    try:
        while not came.wait(seconds):
            each()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


async def _serve_all(
    servers: Sequence[uvicorn.Server],
    sockets: Sequence[socket.socket],
    started: "Future[None]",
) -> None:
    tasks = [
        asyncio.create_task(server.serve(sockets=[bound]))
        for server, bound in zip(servers, sockets, strict=True)
    ]
    while not all(server.started for server in servers):
        if any(task.done() for task in tasks):
            started.set_exception(ServerFailure("a server did not start"))
            for server in servers:
                server.should_exit = True
            break
        await asyncio.sleep(POLL_SECONDS)
    else:
        started.set_result(None)
    await asyncio.gather(*tasks, return_exceptions=True)
