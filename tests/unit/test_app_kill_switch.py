from collections.abc import AsyncIterator

import pytest

from orchestrator_adapters.memory.orders import Behaviour
from orchestrator_core.errors import OutcomeUnknown
from orchestrator_core.identifiers import Symbol
from tests.unit.http_stage import DISENGAGE, ENGAGE, HISTORY, STATUS, Stage, a_stage, unavailable

pytestmark = pytest.mark.anyio

PUBLIC = {
    "state",
    "engaged_at",
    "engaged_by",
    "engagement_reason",
    "engagement_details",
    "disengaged_at",
    "disengaged_by",
    "disengagement_notes",
    "engagement_count_today",
}


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with a_stage() as ready:
        yield ready


async def test_the_status_is_the_shared_object_and_what_holds_it(stage: Stage) -> None:
    response = await stage.client.get(STATUS)
    status = response.json()
    assert response.status_code == 200
    assert set(status) >= PUBLIC
    assert (status["state"], status["trading_allowed"]) == ("ACTIVE", True)
    assert (status["held_by"], status["release"]) == ([], None)
    assert (status["shared_state"], status["latch_engaged"]) == ("ACTIVE", False)


async def test_engaging_stops_trading_and_answers_the_barrier(stage: Stage) -> None:
    body = {"reason": "anomaly", "operator": " ann ", "details": {"level": 1.5, "at": [1]}}
    response = await stage.client.post(ENGAGE, json=body)
    answer = response.json()
    assert response.status_code == 200
    assert (answer["state"], answer["engaged_by"]) == ("ENGAGED", "ann")
    assert answer["engagement_reason"] == "anomaly"
    assert answer["engagement_details"] == {"level": 1.5, "at": [1]}
    assert answer["engagement_count_today"] == 1
    assert (answer["durable"], answer["shared"], answer["drained"]) == (True, True, True)
    assert (answer["in_flight"], answer["unresolved"], answer["open_orders"]) == (0, 0, [])
    assert answer["held_by"] == ["run_database", "shared_state"]
    assert not answer["trading_allowed"]
    assert (await stage.client.get(STATUS)).json()["state"] == "ENGAGED"


async def test_engaging_says_what_is_still_on_the_wire(stage: Stage) -> None:
    stage.sink.script(Symbol("AAPL"), [Behaviour.LOSE_ORDER])
    run_id = (await stage.run("AAPL")).json()["run_id"]
    answer = (await stage.engage()).json()
    assert (answer["drained"], answer["in_flight"]) == (False, 1)
    [order] = answer["open_orders"]
    assert (order["run_id"], order["symbol"], order["state"]) == (run_id, "AAPL", "unknown")


async def test_engaging_twice_is_400(stage: Stage) -> None:
    await stage.engage()
    response = await stage.engage()
    assert response.status_code == 400
    assert response.json() == {"detail": "the kill switch is engaged already"}


async def test_engaging_in_one_store_only_is_503_and_says_which(stage: Stage) -> None:
    stage.faulty_switch.error = unavailable("kill_switch", "down")
    response = await stage.engage()
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert (detail["error"], detail["fail_closed"]) == ("Kill-switch engaged in part", True)
    assert "run database only" in detail["message"]
    held = detail["kill_switch"]
    assert (held["state"], held["durable"], held["shared"]) == ("ENGAGED", True, False)
    assert (await stage.client.get(STATUS)).json()["held_by"] == ["run_database"]
    assert (await stage.run()).json()["detail"]["error"] == "Kill-switch engaged"

    stage.faulty_switch.works()
    status = (await stage.client.get(STATUS)).json()
    assert (status["state"], status["shared_state"]) == ("ENGAGED", "ACTIVE")
    assert (status["engaged_by"], status["trading_allowed"]) == ("ann", False)
    completed = await stage.engage()
    assert completed.status_code == 200
    assert completed.json()["shared"]


async def test_engaging_without_the_run_database_still_engages_the_shared_state(
    stage: Stage,
) -> None:
    stage.faulty_runs.error = unavailable()
    response = await stage.engage()
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert "shared state only" in detail["message"]
    assert detail["kill_switch"]["drained"] is False
    assert '"ENGAGED"' in (stage.switch.get_text() or "")


async def test_engaging_in_neither_store_says_so(stage: Stage) -> None:
    stage.faulty_runs.error = unavailable()
    stage.faulty_switch.error = unavailable("kill_switch")
    response = await stage.engage()
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert detail["error"] == "Kill-switch unavailable"
    assert detail["message"].startswith("NOT engaged, in neither store")


async def test_disengaging_lets_runs_through_again(stage: Stage) -> None:
    await stage.engage()
    response = await stage.client.post(DISENGAGE, json={"operator": "bob", "notes": "calm"})
    status = response.json()
    assert response.status_code == 200
    assert (status["state"], status["disengaged_by"]) == ("ACTIVE", "bob")
    assert status["disengagement_notes"] == "calm"
    assert (await stage.run()).status_code == 200


async def test_disengaging_what_is_not_engaged_is_400(stage: Stage) -> None:
    response = await stage.disengage()
    assert response.status_code == 400
    assert response.json() == {"detail": "the kill switch is not engaged"}


async def test_disengaging_re_creates_a_state_that_is_gone(stage: Stage) -> None:
    stage.switch.put_text(None)
    assert (await stage.client.get(STATUS)).status_code == 503
    assert (await stage.disengage()).status_code == 200
    assert (await stage.run()).status_code == 200


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (unavailable("kill_switch", "down"), "not disengaged: down"),
        (OutcomeUnknown("kill_switch", "disengage", "lost"), "may or may not be disengaged: lost"),
    ],
)
async def test_disengaging_without_a_store_is_503(
    stage: Stage, error: BaseException, words: str
) -> None:
    await stage.engage()
    stage.faulty_switch.error = error
    stage.faulty_switch.only = frozenset({"disengage"})
    response = await stage.disengage()
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert (detail["error"], detail["fail_closed"]) == ("Kill-switch unavailable", True)
    assert words in detail["message"]


async def test_a_status_in_doubt_is_503_and_says_what_would_release_it(stage: Stage) -> None:
    stage.switch.put_text("not json")
    response = await stage.client.get(STATUS)
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert (detail["error"], detail["fail_closed"]) == ("Kill-switch unavailable", True)
    assert "kill-switch init" in detail["message"]


async def test_the_latch_alone_reads_as_engaged(stage: Stage) -> None:
    await stage.engage()
    stage.switch.put_text(None)
    status = (await stage.client.get(STATUS)).json()
    assert (status["state"], status["engaged_by"]) == ("ENGAGED", "ann")
    assert (status["held_by"], status["shared_state"]) == (["run_database"], None)


async def test_the_history_is_newest_first(stage: Stage) -> None:
    await stage.engage()
    await stage.disengage()
    response = await stage.client.get(HISTORY, params={"limit": 2})
    history = response.json()
    assert response.status_code == 200
    assert [entry["event"] for entry in history["history"]] == ["DISENGAGED", "ENGAGED"]
    assert [entry["operator"] for entry in history["history"]] == ["bob", "ann"]
    assert history["history"][1]["reason"] == "drill"


@pytest.mark.parametrize("limit", ["0", "1001", "x"])
async def test_a_bad_history_limit_is_422(stage: Stage, limit: str) -> None:
    response = await stage.client.get(HISTORY, params={"limit": limit})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", "limit"]


async def test_a_history_that_cannot_be_read_is_503(stage: Stage) -> None:
    stage.faulty_switch.error = unavailable("kill_switch")
    assert (await stage.client.get(HISTORY)).status_code == 503


@pytest.mark.parametrize(
    ("path", "body", "loc", "kind"),
    [
        (ENGAGE, {"operator": "ann"}, ["body", "reason"], "missing"),
        (ENGAGE, {"operator": 1, "reason": "x"}, ["body", "operator"], "string_type"),
        (
            ENGAGE,
            {"operator": "a", "reason": "x", "details": []},
            ["body", "details"],
            "object_type",
        ),
        (DISENGAGE, {}, ["body", "operator"], "missing"),
        (DISENGAGE, {"operator": "a", "notes": 1}, ["body", "notes"], "string_type"),
    ],
)
async def test_a_wrong_shape_is_422(
    stage: Stage, path: str, body: object, loc: list[str], kind: str
) -> None:
    response = await stage.client.post(path, json=body)
    assert response.status_code == 422
    [problem] = response.json()["detail"]
    assert (problem["loc"], problem["type"]) == (loc, kind)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (ENGAGE, {"operator": "  ", "reason": "x"}),
        (ENGAGE, {"operator": "ann", "reason": ""}),
        (DISENGAGE, {"operator": ""}),
    ],
)
async def test_a_change_without_a_name_or_reason_is_400(
    stage: Stage, path: str, body: object
) -> None:
    response = await stage.client.post(path, json=body)
    assert response.status_code == 400
    assert "expected some text" in response.json()["detail"]
    assert (await stage.client.get(STATUS)).json()["state"] == "ACTIVE"
