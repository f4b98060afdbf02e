"""What an operator sets for a strategy while the service runs, over HTTP."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from orchestrator_core.errors import OutcomeUnknown
from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import Position
from tests.unit.http_stage import CONTROLS, REARM, REDUCE_ONLY, Stage, a_stage, unavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with a_stage() as ready:
        yield ready


async def reduce_only(stage: Stage, *, on: bool, notes: str = "fast market") -> httpx.Response:
    body = {"on": on, "operator": " ann ", "notes": notes}
    return await stage.client.post(REDUCE_ONLY, json=body)


async def rearm(stage: Stage) -> httpx.Response:
    return await stage.client.post(REARM, json={"operator": "bob", "notes": "feed mended"})


async def fail_runs(stage: Stage, count: int) -> None:
    stage.faulty_signals.error = unavailable("signals")
    for _ in range(count):
        assert (await stage.run()).status_code == 503
    stage.faulty_signals.works()


async def test_controls_are_off_until_somebody_turns_them_on(stage: Stage) -> None:
    response = await stage.client.get(CONTROLS)
    assert response.status_code == 200
    assert response.json() == {
        "strategy_id": "alpha_baseline",
        "reduce_only": False,
        "reduce_only_by": [],
        "failed_runs": None,
        "max_failed_runs": None,
        "throttled": False,
        "events": [],
        "drained": None,
        "in_flight": None,
    }


async def test_reduce_only_mode_denies_growth_at_once_until_it_is_turned_off(stage: Stage) -> None:
    stage.positions.put([Position(Symbol("MSFT"), -80)])
    turned_on = (await reduce_only(stage, on=True)).json()
    assert (turned_on["reduce_only"], turned_on["reduce_only_by"]) == (True, ["operator"])
    assert (turned_on["drained"], turned_on["in_flight"]) == (True, 0)
    [event] = turned_on["events"]
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "REDUCE_ONLY_ON", "operator": "ann", "notes": "fast market"}
    grown, shrunk = (await stage.run()).json()["mappings"]
    assert grown["skip_reason"] == "denied: REDUCE_ONLY position=0 on_order=0 qty=50"
    assert shrunk["order_state"] == "accepted"
    turned_off = (await reduce_only(stage, on=False, notes="calm")).json()
    assert (turned_off["reduce_only"], len(turned_off["events"])) == (False, 2)
    assert turned_off["events"][0]["event"] == "REDUCE_ONLY_OFF"
    assert (await stage.run("AAPL")).json()["mappings"][0]["order_state"] == "accepted"


async def test_turning_reduce_only_mode_on_raises_the_epoch_that_claims_need(stage: Stage) -> None:
    before = await stage.orchestrator.ports.runs.read_latch()
    await reduce_only(stage, on=True)
    after = await stage.orchestrator.ports.runs.read_latch()
    assert before is not None
    assert after is not None
    assert (after.engaged, after.epoch) == (False, before.epoch + 1)


async def test_what_is_not_on_cannot_be_turned_off(stage: Stage) -> None:
    response = await reduce_only(stage, on=False)
    assert response.status_code == 400
    assert response.json() == {"detail": "reduce-only mode is not on"}


async def test_what_a_setting_has_on_cannot_be_turned_off_while_the_service_runs() -> None:
    async with a_stage(REDUCE_ONLY="true") as stage:
        shown = (await stage.client.get(CONTROLS)).json()
        assert (shown["reduce_only"], shown["reduce_only_by"]) == (True, ["setting"])
        assert (await reduce_only(stage, on=True)).json()["reduce_only_by"] == [
            "setting",
            "operator",
        ]
        response = await reduce_only(stage, on=False)
        assert response.status_code == 400
        assert response.json()["detail"].startswith("REDUCE_ONLY is set in the service's")
        assert len((await stage.client.get(CONTROLS)).json()["events"]) == 1


async def test_a_strategy_that_fails_too_often_waits_for_an_operator() -> None:
    async with a_stage(MAX_FAILED_RUNS="2") as stage:
        await fail_runs(stage, 2)
        response = await stage.run()
        assert response.status_code == 503
        detail = response.json()["detail"]
        assert (detail["error"], detail["fail_closed"]) == ("Strategy throttled", True)
        assert not stage.sink.ledger
        shown = (await stage.client.get(CONTROLS)).json()
        assert (shown["failed_runs"], shown["max_failed_runs"], shown["throttled"]) == (2, 2, True)
        ready = await stage.client.get("/ready")
        assert ready.status_code == 503
        assert ready.json()["detail"]["reasons"] == [
            "throttled: 2 runs in a row failed; to go on: orchestrator controls rearm"
        ]
        rearmed = (await rearm(stage)).json()
        assert (rearmed["failed_runs"], rearmed["throttled"]) == (0, False)
        assert rearmed["events"][0]["event"] == "REARMED"
        assert (await stage.run()).json()["status"] == "completed"


async def test_health_readiness_and_metrics_tell_of_the_controls() -> None:
    async with a_stage(MAX_FAILED_RUNS="3") as stage:
        await reduce_only(stage, on=True)
        await fail_runs(stage, 1)
        details = (await stage.client.get("/health")).json()["details"]
        assert details["controls"] == {
            "reduce_only": True,
            "reduce_only_by": ["operator"],
            "failed_runs": 1,
            "max_failed_runs": 3,
            "throttled": False,
        }
        ready = await stage.client.get("/ready")
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "reduce_only": True})
        assert stage.count("orchestrator_reduce_only") == 1
        assert stage.count("orchestrator_failed_runs_in_a_row") == 1
        assert stage.count("orchestrator_throttled") == 0


async def test_controls_that_cannot_be_read_are_not_known_and_not_ready(stage: Stage) -> None:
    stage.faulty_runs.only = frozenset({"read_controls"})
    stage.faulty_runs.error = unavailable("runs", "refused")
    assert (await stage.client.get(CONTROLS)).status_code == 503
    details = (await stage.client.get("/health")).json()["details"]["controls"]
    assert (details["reduce_only"], details["throttled"]) == (None, None)
    reasons = (await stage.client.get("/ready")).json()["detail"]["reasons"]
    assert reasons == ["controls: refused"]
    assert (await stage.run()).status_code == 503
    assert not stage.sink.ledger


@pytest.mark.parametrize("path", [REDUCE_ONLY, REARM])
@pytest.mark.parametrize(
    ("changes", "status", "loc"),
    [
        ({"operator": None}, 422, "operator"),
        ({"notes": 5}, 422, "notes"),
        ({"operator": "  "}, 400, None),
        ({"notes": ""}, 400, None),
    ],
)
async def test_who_and_why_must_be_said(
    stage: Stage, path: str, changes: dict[str, Any], status: int, loc: str | None
) -> None:
    body = {"on": True, "operator": "ann", "notes": "why", **changes}
    response = await stage.client.post(path, json=body)
    assert response.status_code == status
    if loc is not None:
        assert response.json()["detail"][0]["loc"] == ["body", loc]
    assert (await stage.client.get(CONTROLS)).json()["events"] == []


@pytest.mark.parametrize("on", ["true", 1, None])
async def test_on_is_a_truth_value(stage: Stage, on: object) -> None:
    body = {"on": on, "operator": "ann", "notes": "why"}
    response = await stage.client.post(REDUCE_ONLY, json=body)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "on"]


@pytest.mark.parametrize("path", [REDUCE_ONLY, REARM])
async def test_only_json_is_taken(stage: Stage, path: str) -> None:
    response = await stage.client.post(path, content=b"{}", headers={"Content-Type": "text/plain"})
    assert response.status_code == 415


async def test_nothing_is_recorded_where_runs_under_way_could_not_be_stopped(stage: Stage) -> None:
    stage.switch.put_text(None)
    response = await reduce_only(stage, on=True)
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert (detail["error"], detail["fail_closed"]) == ("Kill-switch unavailable", True)
    assert "runs under way cannot be stopped" in detail["message"]
    assert (await stage.client.get(CONTROLS)).json()["events"] == []


async def test_a_change_recorded_though_the_shared_state_could_not_be_stamped_says_so(
    stage: Stage,
) -> None:
    stage.faulty_switch.only = frozenset({"stamp"})
    stage.faulty_switch.error = unavailable("kill_switch", "down")
    response = await reduce_only(stage, on=True)
    assert response.status_code == 503
    assert "reduce-only mode is recorded" in response.json()["detail"]["message"]
    stage.faulty_switch.works()
    assert (await stage.client.get(CONTROLS)).json()["reduce_only"] is True
    assert (await stage.run()).status_code == 503
    assert (await stage.disengage()).status_code == 200
    [mapping] = (await stage.run("AAPL")).json()["mappings"]
    assert mapping["skip_reason"].startswith("denied: REDUCE_ONLY ")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (unavailable("runs", "refused"), "refused"),
        (OutcomeUnknown("runs", "add_control_event", "lost"), "it may or may not be recorded"),
    ],
)
async def test_a_run_database_that_fails_is_503(stage: Stage, error: Exception, words: str) -> None:
    stage.faulty_runs.only = frozenset({"add_control_event"})
    stage.faulty_runs.error = error
    response = await rearm(stage)
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert detail["error"] == "Run database unavailable"
    assert detail["message"].startswith(words)
