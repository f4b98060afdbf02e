from collections.abc import AsyncIterator

import httpx
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


async def test_the_status_tells_when_the_wire_is_clear(stage: Stage) -> None:
    before = (await stage.client.get(STATUS)).json()
    assert (before["drained"], before["in_flight"], before["unresolved"]) == (None, 0, 0)
    stage.sink.script(Symbol("AAPL"), [Behaviour.LOSE_ORDER])
    await stage.run("AAPL")
    await stage.client.post(ENGAGE, json={"reason": "anomaly", "operator": "ann"})
    on_the_wire = (await stage.client.get(STATUS)).json()
    assert (on_the_wire["drained"], on_the_wire["in_flight"]) == (False, 1)
    stage.faulty_runs.only = frozenset({"open_orders"})
    stage.faulty_runs.error = unavailable("runs")
    unread = (await stage.client.get(STATUS)).json()
    assert (unread["state"], unread["drained"], unread["in_flight"]) == ("ENGAGED", None, None)


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


async def test_a_change_is_in_the_history_once_though_two_stores_keep_it(stage: Stage) -> None:
    await stage.engage()
    stage.faulty_switch.error = unavailable("kill_switch")
    durable = (await stage.client.get(HISTORY)).json()["history"]
    stage.faulty_switch.works()
    assert (await stage.client.get(HISTORY)).json()["history"] == durable
    assert [entry["operator"] for entry in durable] == ["ann", "setup"]


async def test_a_history_that_one_store_cannot_show_comes_from_the_other(stage: Stage) -> None:
    await stage.engage()
    stage.faulty_runs.error = unavailable("runs")
    shared = await stage.client.get(HISTORY)
    assert (shared.status_code, len(shared.json()["history"])) == (200, 2)


async def test_a_history_that_neither_store_can_show_is_503(stage: Stage) -> None:
    stage.faulty_switch.error = unavailable("kill_switch")
    stage.faulty_runs.error = unavailable("runs")
    assert (await stage.client.get(HISTORY)).status_code == 503


async def stop_and_cancel(stage: Stage) -> httpx.Response:
    body = {"reason": "drill", "operator": "ann", "cancel_open": True}
    return await stage.client.post(ENGAGE, json=body)


async def test_engaging_leaves_live_orders_alone_unless_told(stage: Stage) -> None:
    [mapping] = (await stage.run("AAPL")).json()["mappings"]
    answer = (await stage.engage()).json()
    assert (answer["cancel_requested"], answer["cancel_failed"]) == (None, [])
    assert stage.sink.ledger[mapping["client_order_id"]].report.status == "accepted"


async def test_engaging_cancels_live_orders_where_told(stage: Stage) -> None:
    [mapping] = (await stage.run("AAPL")).json()["mappings"]
    response = await stop_and_cancel(stage)
    answer = response.json()
    assert (response.status_code, answer["drained"]) == (200, True)
    assert (answer["cancel_requested"], answer["cancel_failed"]) == (1, [])
    assert answer["cancel_cause"] is None
    assert stage.sink.ledger[mapping["client_order_id"]].report.status == "canceled"
    assert stage.count("orchestrator_order_cancels_total", status="success") == 1


async def test_a_switch_that_is_engaged_already_cancels_all_the_same(stage: Stage) -> None:
    [mapping] = (await stage.run("AAPL")).json()["mappings"]
    await stage.engage()
    assert (await stage.engage()).status_code == 400
    assert (await stop_and_cancel(stage)).status_code == 200
    assert stage.sink.ledger[mapping["client_order_id"]].report.status == "canceled"


async def test_an_order_that_cannot_be_canceled_is_named(stage: Stage) -> None:
    [mapping] = (await stage.run("AAPL")).json()["mappings"]
    stage.sink.is_down = True
    response = await stop_and_cancel(stage)
    answer = response.json()
    assert (response.status_code, answer["cancel_requested"]) == (200, 0)
    assert answer["cancel_failed"] == [
        {"client_order_id": mapping["client_order_id"], "cause": "the gateway is down"}
    ]
    assert answer["cancel_cause"] == "1 could not be asked for"
    assert stage.count("orchestrator_order_cancels_total", status="error") == 1


async def test_live_orders_that_are_not_known_are_told(stage: Stage) -> None:
    stage.faulty_runs.only = frozenset({"live_orders"})
    stage.faulty_runs.error = unavailable("runs")
    answer = (await stop_and_cancel(stage)).json()
    assert (answer["durable"], answer["cancel_requested"]) == (True, 0)
    assert answer["cancel_cause"] == "run database: connection refused"


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
