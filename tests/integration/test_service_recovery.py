"""Two replicas over real servers: what one leaves behind, the other settles."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from attrs import define, field

from orchestrator_entrypoints.cli import main
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from tests.integration.service_parts import (
    DISENGAGE,
    ENGAGE,
    HISTORY,
    LEFT_ALONE,
    SWIFT,
    SYMBOLS,
    Parts,
    offer,
    price_in_redis,
)
from tests.servers.peers import Answer, Trick, Wire
from tests.servers.service import RUN, RUNS, ServiceProcess, running_service, wait_until

Captured = pytest.CaptureFixture[str]


@define
class Replicas:
    """Services that share every server; trading is let through."""

    parts: Parts
    folder: Path
    stack: ExitStack
    pool: ThreadPoolExecutor = field(factory=ThreadPoolExecutor)

    def start(self, **more: str) -> ServiceProcess:
        environ = {**self.parts.environ, **SWIFT, **more}
        return self.stack.enter_context(running_service(environ, folder=self.folder))

    def start_two(self, **more: str) -> tuple[ServiceProcess, ServiceProcess]:
        first, second = self.start(**more), self.start(**more)
        assert first.post(DISENGAGE, {"operator": "ann"}).status_code == 200
        price_in_redis(self.parts.redis, SYMBOLS)
        return first, second

    def ask(self, service: ServiceProcess, *symbols: str, key: str) -> "Future[httpx.Response]":
        """Ask for a run under a key, in the background: the service may not live to answer."""
        return self.pool.submit(
            httpx.post,
            service.url + RUN,
            json={"symbols": symbols},
            headers={"Idempotency-Key": key},
            timeout=30,
            trust_env=False,
        )


@pytest.fixture
def replicas(parts: Parts, tmp_path: Path) -> Iterator[Replicas]:
    with ExitStack() as stack:
        replicas = Replicas(parts, tmp_path, stack)
        stack.enter_context(replicas.pool)
        yield replicas


def kill(service: ServiceProcess) -> None:
    service.process.kill()
    service.process.wait(20)


def posted(parts: Parts) -> list[str]:
    return [request.json()["symbol"] for request in parts.gateway.peer.posts]


def test_a_run_of_a_killed_replica_is_ended_by_another(replicas: Replicas) -> None:
    parts = replicas.parts
    first, second = replicas.start_two(MAX_IN_FLIGHT_ORDERS="1")
    parts.gateway.peer.play("AAPL", Trick(wire=Wire.HANG))
    asking = replicas.ask(first, *SYMBOLS, key="k")
    wait_until(lambda: posted(parts), what="the first order")
    kill(first)
    with pytest.raises(httpx.TransportError):
        asking.result(20)

    refused = replicas.ask(second, *SYMBOLS, key="k").result(20)
    assert refused.status_code == 409
    run_id = refused.json()["detail"]["run_id"]
    ended = second.get(f"{RUNS}/{run_id}?wait=30").json()
    assert (ended["status"], ended["num_orders_accepted"]) == ("completed", len(SYMBOLS))
    assert posted(parts) == list(SYMBOLS)

    again = replicas.ask(second, *SYMBOLS, key="k").result(20)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    assert again.json()["run_id"] == run_id
    [told] = second.events("run recovered")
    assert (told["run_id"], told["settled"]) == (run_id, {"accepted": 1})


def test_a_run_that_was_killed_before_its_plan_is_abandoned_and_frees_its_key(
    replicas: Replicas,
) -> None:
    parts = replicas.parts
    first, second = replicas.start_two()
    parts.signals.peer.script.append(Answer(wire=Wire.HANG))
    asking = replicas.ask(first, *SYMBOLS, key="k")
    wait_until(
        lambda: any(r.path.endswith("generate") for r in parts.signals.peer.seen), what="the ask"
    )
    kill(first)
    with pytest.raises(httpx.TransportError):
        asking.result(20)
    refused = replicas.ask(second, *SYMBOLS, key="k").result(20)
    assert refused.status_code == 409
    abandoned = second.get(f"{RUNS}/{refused.json()['detail']['run_id']}?wait=30").json()
    assert (abandoned["status"], abandoned["mappings"]) == ("failed", [])
    assert abandoned["error_message"].startswith("Run abandoned: ")

    price_in_redis(parts.redis, SYMBOLS)
    made = replicas.ask(second, *SYMBOLS, key="k").result(20)
    assert (made.status_code, made.json()["status"]) == (200, "completed")
    assert posted(parts) == list(SYMBOLS)


def a_lost_order(replicas: Replicas, service: ServiceProcess) -> dict[str, Any]:
    """Make a run whose only order the gateway never saw, as far as it tells."""
    replicas.parts.gateway.peer.play("AAPL", Trick(takes=False, wire=Wire.CLOSE))
    offer(replicas.parts.signals, ["AAPL"])
    result: dict[str, Any] = service.run("AAPL").json()
    assert result["status"] == "running"
    return result


def let_it_age(parts: Parts, seconds: int = 1000) -> None:
    with psycopg.connect(parts.environ["DATABASE_URL"]) as connection:
        connection.execute(
            "UPDATE signal_order_mappings SET claimed_at = claimed_at - make_interval(secs => %s)",
            (seconds,),
        )


def test_an_order_that_nothing_settles_is_closed_by_command(
    replicas: Replicas, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, _ = replicas.start_two()
    for name, value in {**replicas.parts.environ, **SWIFT}.items():
        monkeypatch.setenv(name, value)
    run = a_lost_order(replicas, service)
    id_ = run["mappings"][0]["client_order_id"]
    let_it_age(replicas.parts)

    def recovery() -> dict[str, Any]:
        details: dict[str, Any] = service.get("/health").json()["details"]["recovery"]
        return details

    wait_until(lambda: recovery()["orders_unresolved"] == 1, what="UNRESOLVED")
    assert "orchestrator orders resolve" in recovery()["to_do"]
    assert "orchestrator_orders_unresolved 1.0" in service.get("/metrics").text
    assert main(["orders", "open"]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert id_ in out
    assert "unresolved" in out
    assert "1 order to be settled by hand" in out

    close = ["orders", "resolve", id_, "--operator", "ann", "--evidence", "statement of today"]
    assert main([*close, "--as", "not_placed"]) == ExitCode.DONE
    assert main([*close, "--as", "not_placed"]) == ExitCode.FAILED
    assert "no open order has this id" in capsys.readouterr().err
    ended = service.get(f"{RUNS}/{run['run_id']}").json()
    assert (ended["status"], ended["num_orders_open"]) == ("failed", 0)
    [mapping] = ended["mappings"]
    assert mapping["skip_reason"] == "submission_failed: closed by ann: statement of today"
    wait_until(lambda: recovery()["orders_unresolved"] == 0, what="no UNRESOLVED")
    assert recovery()["to_do"] is None


def test_engaging_cancels_what_any_replica_left_at_the_gateway(replicas: Replicas) -> None:
    first, second = replicas.start_two()
    result = first.run(*SYMBOLS).json()
    body = {"operator": "ann", "reason": "drill", "cancel_open": True}
    engaged = second.post(ENGAGE, body)
    answer = engaged.json()
    assert (engaged.status_code, answer["drained"]) == (200, True)
    assert (answer["cancel_requested"], answer["cancel_failed"]) == (len(SYMBOLS), [])
    ledger = replicas.parts.gateway.peer.ledger
    assert {order["status"] for order in ledger.values()} == {"canceled"}

    def words() -> set[str]:
        mappings = first.get(f"{RUNS}/{result['run_id']}").json()["mappings"]
        return {mapping["order_status"] for mapping in mappings}

    wait_until(lambda: words() == {"canceled"}, what="the news of it")
    assert second.post(ENGAGE, body).status_code == 200


def test_fills_come_true_in_the_answer(replicas: Replicas) -> None:
    first, second = replicas.start_two()
    result = first.run(*SYMBOLS).json()
    later = second.run(*SYMBOLS).json()
    assert (result["num_orders_filled"], later["num_orders_filled"]) == (0, 0)
    for order in replicas.parts.gateway.peer.ledger.values():
        order.update(status="filled", filled_qty=str(order["qty"]), filled_avg_price="99.5")

    def run(run_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = second.get(f"{RUNS}/{run_id}").json()
        return shown

    for run_id in (result["run_id"], later["run_id"]):
        wait_until(lambda id_=run_id: run(id_)["num_orders_filled"] == 3, what="the fills")  # type: ignore[misc]
        assert {m["filled_avg_price"] for m in run(run_id)["mappings"]} == {"99.5"}
    assert run(result["run_id"])["status"] == "completed"


def test_the_history_survives_a_flush_of_redis(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, other = replicas.start_two()
    service.post(ENGAGE, {"operator": "ann", "reason": "drill"})
    service.post(DISENGAGE, {"operator": "bob", "notes": "checked"})
    before = service.get(HISTORY).json()["history"]
    assert [entry["operator"] for entry in before] == ["bob", "ann", "ann"]
    replicas.parts.redis.empty()
    assert other.get(HISTORY).json()["history"] == before
    refused = other.run(*SYMBOLS)
    assert refused.json()["detail"]["error"] == "Kill-switch unavailable"
    for name, value in {**replicas.parts.environ, **SWIFT}.items():
        monkeypatch.setenv(name, value)
    assert main(["kill-switch", "init", "--operator", "cat"]) == ExitCode.DONE
    assert [e["operator"] for e in other.get(HISTORY).json()["history"]][:2] == ["cat", "bob"]


def test_a_budget_a_minute_holds_over_all_replicas(replicas: Replicas) -> None:
    parts = replicas.parts
    first, second = replicas.start_two(MAX_ORDERS_PER_MINUTE="4")
    runs = [
        replicas.pool.submit(service.run, *SYMBOLS, rebalance_key=key)
        for service, key in ((first, "one"), (second, "two"))
    ]
    results = [run.result(60).json() for run in runs]
    # What would have to wait for the rest of the minute would go at too old a price.
    assert sum(result["num_orders_accepted"] for result in results) == len(posted(parts)) == 4
    reasons = {m["skip_reason"] for r in results for m in r["mappings"] if m["skip_reason"]}
    assert all("price " in reason for reason in reasons)


def test_a_budget_in_flight_holds_over_all_replicas(replicas: Replicas) -> None:
    parts = replicas.parts
    symbols = [f"S{number}" for number in range(12)]
    offer(parts.signals, symbols, weight=0.05)
    first, second = replicas.start_two(MAX_ORDERS_IN_FLIGHT="2", **LEFT_ALONE)
    price_in_redis(parts.redis, symbols)
    for symbol in symbols:
        parts.gateway.peer.play(symbol, Trick(wire=Wire.SLOW), Trick(wire=Wire.SLOW))
    parts.gateway.server.most_in_flight = 0
    runs = [
        replicas.pool.submit(service.run, *symbols, rebalance_key=key)
        for service, key in ((first, "one"), (second, "two"))
    ]
    for run in runs:
        assert run.result(60).json()["num_orders_accepted"] == len(symbols)
    assert parts.gateway.server.most_in_flight <= 2 + PROBES


# What each replica may ask beside its orders at one time: health, and the gateway's flags.
PROBES = 4


def test_a_budget_that_cannot_be_asked_lets_nothing_go(replicas: Replicas) -> None:
    parts = replicas.parts
    service, _ = replicas.start_two(MAX_ORDERS_IN_FLIGHT="2")
    with parts.redis.administered() as client:
        client.set("orchestrator:budget:in_flight", "no sorted set")
    refused = service.run(*SYMBOLS)
    assert refused.status_code == 503
    assert json.loads(refused.text)["detail"]["error"] == "Order budget unavailable"
    assert refused.json()["detail"]["fail_closed"] is True
    assert posted(parts) == []
