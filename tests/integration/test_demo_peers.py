"""The demo's peers speak the contract that the service's adapters expect."""

import hashlib
import json
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from math import fsum, isclose
from typing import Any
from uuid import uuid4

import httpx
import pytest
from attrs import evolve

from orchestrator_adapters.conformance.orders import an_intent
from orchestrator_adapters.event_loop import SystemClock
from orchestrator_adapters.http.client import PeerClient
from orchestrator_adapters.http.orders import HttpOrderSink
from orchestrator_core.ports import Inquiry, LookUpKind
from orchestrator_entrypoints.demo.exchanges import sign
from orchestrator_entrypoints.demo.peers import DRY_RUN, PAPER, Peers, running_peers
from orchestrator_entrypoints.demo.peers import main as serve_peers

ORDER = {
    "symbol": "AAPL",
    "side": "buy",
    "qty": 10,
    "order_type": "market",
    "time_in_force": "day",
    "client_order_id": "o1abcdefghijklmnopqrstuv",
}


@pytest.fixture(scope="module")
def shared_peers() -> Iterator[Peers]:
    with running_peers(flags=PAPER) as peers:
        yield peers


@pytest.fixture
def peers() -> Iterator[Peers]:
    with running_peers(flags=PAPER) as peers:
        yield peers


def generate(peers: Peers, body: object) -> httpx.Response:
    url = f"{peers.signal_service_url}/api/v1/signals/generate"
    return httpx.post(url, content=json.dumps(body), trust_env=False)


def place(peers: Peers, **changes: Any) -> httpx.Response:
    url = f"{peers.execution_gateway_url}/api/v1/orders"
    return httpx.post(url, json=ORDER | changes, trust_env=False)


def look_up(peers: Peers, path: str) -> httpx.Response:
    return httpx.get(f"{peers.execution_gateway_url}{path}", trust_env=False)


def test_signals_answer_for_the_last_day_where_no_date_is_asked(shared_peers: Peers) -> None:
    answer = generate(shared_peers, {"symbols": ["AAPL", "XOM", "KO", "MSFT"]})
    assert answer.status_code == 200
    body = answer.json()
    assert body["metadata"]["as_of_date"] == "2022-12-28"
    assert body["metadata"]["num_signals"] == len(body["signals"]) == 4
    weights = [signal["target_weight"] for signal in body["signals"]]
    assert isclose(fsum(weight for weight in weights if weight > 0), 1)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 422),
        ({}, 422),
        ({"symbols": []}, 422),
        ({"symbols": ["aapl"]}, 422),
        ({"symbols": ["AAPL", "AAPL"]}, 422),
        ({"symbols": ["AAPL"], "as_of_date": "28.12.2022"}, 422),
        ({"symbols": ["AAPL"], "top_n": -1}, 422),
        ({"symbols": ["AAPL"], "as_of_date": "2023-06-01"}, 404),
        ({"symbols": ["TSLA"]}, 404),
    ],
)
def test_signals_refuse_what_they_cannot_answer(
    shared_peers: Peers, body: object, status: int
) -> None:
    answer = generate(shared_peers, body)
    assert answer.status_code == status
    assert "detail" in answer.json()


def test_an_order_is_taken_once_and_filled_at_the_close(peers: Peers) -> None:
    first, second = place(peers), place(peers)
    assert first.status_code == second.status_code == 200
    assert first.json()["status"] == "accepted"
    assert first.json()["broker_order_id"] == second.json()["broker_order_id"]
    assert len(peers.ledger.orders) == 1
    found = look_up(peers, f"/api/v1/orders/{ORDER['client_order_id']}").json()
    assert (found["status"], found["filled_qty"], found["filled_avg_price"]) == (
        "filled",
        "10",
        "125.674",
    )
    (held,) = look_up(peers, "/api/v1/positions").json()["positions"]
    assert (held["symbol"], held["qty"]) == ("AAPL", "10")


def test_an_id_with_another_order_is_a_conflict(peers: Peers) -> None:
    place(peers)
    assert place(peers, qty=11).status_code == 409
    assert len(peers.ledger.orders) == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"symbol": "aapl"}, 422),
        ({"qty": 0}, 422),
        ({"qty": 1.5}, 422),
        ({"qty": True}, 422),
        ({"qty": 10_001}, 422),
        ({"qty": 1000}, 422),
        ({"side": "hold"}, 422),
        ({"order_type": "iceberg"}, 422),
        ({"time_in_force": None}, 422),
        ({"client_order_id": "x" * 25}, 422),
        ({"order_type": "limit"}, 400),
        ({"limit_price": "100"}, 400),
        ({"stop_price": "100"}, 400),
        ({"order_type": "limit", "limit_price": "NaN"}, 422),
    ],
)
def test_the_gateway_refuses_what_is_no_order(
    shared_peers: Peers, changes: dict[str, Any], status: int
) -> None:
    assert place(shared_peers, **changes).status_code == status
    assert shared_peers.ledger.find(ORDER["client_order_id"]) is None  # type: ignore[arg-type]


def test_an_open_order_is_canceled_and_a_filled_one_is_not(peers: Peers) -> None:
    def cancel(id_: str) -> httpx.Response:
        url = f"{peers.execution_gateway_url}/api/v1/orders/{id_}/cancel"
        return httpx.post(url, trust_env=False)

    place(peers, client_order_id="filled")
    place(peers, client_order_id="open", order_type="limit", limit_price="100")
    assert cancel("open").json()["status"] == "canceled"
    assert cancel("open").status_code == 200
    assert cancel("filled").status_code == 409
    assert cancel("unheard-of").status_code == 404


def test_a_dry_run_gateway_acknowledges_and_holds_nothing() -> None:
    with running_peers(flags=DRY_RUN) as peers:
        answer = place(peers).json()
        assert (answer["status"], answer["broker_order_id"]) == ("dry_run", None)
        assert look_up(peers, "/api/v1/config").json()["dry_run"] is True
        assert look_up(peers, "/api/v1/positions").json()["positions"] == []


@asynccontextmanager
async def a_sink(peers: Peers) -> AsyncIterator[HttpOrderSink]:
    clock = SystemClock()
    client = PeerClient(peers.execution_gateway_url, clock=clock)
    yield HttpOrderSink(client, clock=clock)
    await client.aclose()


MICROSOFT = Inquiry(an_intent("MSFT"))
APPLE = Inquiry(an_intent("AAPL"))


@pytest.mark.anyio
async def test_what_was_filled_is_looked_up_and_needs_no_cancel(peers: Peers) -> None:
    async with a_sink(peers) as sink:
        await sink.submit([APPLE.intent], deadline=math.inf)
        found, absent = await sink.look_up([APPLE, MICROSOFT])
        assert (found.kind, absent.kind) == (LookUpKind.ACCEPTED, LookUpKind.ABSENT)
        assert found.report is not None
        assert (found.report.status, found.report.filled_qty) == ("filled", Decimal(10))
        filled, unheard_of = await sink.cancel([APPLE, MICROSOFT])
        assert (filled.is_requested, unheard_of.is_requested) == (True, False)
        [again] = await sink.look_up([APPLE])
        assert again == found


@pytest.mark.anyio
async def test_where_nothing_fills_an_order_stays_open_until_it_is_canceled(peers: Peers) -> None:
    peers.ledger.fills = False
    async with a_sink(peers) as sink:
        await sink.submit([APPLE.intent], deadline=math.inf)
        [before] = await sink.look_up([APPLE])
        outcomes = [*await sink.cancel([APPLE]), *await sink.cancel([APPLE])]
        [after] = await sink.look_up([APPLE])
    assert all(outcome.is_requested for outcome in outcomes)
    assert before.report is not None
    assert (before.report.status, before.report.filled_qty) == ("accepted", Decimal(0))
    assert after == evolve(before, report=evolve(before.report, status="canceled"))


@pytest.mark.anyio
async def test_a_dry_run_is_on_record_and_needs_no_cancel() -> None:
    with running_peers(flags=DRY_RUN) as peers:
        async with a_sink(peers) as sink:
            await sink.submit([APPLE.intent], deadline=math.inf)
            [found] = await sink.look_up([APPLE])
            [outcome] = await sink.cancel([APPLE])
    assert found.kind is LookUpKind.ACCEPTED
    assert found.report is not None
    assert found.report.status == "dry_run"
    assert outcome.is_requested


@pytest.mark.anyio
async def test_another_order_under_the_id_is_a_conflict(peers: Peers) -> None:
    async with a_sink(peers) as sink:
        await sink.submit([APPLE.intent], deadline=math.inf)
        [found] = await sink.look_up([Inquiry(evolve(APPLE.intent, qty=11))])
    assert (found.kind, found.report) == (LookUpKind.CONFLICT, None)


def signed(method: str, path: str, body: bytes, *, secret: str, **changes: str) -> dict[str, str]:
    parts = {
        "service_id": "orchestrator",
        "method": method,
        "path": path,
        "query": "",
        "timestamp": str(int(time.time())),
        "nonce": str(uuid4()),
        "user_id": "",
        "strategy_id": "",
        "body_hash": hashlib.sha256(body).hexdigest(),
    } | changes
    return {
        "X-Internal-Token": sign(secret, parts),
        "X-Internal-Timestamp": parts["timestamp"],
        "X-Internal-Nonce": parts["nonce"],
        "X-Service-ID": parts["service_id"],
        "X-Body-Hash": parts["body_hash"],
    }


def test_with_a_secret_only_signed_requests_pass_and_each_once() -> None:
    with running_peers(flags=PAPER, secret="s3cret") as peers:
        body = json.dumps({"symbols": ["AAPL"]}).encode()
        path = "/api/v1/signals/generate"

        def ask(headers: dict[str, str], content: bytes = body) -> int:
            url = f"{peers.signal_service_url}{path}"
            return httpx.post(url, content=content, headers=headers, trust_env=False).status_code

        good = signed("POST", path, body, secret="s3cret")
        assert ask(good) == 200
        assert ask(good) == 401, "a nonce is good once"
        assert ask({}) == 401
        assert ask(signed("POST", path, body, secret="guess")) == 401
        assert ask(signed("GET", path, body, secret="s3cret")) == 401
        assert ask(signed("POST", path, body, secret="s3cret", timestamp="1000")) == 401
        assert ask(signed("POST", path, body, secret="s3cret"), b"{}") == 401
        assert httpx.get(f"{peers.signal_service_url}/ready", trust_env=False).status_code == 200


def test_a_taken_port_is_told_and_leaves_nothing_behind(
    shared_peers: Peers, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = int(shared_peers.signal_service_url.rpartition(":")[2])
    with (
        pytest.raises(OSError, match="in use"),
        running_peers(flags=PAPER, gateway_port=taken),
    ):
        pass
    assert serve_peers(["--gateway-port", str(taken)]) == 1
    assert f"127.0.0.1:{taken}" in capsys.readouterr().err
    assert serve_peers(["--gateway-port", "70000"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
