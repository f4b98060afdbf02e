import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from orchestrator_core import __version__
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Quote, SafetyFlags
from orchestrator_entrypoints.health import FRESH_SECONDS, HealthObserver
from orchestrator_entrypoints.keeper import Keeper
from tests.unit.http_stage import STATUS, Stage, a_stage, unavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with a_stage() as ready:
        yield ready


async def test_the_root_says_what_answers_here(stage: Stage) -> None:
    assert (await stage.client.get("/")).json() == {
        "service": "orchestrator",
        "version": __version__,
        "status": "running",
        "signal_service": "http://localhost:8001",
        "execution_gateway": "http://localhost:8002",
    }


async def test_the_config_shows_the_safety_flags(stage: Stage) -> None:
    config = (await stage.client.get("/api/v1/config")).json()
    assert config.pop("timestamp").endswith("Z")
    assert config == {
        "service": "orchestrator",
        "version": __version__,
        "environment": "dev",
        "dry_run": False,
        "alpaca_paper": True,
        "circuit_breaker_enabled": True,
    }


async def test_a_healthy_service(stage: Stage) -> None:
    health = (await stage.client.get("/health")).json()
    details = health.pop("details")
    assert health.pop("timestamp").endswith("Z")
    assert health == {
        "status": "healthy",
        "service": "orchestrator",
        "version": __version__,
        "signal_service_url": "http://localhost:8001",
        "execution_gateway_url": "http://localhost:8002",
        "signal_service_healthy": True,
        "execution_gateway_healthy": True,
        "database_connected": True,
    }
    assert (details["capital"], details["max_position_size"]) == (100000, 20000)
    assert details["strategy_id"] == "alpha_baseline"
    assert details["kill_switch"]["state"] == "ACTIVE"
    assert details["safety_flags"]["verified"] is True
    assert details["open_orders"] == 0
    assert stage.count("orchestrator_database_connection_status") == 1
    assert stage.count("orchestrator_signal_service_available") == 1
    assert stage.count("orchestrator_execution_gateway_available") == 1
    assert (await stage.client.get("/ready")).json() == {"status": "ready", "reduce_only": False}


async def test_a_database_that_is_down_is_unhealthy(stage: Stage) -> None:
    stage.faulty_runs.error = unavailable()
    response = await stage.client.get("/health")
    health = response.json()
    assert (response.status_code, health["status"]) == (200, "unhealthy")
    assert (health["database_connected"], health["signal_service_healthy"]) == (False, True)
    assert health["details"]["problems"] == {"database": "connection refused"}
    assert stage.count("orchestrator_database_connection_status") == 0
    ready = await stage.client.get("/ready")
    assert ready.status_code == 503
    assert ready.json()["detail"]["error"] == "Not ready"
    assert "run database: connection refused" in ready.json()["detail"]["reasons"]


@pytest.mark.parametrize(
    ("peer", "flag"),
    [("signals", "signal_service_healthy"), ("gateway", "execution_gateway_healthy")],
)
async def test_a_peer_that_is_down_is_degraded(stage: Stage, peer: str, flag: str) -> None:
    stage.faulty_peers[peer].error = unavailable(peer)
    health = (await stage.client.get("/health")).json()
    assert (health["status"], health[flag]) == ("degraded", False)
    assert (await stage.client.get("/ready")).status_code == 503


async def test_a_kill_switch_in_doubt_is_degraded_and_an_engaged_one_is_not(stage: Stage) -> None:
    await stage.engage()
    engaged = (await stage.client.get("/health")).json()
    assert (engaged["status"], engaged["details"]["kill_switch"]["state"]) == ("healthy", "ENGAGED")
    ready = (await stage.client.get("/ready")).json()
    assert ready["detail"]["reasons"] == ["kill switch engaged: drill"]


async def test_a_kill_switch_that_is_gone_is_degraded(stage: Stage) -> None:
    stage.switch.put_text(None)
    health = (await stage.client.get("/health")).json()
    assert (health["status"], health["details"]["kill_switch"]["state"]) == (
        "degraded",
        "UNAVAILABLE",
    )
    assert "kill-switch init" in health["details"]["kill_switch"]["release"]


async def test_a_tripped_breaker_is_not_ready(stage: Stage) -> None:
    stage.breaker.put_text('{"state": "TRIPPED", "trip_reason": "drawdown"}')
    ready = (await stage.client.get("/ready")).json()
    assert ready["detail"]["reasons"] == ["circuit breaker tripped: drawdown"]
    stage.breaker.put_text("not json")
    await asyncio.sleep(1.2 * FRESH_SECONDS)
    assert "circuit breaker: " in (await stage.client.get("/ready")).json()["detail"]["message"]


async def test_a_gateway_whose_flags_do_not_satisfy_is_not_ready(stage: Stage) -> None:
    stage.sink.flags = SafetyFlags(dry_run=False, alpaca_paper=False, circuit_breaker_enabled=True)
    ready = (await stage.client.get("/ready")).json()
    (reason,) = ready["detail"]["reasons"]
    assert reason.startswith("the gateway is less safe than this service claims: ")


async def test_unverified_flags_are_told_and_may_be_allowed() -> None:
    async with (
        a_stage() as strict,
        a_stage(ORCHESTRATOR_ALLOW_UNVERIFIED_GATEWAY="true") as lenient,
    ):
        for stage in (strict, lenient):
            stage.faulty_sink.error = unavailable("orders", "no config")
        assert (await strict.client.get("/ready")).status_code == 503
        assert (await lenient.client.get("/ready")).status_code == 200
        flags = (await lenient.client.get("/health")).json()["details"]["safety_flags"]
        assert flags == {"verified": False, "unverified_gateway_allowed": True, "problem": None}


async def test_health_answers_in_time_whatever_hangs_and_many_at_once_are_one(
    stage: Stage,
) -> None:
    parts = (stage.faulty_runs, stage.faulty_switch, stage.faulty_sink)
    for part in (*parts, *stage.faulty_peers.values()):
        part.hangs = True
    began = time.monotonic()
    answers = await asyncio.gather(*(stage.client.get("/health") for _ in range(50)))
    assert time.monotonic() - began < 3
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["status"] for answer in answers} == {"unhealthy"}
    assert (
        stage.count("orchestrator_port_duration_seconds_count", port="runs", operation="check") == 1
    )


async def test_health_answers_when_a_probe_breaks(stage: Stage) -> None:
    stage.faulty_switch.error = ZeroDivisionError("hush")
    health = (await stage.client.get("/health")).json()
    assert health["status"] == "degraded"
    assert "hush" not in str(health)


async def test_nothing_of_an_outage_sticks(stage: Stage) -> None:
    for part in (stage.faulty_runs, stage.faulty_switch, *stage.faulty_peers.values()):
        part.error = unavailable()
    assert (await stage.client.get("/health")).json()["status"] == "unhealthy"
    assert (await stage.run()).status_code == 503
    for part in (stage.faulty_runs, stage.faulty_switch, *stage.faulty_peers.values()):
        part.works()
    await asyncio.sleep(1.2 * FRESH_SECONDS)
    assert (await stage.client.get("/health")).json()["status"] == "healthy"
    assert (await stage.run()).status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
async def test_metrics_are_prometheus_text(stage: Stage, path: str) -> None:
    await stage.run()
    response = await stage.client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    for name in (
        'orchestrator_runs_total{status="success"} 1.0',
        "orchestrator_orchestration_duration_seconds_bucket",
        "orchestration_duration_seconds_count 1.0",
        "orchestrator_signals_received_total 2.0",
        'orchestrator_orders_submitted_total{status="success"} 2.0',
        "orchestrator_positions_adjusted_total 2.0",
        "orchestrator_database_connection_status",
        "orchestrator_signal_service_available",
        "orchestrator_execution_gateway_available",
    ):
        assert name in response.text
    for bucket in ("1.0", "5.0", "10.0", "30.0", "60.0", "120.0", "300.0", "600.0"):
        assert f'orchestration_duration_seconds_bucket{{le="{bucket}"}}' in response.text


async def test_two_services_in_one_process_count_apart(stage: Stage) -> None:
    async with a_stage() as other:
        await stage.run()
        assert stage.count("orchestrator_runs_total", status="success") == 1
        assert other.count("orchestrator_runs_total", status="success") == 0


async def test_the_docs_page_and_its_files_come_from_here(stage: Stage) -> None:
    page = await stage.client.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.text.replace("http-equiv", "")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "docs.js"):
        assert f"docs/{name}" in page.text
        file = await stage.client.get(f"/docs/{name}")
        assert file.status_code == 200
        assert "max-age" in file.headers["cache-control"]
        unchanged = {"If-None-Match": file.headers["etag"]}
        again = await stage.client.get(f"/docs/{name}", headers=unchanged)
        assert (again.status_code, again.content) == (304, b"")
    assert (await stage.client.get("/docs/docs.html")).status_code == 404


async def test_the_keeper_carries_a_foreign_stop_into_the_latch(stage: Stage) -> None:
    text = stage.switch.get_text()
    assert text is not None
    stage.switch.put_text(
        '{"state": "ENGAGED", "engaged_by": "gateway", "engagement_reason": "loss",'
        ' "engaged_at": "2026-03-02T15:00:00Z"}'
    )
    keeping = asyncio.create_task(
        Keeper(stage.orchestrator, HealthObserver(stage.orchestrator)).rounds().keep()
    )
    try:
        await stage.faulty_switch.called("stamp")
    finally:
        keeping.cancel()
    status = (await stage.client.get(STATUS)).json()
    assert (status["held_by"], status["engaged_by"]) == (
        ["run_database", "shared_state"],
        "gateway",
    )
    assert status["latch_engaged"] is True


async def test_a_run_of_two_thousand_symbols_is_answered_whole() -> None:
    symbols = [f"S{number}" for number in range(2000)]
    async with a_stage(dict.fromkeys(symbols, 0.0004)) as stage:
        now = stage.orchestrator.ports.clock.now()
        stage.prices.put(Quote(Symbol(symbol), Decimal(10), now, "test") for symbol in symbols)
        result = (await stage.run(*symbols)).json()
        assert result["status"] == "completed"
        assert [mapping["symbol"] for mapping in result["mappings"]] == symbols
        assert result["num_orders_accepted"] == len(stage.sink.ledger) == 2000
