"""The service as a process, over real parts: what it survives, and what it never does."""

import asyncio
import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from attrs import define, field

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Quote
from orchestrator_entrypoints.settings import read_settings
from orchestrator_entrypoints.wiring import put_embedded_prices
from tests.integration.service_parts import (
    DISENGAGE,
    ENGAGE,
    LEFT_ALONE,
    PAPER,
    SWIFT,
    SYMBOLS,
    Parts,
    offer,
    price_in_redis,
)
from tests.servers.peers import (
    Answer,
    GatewayPeer,
    Request,
    ServedGateway,
    ServedSignalService,
    Trick,
    Wire,
    running_peer,
)
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.servers.service import (
    RUN,
    RUNS,
    ServiceProcess,
    command,
    environment,
    running_service,
    wait_until,
)


def embedded(
    folder: Path, signals: ServedSignalService, gateway_url: str, **more: str
) -> dict[str, str]:
    return {
        "ORCHESTRATOR_EMBEDDED": "true",
        "ORCHESTRATOR_DATA": str(folder / "orchestrator.db"),
        "SIGNAL_SERVICE_URL": signals.server.url,
        "EXECUTION_GATEWAY_URL": gateway_url,
        **PAPER,
        **more,
    }


def price_embedded(environ: dict[str, str], symbols: Sequence[str]) -> None:
    now = datetime.now(UTC)
    quotes = [Quote(Symbol(symbol), Decimal(100), now, "test") for symbol in symbols]
    asyncio.run(put_embedded_prices(read_settings(environ), quotes))


@pytest.fixture
def small(
    tmp_path: Path, signal_service: ServedSignalService, gateway: ServedGateway
) -> Iterator[ServiceProcess]:
    swift = {"REQUEST_RECEIVE_SECONDS": "0.5", "RUN_ANSWER_SECONDS": "1", **LEFT_ALONE}
    environ = embedded(tmp_path, signal_service, gateway.server.url, **swift)
    offer(signal_service, SYMBOLS)
    with running_service(environ, folder=tmp_path) as service:
        price_embedded(environ, SYMBOLS)
        yield service


def test_embedded_parts_need_no_server_and_keep_what_they_did(
    tmp_path: Path, signal_service: ServedSignalService, gateway: ServedGateway
) -> None:
    environ = embedded(tmp_path, signal_service, gateway.server.url)
    offer(signal_service, SYMBOLS)
    with running_service(environ, folder=tmp_path) as service:
        assert service.get("/health").json()["status"] == "healthy"
        price_embedded(environ, SYMBOLS)
        made = service.run(*SYMBOLS)
        assert (made.status_code, made.json()["status"]) == (200, "completed")
        assert service.post(ENGAGE, {"operator": "ann", "reason": "drill"}).status_code == 200
        assert service.stop() == 0
    with running_service(environ, folder=tmp_path) as again:
        assert again.get(f"{RUNS}/{made.json()['run_id']}").json() == made.json()
        refused = again.run(*SYMBOLS)
        assert refused.json()["detail"]["error"] == "Kill-switch engaged"
    assert len(gateway.peer.ledger) == len(SYMBOLS)


@define
class HeldGateway:
    """A gateway that holds the first order back until it is let go."""

    peer: GatewayPeer = field(factory=GatewayPeer)
    arrived: threading.Event = field(factory=threading.Event)
    go_on: threading.Event = field(factory=threading.Event)

    def handle(self, request: Request) -> Answer:
        if request.method == "POST":
            self.arrived.set()
            assert self.go_on.wait(20)
        return self.peer.handle(request)


@contextmanager
def a_held_run(
    folder: Path, signals: ServedSignalService, **more: str
) -> Iterator[tuple[ServiceProcess, HeldGateway]]:
    held = HeldGateway()
    offer(signals, SYMBOLS)
    with running_peer(held.handle) as server:
        environ = embedded(folder, signals, server.url, **more)
        with running_service(environ, folder=folder) as service:
            price_embedded(environ, SYMBOLS)
            try:
                yield service, held
            finally:
                held.go_on.set()


def ask_and_disconnect(service: ServiceProcess, held: HeldGateway) -> None:
    body = json.dumps({"symbols": SYMBOLS}).encode()
    with socket.create_connection(service.address) as connection:
        connection.sendall(a_post(RUN, len(body)) + body)
        assert held.arrived.wait(20)


def test_a_stop_lets_the_wave_in_flight_end_and_sends_no_other(
    tmp_path: Path, signal_service: ServedSignalService
) -> None:
    with a_held_run(tmp_path, signal_service, MAX_IN_FLIGHT_ORDERS="1") as (service, held):
        with ThreadPoolExecutor() as pool:
            asking = pool.submit(service.run, *SYMBOLS)
            assert held.arrived.wait(20)
            service.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not can_connect(service.address), what="the stop")
            held.go_on.set()
            response = asking.result(20)
        assert service.process.wait(20) == 0
    result = response.json()
    assert (response.status_code, result["status"]) == (200, "partial")
    assert result["num_orders_accepted"] == len(held.peer.ledger) == 1
    stopped = [m for m in result["mappings"] if m["order_status"] == "rejected"]
    assert {m["skip_reason"] for m in stopped} == {"submission_failed: the service is stopping"}


def can_connect(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("answer_seconds", ["0.1", "30"])
def test_a_stop_waits_for_a_run_that_nobody_waits_for(
    tmp_path: Path, signal_service: ServedSignalService, answer_seconds: str
) -> None:
    swift = {"RUN_ANSWER_SECONDS": answer_seconds}
    with a_held_run(tmp_path, signal_service, **swift) as (service, held):
        ask_and_disconnect(service, held)
        time.sleep(0.2)
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: service.events("stopping"), what="the stop")
        time.sleep(0.3)
        assert service.process.poll() is None
        held.go_on.set()
        assert service.process.wait(20) == 0
        wait_until(lambda: service.events("stopped"))
        [ended] = service.events("run ended")
    assert (ended["status"], ended["accepted"]) == ("completed", len(SYMBOLS))


def test_a_stop_waits_no_longer_than_told(
    tmp_path: Path, signal_service: ServedSignalService
) -> None:
    with a_held_run(tmp_path, signal_service, STOP_SECONDS="0.3") as (service, held):
        ask_and_disconnect(service, held)
        began = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - began < 8
        wait_until(lambda: service.events("stopped with runs under way"))


def test_a_client_that_disconnects_does_not_stop_its_run(
    tmp_path: Path, signal_service: ServedSignalService
) -> None:
    with a_held_run(tmp_path, signal_service) as (service, held):
        ask_and_disconnect(service, held)
        held.go_on.set()
        wait_until(lambda: service.events("run ended"), what="the run's end")
        [row] = service.get(RUNS).json()["runs"]
        assert (row["status"], row["num_orders_accepted"]) == ("completed", len(SYMBOLS))


def a_post(path: str, length: int) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def everything_from(connection: socket.socket) -> bytes:
    connection.settimeout(10)
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def test_a_body_that_is_half_sent_is_answered_408_and_closed(small: ServiceProcess) -> None:
    with socket.create_connection(small.address) as connection:
        connection.sendall(a_post(RUN, 1000) + b'{"symbols": [')
        received = everything_from(connection)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.5 s" in received


@pytest.mark.parametrize(
    "sent", [b"", b"POST /api/v1/orch", b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: "]
)
def test_headers_that_are_half_sent_are_closed(small: ServiceProcess, sent: bytes) -> None:
    with socket.create_connection(small.address) as connection:
        connection.sendall(sent)
        began = time.monotonic()
        assert everything_from(connection) == b""
        assert time.monotonic() - began < 5


def send_until_refused(connection: socket.socket, part: bytes, *, pause: float) -> None:
    connection.settimeout(10)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        connection.sendall(part)
        time.sleep(pause)


def test_headers_that_drip_are_closed(small: ServiceProcess) -> None:
    with socket.create_connection(small.address) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            send_until_refused(connection, b"X-Slow: 1\r\n", pause=0.05)


def test_headers_that_are_too_large_are_closed(small: ServiceProcess) -> None:
    with socket.create_connection(small.address) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        began = time.monotonic()
        with pytest.raises(OSError, match=r"Broken pipe|reset"):
            send_until_refused(connection, b"X-Large: " + b"x" * 4096 + b"\r\n", pause=0.001)
        assert time.monotonic() - began < 0.5


def test_slow_clients_do_not_hold_up_others(small: ServiceProcess) -> None:
    with ExitStack() as stack:
        for _ in range(50):
            slow = stack.enter_context(socket.create_connection(small.address))
            slow.sendall(a_post(RUN, 1000) + b"{")
        began = time.monotonic()
        assert small.get("/health").json()["status"] == "healthy"
        assert time.monotonic() - began < 1


def test_a_gateway_that_took_the_order_and_dropped_the_connection_is_202(
    small: ServiceProcess, gateway: ServedGateway
) -> None:
    gateway.peer.play("MSFT", Trick(wire=Wire.CLOSE))
    response = small.run(*SYMBOLS)
    result = response.json()
    assert (response.status_code, result["status"]) == (202, "running")
    by_symbol = {mapping["symbol"]: mapping for mapping in result["mappings"]}
    assert by_symbol["MSFT"]["order_status"] == "unknown"
    assert by_symbol["MSFT"]["skip_reason"].startswith("outcome_unknown: ")
    assert by_symbol["AAPL"]["order_status"] == "accepted"
    assert by_symbol["MSFT"]["client_order_id"] in gateway.peer.ledger
    assert small.get(f"{RUNS}/{result['run_id']}").json() == result
    again = small.run(*SYMBOLS).json()
    assert again["status"] == "running"
    assert len(gateway.peer.posts) == len(SYMBOLS)


def test_two_thousand_symbols(
    tmp_path: Path, signal_service: ServedSignalService, gateway: ServedGateway
) -> None:
    symbols = [f"S{number}" for number in range(2000)]
    environ = embedded(tmp_path, signal_service, gateway.server.url)
    offer(signal_service, symbols, weight=0.0004)
    with running_service(environ, folder=tmp_path) as service:
        service.get("/ready")
        price_embedded(environ, symbols)
        response = service.run(*symbols, dry_run=True)
        result = response.json()
        assert (response.status_code, result["status"]) == (200, "completed")
        assert [mapping["symbol"] for mapping in result["mappings"]] == symbols
        assert service.get(f"{RUNS}/{result['run_id']}").json() == result
    assert gateway.peer.posts == []


def test_a_port_in_use_and_a_bad_setting_are_one_line_each(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for environ, code, words in (
            ({"PORT": str(port)}, 3, f"cannot listen on 127.0.0.1:{port}: the port is in use\n"),
            ({"DRY_RUN": "maybe"}, 2, "DRY_RUN: expected true or false, got 'maybe'\n"),
        ):
            ended = subprocess.run(
                command(),
                env=environment({"ORCHESTRATOR_EMBEDDED": "1", **environ}),
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            assert (ended.returncode, ended.stderr) == (code, words)


def test_it_starts_with_everything_down_and_recovers_by_itself(
    tmp_path: Path, parts: Parts
) -> None:
    with ExitStack() as stack:
        for server in (parts.postgres, parts.redis):
            server.stop()
            stack.callback(start_if_down, server)
        parts.signals.server.stop_listening()
        parts.gateway.server.stop_listening()
        service = stack.enter_context(running_service(parts.environ, folder=tmp_path))

        began = time.monotonic()
        health = service.get("/health")
        assert (health.status_code, health.json()["status"]) == (200, "unhealthy")
        assert time.monotonic() - began < 3
        assert service.get("/ready").status_code == 503
        assert service.run(*SYMBOLS).status_code == 503
        engaged = service.post(ENGAGE, {"operator": "ann", "reason": "drill"})
        assert engaged.json()["detail"]["message"].startswith("NOT engaged")

        parts.postgres.start()
        wait_until(lambda: service.get("/health").json()["database_connected"], what="Postgres")
        assert service.run(*SYMBOLS).json()["detail"]["error"] == "Kill-switch unavailable"
        parts.redis.start()
        begun = service.post(DISENGAGE, {"operator": "ann", "notes": "first start"})
        assert begun.status_code == 200, begun.text
        failed = service.run(*SYMBOLS)
        assert failed.json()["detail"]["error"] == "Signal Service unavailable"
        parts.signals.server.listen_again()
        parts.gateway.server.listen_again()
        wait_until(lambda: service.get("/ready").status_code == 200, what="readiness")
        price_in_redis(parts.redis, SYMBOLS)
        made = service.run(*SYMBOLS)
        assert (made.status_code, made.json()["status"]) == (200, "completed")
        assert service.get(RUNS).json()["total"] == 2
        assert service.stop() == 0


def start_if_down(server: PostgresServer | RedisServer) -> None:
    if not server.is_running:
        server.start()


def test_thirty_two_runs_at_once_order_each_symbol_once(tmp_path: Path, parts: Parts) -> None:
    with running_service(parts.environ, folder=tmp_path) as service:
        assert service.post(DISENGAGE, {"operator": "ann"}).status_code == 200
        price_in_redis(parts.redis, SYMBOLS)
        with ThreadPoolExecutor(32) as pool:
            answers = list(pool.map(lambda _: service.run(*SYMBOLS), range(32)))
        assert {answer.status_code for answer in answers} <= {200, 202}
        posted = sorted(request.json()["symbol"] for request in parts.gateway.peer.posts)
        assert posted == sorted(SYMBOLS)
        wait_until(
            lambda: service.get(f"{RUNS}?status=completed").json()["total"] == 32,
            what="the end of all runs",
        )


def test_a_redis_that_goes_away_stops_runs_until_it_is_back(tmp_path: Path, parts: Parts) -> None:
    with running_service(parts.environ, folder=tmp_path) as service:
        service.post(DISENGAGE, {"operator": "ann"})
        price_in_redis(parts.redis, SYMBOLS)
        parts.redis.pause()
        try:
            began = time.monotonic()
            refused = service.run(*SYMBOLS)
            assert time.monotonic() - began < 3
        finally:
            parts.redis.resume()
        assert refused.json()["detail"]["error"] == "Kill-switch unavailable"
        with parts.redis.administered() as client:
            client.replicaof("127.0.0.1", "1")
            try:
                demoted = service.run(*SYMBOLS)
            finally:
                client.replicaof("NO", "ONE")
        assert demoted.json()["detail"]["fail_closed"] is True
        assert service.get(RUNS).json()["total"] == 0
        wait_until(lambda: service.get("/ready").status_code == 200, what="readiness")
        price_in_redis(parts.redis, SYMBOLS)
        assert service.run(*SYMBOLS).status_code == 200
    assert len(parts.gateway.peer.posts) == len(SYMBOLS)


def test_a_postgres_that_goes_away_mid_run_loses_nothing(tmp_path: Path, parts: Parts) -> None:
    """The orders are at the gateway, the outcomes cannot be stored: the run is found again."""
    with ExitStack() as stack:
        stack.callback(start_if_down, parts.postgres)
        peer = parts.gateway.peer
        handle = peer.handle

        def stop_the_database(request: Request) -> Answer:
            if request.method == "POST" and len(peer.posts) == len(SYMBOLS) - 1:
                parts.postgres.stop(immediate=True)
            return handle(request)

        server = stack.enter_context(running_peer(stop_the_database))
        swift = {**SWIFT, "PERSIST_SECONDS": "0.5", "RUN_ANSWER_SECONDS": "2"}
        environ = {**parts.environ, "EXECUTION_GATEWAY_URL": server.url, **swift}
        service = stack.enter_context(running_service(environ, folder=tmp_path))
        service.post(DISENGAGE, {"operator": "ann"})
        price_in_redis(parts.redis, SYMBOLS)
        response = service.run(*SYMBOLS)
        result = response.json()
        assert (response.status_code, result["status"]) == (202, "running")
        assert {m["order_status"] for m in result["mappings"]} == {"unknown"}
        assert len(peer.ledger) == len(SYMBOLS)
        parts.postgres.start()
        wait_until(
            lambda: service.get(f"{RUNS}/{result['run_id']}").status_code == 200, what="the run"
        )
        stored = service.get(f"{RUNS}/{result['run_id']}").json()
        assert (stored["status"], stored["num_orders_open"]) == ("running", len(SYMBOLS))
        price_in_redis(parts.redis, SYMBOLS)
        again = service.run(*SYMBOLS).json()
        for run_id in (result["run_id"], again["run_id"]):
            ended = service.get(f"{RUNS}/{run_id}?wait=30").json()
            assert (ended["status"], ended["num_orders_accepted"]) == ("completed", len(SYMBOLS))
        assert len(peer.posts) == len(SYMBOLS)


def test_an_unsigned_service_warns_once_and_a_signed_one_signs(
    tmp_path: Path, signal_service: ServedSignalService, gateway: ServedGateway
) -> None:
    for secret, warnings, signed in (("", 1, False), ("hush", 0, True)):
        environ = embedded(
            tmp_path, signal_service, gateway.server.url, INTERNAL_TOKEN_SECRET=secret
        )
        with running_service(environ, folder=tmp_path) as service:
            service.run(*SYMBOLS)
            told = [line for line in service.lines if "not signed" in line["event"]]
            assert len(told) == warnings
            assert ("x-internal-token" in signal_service.peer.seen[-1].headers) is signed
            assert "hush" not in str(service.lines) + service.get("/health").text
