"""Every row of the table of answers to a run, with its exact body."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from orchestrator_adapters.memory.orders import Behaviour
from orchestrator_core.errors import (
    MalformedReply,
    OutcomeUnknown,
    Refused,
    Unavailable,
)
from orchestrator_core.identifiers import RunId, Symbol
from orchestrator_core.model import SafetyFlags
from orchestrator_entrypoints.explanations import Explained, explain_run
from tests.unit.http_stage import RUN, RUNS, Stage, a_stage, unavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with a_stage() as ready:
        yield ready


RESULT_FIELDS = {
    "run_id": str,
    "status": str,
    "strategy_id": str,
    "as_of_date": str,
    "symbols": list,
    "capital": str,
    "num_signals": int,
    "signal_metadata": dict,
    "num_orders_submitted": int,
    "num_orders_accepted": int,
    "num_orders_rejected": int,
    "num_orders_filled": int,
    "mappings": list,
    "started_at": str,
    "completed_at": str,
    "duration_seconds": str,
    "error_message": type(None),
}

MAPPING_FIELDS = {
    "symbol": str,
    "predicted_return": float,
    "rank": int,
    "target_weight": float,
    "client_order_id": str,
    "order_qty": int,
    "order_side": str,
    "broker_order_id": str,
    "order_status": str,
    "filled_qty": str,
    "filled_avg_price": type(None),
    "skip_reason": type(None),
}


def types_of(document: dict[str, Any], fields: dict[str, type]) -> dict[str, type]:
    return {name: type(document[name]) for name in fields}


async def test_a_run_answers_the_public_result(stage: Stage) -> None:
    response = await stage.run(" aapl ", "MSFT", as_of_date="2026-03-02", capital=1e5)
    result = response.json()
    assert response.status_code == 200
    assert types_of(result, RESULT_FIELDS) == RESULT_FIELDS
    assert types_of(result["mappings"][0], MAPPING_FIELDS) == MAPPING_FIELDS
    assert str(UUID(result["run_id"])) == result["run_id"]
    assert result["status"] == "completed"
    assert result["symbols"] == ["AAPL", "MSFT"]
    assert result["as_of_date"] == "2026-03-02"
    assert result["capital"] == "100000.0"
    assert result["started_at"].endswith("Z")
    assert Decimal(result["duration_seconds"]) >= 0
    assert (result["num_orders_submitted"], result["num_orders_accepted"]) == (2, 2)
    assert (result["num_orders_rejected"], result["num_orders_open"]) == (0, 0)
    assert [m["order_qty"] for m in result["mappings"]] == [50, 50]


EXPLAINED = [
    {"name": "weight", "value": "0.05", "bound": None, "note": None},
    {
        "name": "target_notional",
        "value": "5000.00",
        "bound": None,
        "note": "of capital 100000",
    },
    {"name": "capped_notional", "value": "5000.00", "bound": None, "note": None},
    {"name": "price", "value": "100", "bound": None},
    {"name": "shares", "value": "50", "bound": None, "note": "whole shares, toward zero"},
    {"name": "order", "value": "buy 50", "bound": None},
]


async def test_a_run_explains_itself_where_that_is_asked(stage: Stage) -> None:
    body = {"symbols": ["AAPL", "MSFT"]}
    made = (await stage.client.post(RUN, json=body, params={"explain": "true"})).json()
    url = f"{RUNS}/{made['run_id']}"
    shown = (await stage.client.get(url, params={"explain": "true"})).json()
    assert shown["mappings"] == made["mappings"]
    for mapping in shown["mappings"]:
        explained = mapping["explanation"]
        [price], [order] = explained[3:4], explained[5:]
        assert price.pop("note").startswith("test, ")
        assert order.pop("note") == mapping["client_order_id"]
        assert explained == EXPLAINED


@pytest.mark.parametrize("query", ["", "?explain=false"])
async def test_a_run_that_is_not_asked_to_explain_answers_as_ever(stage: Stage, query: str) -> None:
    made = (await stage.client.post(f"{RUN}{query}", json={"symbols": ["AAPL"]})).json()
    shown = (await stage.client.get(f"{RUNS}/{made['run_id']}{query}")).json()
    for result in (made, shown):
        assert "explanation" not in result["mappings"][0]
        assert result["note"] is None


@pytest.mark.parametrize("text", ["", "1", "yes", "True"])
async def test_explain_takes_true_and_false_alone(stage: Stage, text: str) -> None:
    for response in (
        await stage.client.post(RUN, json={"symbols": ["AAPL"]}, params={"explain": text}),
        await stage.client.get(f"{RUNS}/{uuid4()}", params={"explain": text}),
    ):
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["query", "explain"]
    assert await stage.stored() == 0


async def test_a_run_is_answered_though_nothing_explains_it(stage: Stage) -> None:
    stage.faulty_runs.only, stage.faulty_runs.error = frozenset({"get_record"}), unavailable()
    response = await stage.client.post(RUN, json={"symbols": ["AAPL"]}, params={"explain": "true"})
    assert response.status_code == 200
    result = response.json()
    assert result["note"] == "It cannot be explained: the run database did not answer"
    assert result["mappings"][0]["order_status"] == "accepted"
    assert "explanation" not in result["mappings"][0]


async def test_an_explanation_is_not_waited_for_without_a_bound(stage: Stage) -> None:
    made = RunId(UUID((await stage.run()).json()["run_id"]))
    runs, policy = stage.orchestrator.ports.runs, stage.orchestrator.policy
    run = await runs.get_run(made)
    assert run is not None
    stage.faulty_runs.only, stage.faulty_runs.hangs = frozenset({"get_record"}), True
    explained = await explain_run(run, runs, policy, seconds=0.01)
    assert explained == Explained(trouble="the run database did not answer")


async def test_a_run_without_a_plan_says_why_it_is_not_explained(stage: Stage) -> None:
    stage.faulty_signals.error = unavailable("signals")
    failed = (await stage.run()).json()["detail"]
    url = f"{RUNS}/{failed['run_id']}"
    shown = (await stage.client.get(url, params={"explain": "true"})).json()
    assert shown["note"] == "It cannot be explained: nothing is stored that it was decided from"


async def test_a_run_can_be_looked_up_and_listed(stage: Stage) -> None:
    made = (await stage.run()).json()
    shown = await stage.client.get(f"{RUNS}/{made['run_id'].upper()}")
    assert shown.json() == made
    listed = (await stage.client.get(RUNS)).json()
    assert (listed["total"], listed["limit"], listed["offset"]) == (1, 50, 0)
    absent = {"symbols", "capital", "signal_metadata", "num_orders_filled", "mappings"}
    [row] = listed["runs"]
    assert row == {
        name: made[name] for name in RESULT_FIELDS if name not in absent | {"error_message"}
    }


async def test_lists_are_filtered_and_paged(stage: Stage) -> None:
    await stage.run(rebalance_key="a")
    await stage.run(rebalance_key="b")
    query: dict[str, str | int] = {
        "status": "completed",
        "strategy_id": "alpha_baseline",
        "limit": 1,
        "offset": 1,
    }
    page = (await stage.client.get(RUNS, params=query)).json()
    assert (page["total"], len(page["runs"])) == (2, 1)
    none = (await stage.client.get(RUNS, params={"strategy_id": "other"})).json()
    assert (none["total"], none["runs"]) == (0, [])


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        (b"", ["body"], "json_invalid"),
        (b"not json", ["body"], "json_invalid"),
        (b"\xff\xfe{}", ["body"], "json_invalid"),
        (b'{"symbols": ["A"], "capital": NaN}', ["body"], "json_invalid"),
        (b'{"symbols": ["A"], "capital": -Infinity}', ["body"], "json_invalid"),
        (b'{"symbols": ["A"], "symbols": ["B"]}', ["body"], "json_invalid"),
        (b'{"symbols": ["A"], "capital": 1e9999999999999999999}', ["body"], "json_invalid"),
        (b"[" * 50_000, ["body"], "json_invalid"),
        (b"[]", ["body"], "object_type"),
        (b'"AAPL"', ["body"], "object_type"),
        (b"{}", ["body", "symbols"], "missing"),
        (b'{"symbols": []}', ["body", "symbols"], "too_short"),
        (b'{"symbols": null}', ["body", "symbols"], "list_type"),
        (b'{"symbols": "AAPL"}', ["body", "symbols"], "list_type"),
        (b'{"symbols": {"AAPL": 1}}', ["body", "symbols"], "list_type"),
        (b'{"symbols": ["A", 7]}', ["body", "symbols", 1], "string_type"),
        (b'{"symbols": ["\\ud800"]}', ["body", "symbols", 0], "string_unicode"),
        (b'{"symbols": ["A"], "capital": true}', ["body", "capital"], "decimal_type"),
        (b'{"symbols": ["A"], "capital": "1_000"}', ["body", "capital"], "decimal_type"),
        (b'{"symbols": ["A"], "capital": []}', ["body", "capital"], "decimal_type"),
        (b'{"symbols": ["A"], "dry_run": "false"}', ["body", "dry_run"], "bool_type"),
        (b'{"symbols": ["A"], "dry_run": 0}', ["body", "dry_run"], "bool_type"),
        (b'{"symbols": ["A"], "as_of_date": 20260302}', ["body", "as_of_date"], "string_type"),
        (b'{"symbols": ["A"], "rebalance_key": 1}', ["body", "rebalance_key"], "string_type"),
    ],
)
async def test_a_wrong_shape_is_422_and_names_the_field(
    stage: Stage, body: bytes, loc: list[Any], kind: str
) -> None:
    response = await stage.client.post(
        RUN, content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 422
    [problem] = response.json()["detail"]
    assert (problem["loc"], problem["type"]) == (loc, kind)
    assert set(problem) == {"loc", "msg", "type"}
    assert await stage.stored() == 0


async def test_every_field_that_does_not_fit_is_named_at_once(stage: Stage) -> None:
    response = await stage.client.post(RUN, json={"symbols": [1], "capital": {}, "dry_run": 1})
    assert [problem["loc"] for problem in response.json()["detail"]] == [
        ["body", "symbols", 0],
        ["body", "capital"],
        ["body", "dry_run"],
    ]


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"as_of_date": "2026-02-30"}, "as_of_date"),
        ({"as_of_date": "20260302"}, "as_of_date"),
        ({"as_of_date": ""}, "as_of_date"),
        ({"capital": 0}, "capital"),
        ({"capital": "-1"}, "capital"),
        ({"capital": "NaN"}, "capital"),
        ({"capital": "Infinity"}, "capital"),
        ({"capital": 1e30}, "capital"),
        ({"capital": "1e-90"}, "capital"),
        ({"max_position_size": 0}, "max_position_size"),
        ({"max_position_size": 20000.01}, "max_position_size"),
        ({"symbols": ["AAPL", "aapl"]}, "AAPL is given twice"),
        ({"symbols": ["A" * 40]}, "symbols"),
        ({"symbols": ["A\nB"]}, "symbols"),
        ({"symbols": [""]}, "symbols"),
        ({"rebalance_key": "\t"}, "rebalance_key"),
    ],
)
async def test_an_invalid_meaning_is_400_and_says_which(
    stage: Stage, fields: dict[str, Any], word: str
) -> None:
    response = await stage.client.post(RUN, json={"symbols": ["AAPL"], **fields})
    assert response.status_code == 400
    detail = response.json()["detail"]
    assert isinstance(detail, str)
    assert word in detail
    assert await stage.stored() == 0


async def test_capital_above_the_configured_bound_is_400() -> None:
    async with a_stage(MAX_CAPITAL="150000") as stage:
        assert (await stage.run(capital=150_001)).status_code == 400
        assert (await stage.run(capital="150000")).json()["capital"] == "150000"


@pytest.mark.parametrize("capital", [50_000, 50_000.0, "50000", "5e4", "50000.00"])
async def test_capital_is_a_number_or_a_decimal_string(stage: Stage, capital: float | str) -> None:
    result = (await stage.run(capital=capital)).json()
    assert Decimal(result["capital"]) == 50_000
    assert "e" not in result["capital"].lower()
    assert [m["order_qty"] for m in result["mappings"]] == [25, 25]


async def test_absent_and_null_mean_the_configured_values(stage: Stage) -> None:
    result = (await stage.run(capital=None, max_position_size=None, as_of_date=None)).json()
    assert (result["capital"], result["max_position_size"]) == ("100000", "20000")


async def test_unknown_fields_are_ignored(stage: Stage) -> None:
    assert (await stage.run(comment="from an old client", force=True)).status_code == 200


async def test_a_request_may_lower_its_cap(stage: Stage) -> None:
    result = (await stage.run("AAPL", max_position_size="1000")).json()
    assert result["mappings"][0]["order_qty"] == 10


async def test_a_dry_run_sends_nothing_and_explains(stage: Stage) -> None:
    result = (await stage.run(dry_run=True)).json()
    assert (result["status"], result["num_orders_submitted"]) == ("completed", 0)
    [first, _] = result["mappings"]
    assert (first["skip_reason"], first["order_qty"], first["order_status"]) == (
        "dry_run",
        50,
        None,
    )
    assert not stage.sink.ledger


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; charset=utf-8", 200),
        ("APPLICATION/JSON", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
async def test_only_json_is_taken(stage: Stage, content_type: str, status: int) -> None:
    response = await stage.client.post(
        RUN, content=b'{"symbols":["AAPL"]}', headers={"Content-Type": content_type}
    )
    assert response.status_code == status
    if status == 415:
        assert response.json() == {"detail": "expected Content-Type: application/json"}


async def test_a_body_without_a_content_type_is_415(stage: Stage) -> None:
    assert (await stage.client.post(RUN, content=b'{"symbols":["AAPL"]}')).status_code == 415


async def test_a_body_over_the_cap_is_413_also_without_a_length() -> None:
    async with a_stage(MAX_BODY_BYTES="2000") as stage:
        large = json.dumps({"symbols": ["A" * 3000]}).encode()

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(large), 100):
                yield large[start : start + 100]

        headers = {"Content-Type": "application/json"}
        for content in (large, chunks()):
            response = await stage.client.post(RUN, content=content, headers=headers)
            assert response.status_code == 413
            assert response.json() == {"detail": "expected a body of at most 2000 bytes"}


async def test_a_body_that_does_not_arrive_in_time_is_408(stage: Stage) -> None:
    async def drip() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(60)

    response = await stage.client.post(
        RUN, content=drip(), headers={"Content-Type": "application/json"}
    )
    assert response.status_code == 408
    assert response.headers["connection"] == "close"


async def test_unknown_paths_and_methods_answer_a_detail(stage: Stage) -> None:
    missing = await stage.client.get("/nowhere")
    assert (missing.status_code, missing.json()) == (404, {"detail": "Not Found"})
    wrong = await stage.client.get(RUN)
    assert (wrong.status_code, wrong.json()) == (405, {"detail": "Method Not Allowed"})
    assert "POST" in wrong.headers["allow"]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "9" * 30}, "limit"),
        ({"offset": "-1"}, "offset"),
        ({"offset": "1.5"}, "offset"),
        ({"status": "done"}, "status"),
        ({"strategy_id": ""}, "strategy_id"),
    ],
)
async def test_a_bad_query_value_is_422(stage: Stage, query: dict[str, str], name: str) -> None:
    response = await stage.client.get(RUNS, params=query)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", name]


async def test_a_malformed_run_id_is_422_and_an_unknown_one_404(stage: Stage) -> None:
    malformed = await stage.client.get(f"{RUNS}/7")
    assert malformed.status_code == 422
    assert malformed.json()["detail"][0]["loc"] == ["path", "run_id"]
    run_id = uuid4()
    unknown = await stage.client.get(f"{RUNS}/{run_id}")
    assert unknown.status_code == 404
    assert unknown.json() == {"detail": f"run {run_id} is not known"}


async def test_an_engaged_kill_switch_refuses_the_run(stage: Stage) -> None:
    await stage.engage(reason="market anomaly", operator="ann")
    response = await stage.run()
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert detail.pop("engaged_at").endswith("Z")
    assert detail == {
        "error": "Kill-switch engaged",
        "message": "All trading is halted; nothing was stored or sent",
        "reason": "market anomaly",
        "engaged_by": "ann",
    }
    assert await stage.stored() == 0
    assert stage.count("orchestrator_runs_refused_total", reason="engaged") == 1


@pytest.mark.parametrize("text", [None, "not json", '{"state": "PAUSED"}', '{"state": "ACTIVE"}'])
async def test_a_kill_switch_in_doubt_fails_closed(stage: Stage, text: str | None) -> None:
    stage.switch.put_text(text)
    response = await stage.run()
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert (detail["error"], detail["fail_closed"]) == ("Kill-switch unavailable", True)
    assert await stage.stored() == 0
    assert not stage.sink.ledger


async def test_a_kill_switch_that_cannot_be_asked_fails_closed(stage: Stage) -> None:
    stage.faulty_switch.error = unavailable("kill_switch", "READONLY replica")
    detail = (await stage.run()).json()["detail"]
    assert (detail["error"], detail["fail_closed"]) == ("Kill-switch unavailable", True)
    assert "READONLY replica" in detail["message"]


async def test_a_tripped_breaker_refuses_the_run(stage: Stage) -> None:
    stage.breaker.put_text('{"state": "TRIPPED", "trip_reason": "drawdown"}')
    response = await stage.run()
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert (detail["error"], detail["reason"]) == ("Circuit breaker tripped", "drawdown")
    assert await stage.stored() == 0


@pytest.mark.parametrize(
    "error", [Unavailable("runs", "any", "down"), OutcomeUnknown("runs", "any", "lost")]
)
async def test_a_run_database_that_is_down_sends_nothing(stage: Stage, error: Exception) -> None:
    stage.faulty_runs.error = error
    response = await stage.run()
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert detail["error"] == "Run database unavailable"
    assert detail["message"].startswith("No order was sent")
    assert str(UUID(detail["run_id"])) == detail["run_id"]
    assert not stage.sink.ledger
    for path in (RUNS, f"{RUNS}/{uuid4()}"):
        looked = await stage.client.get(path)
        assert (looked.status_code, looked.json()["detail"]["error"]) == (
            503,
            "Run database unavailable",
        )


async def test_a_plan_that_cannot_be_committed_sends_nothing(stage: Stage) -> None:
    stage.faulty_runs.only = frozenset({"commit_plan"})
    stage.faulty_runs.error = unavailable()
    response = await stage.run()
    assert response.status_code == 503
    assert response.json()["detail"]["error"] == "Run database unavailable"
    assert not stage.sink.ledger
    [row] = (await stage.client.get(RUNS)).json()["runs"]
    assert row["status"] == "failed"


@pytest.mark.parametrize(
    ("error", "status", "word"),
    [
        (Unavailable("signals", "fetch", "warming"), 503, "Signal Service unavailable"),
        (Refused("signals", "fetch", "no data"), 400, "Signal Service refused the request"),
        (
            MalformedReply("signals", "fetch", "no data"),
            502,
            "Signal Service answered outside its contract",
        ),
    ],
)
async def test_a_signal_service_that_does_not_answer_fails_the_run(
    stage: Stage, error: Exception, status: int, word: str
) -> None:
    stage.faulty_signals.error = error
    response = await stage.run()
    assert response.status_code == status
    detail = response.json()["detail"]
    assert (detail["error"], detail["message"]) == (word, error.cause)  # type: ignore[attr-defined]
    assert not stage.sink.ledger
    stored = (await stage.client.get(f"{RUNS}/{detail['run_id']}")).json()
    assert (stored["status"], stored["error_message"]) == ("failed", f"{word}: {detail['message']}")
    assert stored["completed_at"] is not None
    assert (stored["mappings"], stored["num_orders_filled"]) == ([], None)


async def test_a_peer_that_paces_us_says_when_to_come_again(stage: Stage) -> None:
    stage.faulty_signals.error = Unavailable("signals", "fetch", "429", retry_after=2.2)
    response = await stage.run()
    assert response.headers["retry-after"] == "3"
    assert response.json()["detail"]["retry_after"] == 2.2


async def test_a_batch_that_is_refused_is_502() -> None:
    async with a_stage({"AAPL": 1.5}) as stage:
        response = await stage.run("AAPL")
        assert response.status_code == 502
        assert "weighs 1.5" in response.json()["detail"]["message"]
        assert not stage.sink.ledger


async def test_prices_that_cannot_be_asked_fail_the_run(stage: Stage) -> None:
    stage.faulty_prices.error = unavailable("prices", "down")
    response = await stage.run()
    assert response.status_code == 503
    assert response.json()["detail"]["error"] == "Prices unavailable"


async def test_a_symbol_without_a_price_is_skipped_with_the_reason(stage: Stage) -> None:
    result = (await stage.run("AAPL", "TSLA")).json()
    assert result["status"] == "completed"
    assert result["mappings"][1]["skip_reason"] == "price_unavailable: no price"
    assert result["note"] == "1 of 2 signals had no usable price"
    assert result["mappings"][1]["client_order_id"] is None


async def test_a_gateway_that_cannot_be_reached_fails_the_run(stage: Stage) -> None:
    for symbol in ("AAPL", "MSFT"):
        stage.sink.script(Symbol(symbol), [Behaviour.UNREACHABLE])
    response = await stage.run()
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert detail["error"] == "Execution Gateway unavailable"
    stored = (await stage.client.get(f"{RUNS}/{detail['run_id']}")).json()
    assert stored["status"] == "failed"
    assert {m["order_status"] for m in stored["mappings"]} == {"rejected"}
    assert all(m["skip_reason"].startswith("submission_failed: ") for m in stored["mappings"])


async def test_a_gateway_that_is_less_safe_than_claimed_gets_no_order(stage: Stage) -> None:
    stage.sink.flags = SafetyFlags(dry_run=False, alpaca_paper=False, circuit_breaker_enabled=True)
    response = await stage.run()
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert (detail["error"], detail["fail_closed"]) == (
        "Execution Gateway not verified as safe",
        True,
    )
    assert not stage.sink.ledger


async def test_some_orders_placed_and_some_not_is_partial(stage: Stage) -> None:
    stage.sink.script(Symbol("MSFT"), [Behaviour.REJECT])
    response = await stage.run()
    result = response.json()
    assert (response.status_code, result["status"]) == (200, "partial")
    assert (result["num_orders_submitted"], result["num_orders_rejected"]) == (2, 1)
    [_, rejected] = result["mappings"]
    assert rejected["order_status"] == "rejected"
    assert rejected["skip_reason"] == "submission_failed: rejected: scripted"
    assert "rebalance_key" in result["note"]


async def test_all_orders_rejected_is_a_failed_result(stage: Stage) -> None:
    for symbol in ("AAPL", "MSFT"):
        stage.sink.script(Symbol(symbol), [Behaviour.REJECT])
    response = await stage.run()
    assert (response.status_code, response.json()["status"]) == (200, "failed")


async def test_a_lost_answer_is_202_running(stage: Stage) -> None:
    stage.sink.script(Symbol("AAPL"), [Behaviour.TAKE_AND_LOSE_ANSWER])
    response = await stage.run()
    result = response.json()
    assert (response.status_code, result["status"]) == (202, "running")
    assert (result["completed_at"], result["duration_seconds"]) == (None, None)
    assert result["mappings"][0]["order_status"] == "unknown"
    assert result["mappings"][0]["skip_reason"] == "outcome_unknown: the answer was lost"
    assert result["num_orders_open"] == 1
    assert stage.count("orchestrator_orders_unknown_total") == 1


async def test_a_halt_mid_run_with_nothing_placed_is_503(stage: Stage) -> None:
    stage.faulty_prices.gate = asyncio.Event()
    running = asyncio.create_task(stage.run())
    await stage.faulty_prices.called("quotes")
    await stage.engage()
    stage.faulty_prices.gate.set()
    response = await running
    assert response.status_code == 503
    detail = response.json()["detail"]
    assert (detail["error"], detail["fail_closed"]) == ("Trading halted", True)
    stored = (await stage.client.get(f"{RUNS}/{detail['run_id']}")).json()
    assert stored["status"] == "failed"
    assert {m["skip_reason"].partition(":")[0] for m in stored["mappings"]} == {"halted"}
    assert {m["order_status"] for m in stored["mappings"]} == {None}


async def test_a_long_run_is_answered_202_and_goes_on() -> None:
    # The gateway holds the run, which has reached it by then on a busy machine too.
    async with a_stage(RUN_ANSWER_SECONDS="2") as stage:
        stage.faulty_sink.gate = asyncio.Event()
        stage.faulty_sink.only = frozenset({"submit"})
        response = await stage.run()
        result = response.json()
        assert (response.status_code, result["status"]) == (202, "running")
        assert {m["order_status"] for m in result["mappings"]} == {"unknown"}
        stage.faulty_sink.gate.set()
        settled = await stage.settled()
        assert (settled["status"], settled["num_orders_accepted"]) == ("completed", 2)


async def test_a_long_run_whose_row_cannot_be_read_is_still_answered_202() -> None:
    async with a_stage(RUN_ANSWER_SECONDS="0.05") as stage:
        stage.faulty_signals.gate = asyncio.Event()
        stage.faulty_runs.only = frozenset({"get_run"})
        stage.faulty_runs.error = unavailable()
        response = await stage.run("AAPL")
        assert response.status_code == 202
        assert response.json()["symbols"] == ["AAPL"]
        stage.faulty_signals.gate.set()


async def test_a_client_that_goes_away_does_not_stop_its_run(stage: Stage) -> None:
    stage.faulty_sink.gate = asyncio.Event()
    stage.faulty_sink.only = frozenset({"submit"})
    asking = asyncio.create_task(stage.run())
    await stage.faulty_sink.called("submit")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    stage.faulty_sink.gate.set()
    row = await stage.settled()
    assert (row["status"], row["num_orders_accepted"]) == ("completed", 2)


KEYED = {"Idempotency-Key": "monday-1"}


async def test_a_repeated_key_answers_the_same_result(stage: Stage) -> None:
    first = await stage.run(capital=1e5, headers=KEYED)
    again = await stage.run(capital="1e5", dry_run=False, headers=KEYED)
    assert again.status_code == first.status_code == 200
    assert again.json() == first.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert await stage.stored() == 1


async def test_a_key_used_for_another_body_is_422(stage: Stage) -> None:
    first = (await stage.run(headers=KEYED)).json()
    response = await stage.run(capital=5, headers=KEYED)
    assert response.status_code == 422
    assert response.json() == {
        "detail": {
            "error": "Idempotency-Key reused",
            "message": "this idempotency key was used with another request",
            "run_id": first["run_id"],
        }
    }


async def test_a_key_whose_run_is_going_is_409(stage: Stage) -> None:
    stage.faulty_sink.gate = asyncio.Event()
    stage.faulty_sink.only = frozenset({"submit"})
    first = asyncio.create_task(stage.run(headers=KEYED))
    await stage.faulty_sink.called("submit")
    response = await stage.run(headers=KEYED)
    stage.faulty_sink.gate.set()
    assert response.status_code == 409
    detail = response.json()["detail"]
    assert detail["error"] == "Run still going"
    assert detail["run_id"] == (await first).json()["run_id"]


async def test_a_keyed_run_that_failed_before_any_claim_frees_its_key(stage: Stage) -> None:
    stage.faulty_signals.error = unavailable("signals", "down")
    failed = await stage.run(headers=KEYED)
    stage.faulty_signals.works()
    again = await stage.run(headers=KEYED)
    assert (failed.status_code, again.status_code) == (503, 200)


@pytest.mark.parametrize("key", [b"", b" x", b"a" * 129, b"caf\xe9"])
async def test_a_malformed_key_is_400(stage: Stage, key: bytes) -> None:
    headers = [(b"Idempotency-Key", key), (b"Content-Type", b"application/json")]
    response = await stage.client.post(RUN, content=b'{"symbols": ["AAPL"]}', headers=headers)
    assert response.status_code == 400
    assert "Idempotency-Key" in response.json()["detail"]
    assert await stage.stored() == 0


async def test_two_keys_are_400(stage: Stage) -> None:
    kind = (b"Content-Type", b"application/json")
    headers = [kind, (b"Idempotency-Key", b"one"), (b"Idempotency-Key", b"two")]
    response = await stage.client.post(RUN, content=b'{"symbols": ["AAPL"]}', headers=headers)
    assert response.status_code == 400
    assert "Idempotency-Key" in response.json()["detail"]
    assert await stage.stored() == 0


async def test_a_key_tells_amounts_apart_by_their_last_digit(stage: Stage) -> None:
    first = await stage.run(capital="1000.000000000000000000000000000000001", headers=KEYED)
    other = await stage.run(capital="1000.000000000000000000000000000000002", headers=KEYED)
    assert (first.status_code, other.status_code) == (200, 422)


async def test_something_unforeseen_is_500_without_internals_and_is_recorded(
    stage: Stage,
) -> None:
    stage.faulty_signals.error = ZeroDivisionError("hush")
    response = await stage.run()
    assert response.status_code == 500
    assert "hush" not in response.text
    detail = response.json()["detail"]
    assert detail["error"] == "Internal error"
    stored = (await stage.client.get(f"{RUNS}/{detail['run_id']}")).json()
    assert stored["status"] == "failed"


async def test_a_fault_in_an_endpoint_is_500_without_internals(stage: Stage) -> None:
    stage.faulty_runs.only = frozenset({"list_runs"})
    stage.faulty_runs.error = ZeroDivisionError("hush")
    response = await stage.client.get(RUNS)
    assert response.status_code == 500
    assert "hush" not in response.text
    assert response.json()["detail"]["error"] == "Internal error"


async def test_a_repeated_decision_adopts_and_sends_nothing(stage: Stage) -> None:
    first = (await stage.run()).json()
    second = (await stage.run()).json()
    assert len(stage.sink.ledger) == 2
    assert second["status"] == "completed"
    [mapping, _] = second["mappings"]
    assert mapping["skip_reason"] == f"already_ordered: run {first['run_id']}"
    assert mapping["adopted_from_run_id"] == first["run_id"]
    assert mapping["client_order_id"] == first["mappings"][0]["client_order_id"]


async def test_thirty_two_runs_at_once_of_one_decision_order_each_symbol_once(
    stage: Stage,
) -> None:
    answers = await asyncio.gather(*(stage.run() for _ in range(32)))
    assert {answer.status_code for answer in answers} <= {200, 202}
    assert len(stage.sink.ledger) == 2


async def test_no_run_begins_while_the_service_stops(stage: Stage) -> None:
    stage.orchestrator.stop.set()
    response = await stage.run()
    assert response.status_code == 503
    assert response.json()["detail"]["error"] == "Service stopping"
    assert await stage.stored() == 0


async def test_a_request_id_is_echoed_or_made(stage: Stage) -> None:
    given = await stage.client.get("/", headers={"X-Request-ID": "abc-1"})
    assert given.headers["x-request-id"] == "abc-1"
    forged = await stage.client.get("/", headers={"X-Request-ID": "a b"})
    assert forged.headers["x-request-id"] != "a b"


async def test_runs_and_orders_are_counted(stage: Stage) -> None:
    stage.sink.script(Symbol("MSFT"), [Behaviour.REJECT])
    await stage.run()
    stage.faulty_signals.error = unavailable("signals")
    await stage.run()
    assert stage.count("orchestrator_runs_total", status="success") == 1
    assert stage.count("orchestrator_runs_total", status="error") == 1
    assert stage.count("orchestrator_signals_received_total") == 2
    assert stage.count("orchestrator_orders_submitted_total", status="success") == 1
    assert stage.count("orchestrator_orders_submitted_total", status="error") == 1
    assert stage.count("orchestrator_positions_adjusted_total") == 1
    assert stage.count("orchestrator_orchestration_duration_seconds_count") == 2
    assert stage.count("orchestration_duration_seconds_count") == 2
