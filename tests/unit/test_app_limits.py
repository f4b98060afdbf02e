"""Limits that a request tightens, and what an answer tells of the controls."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from orchestrator_adapters.memory.clock import VirtualClock
from orchestrator_core.identifiers import Symbol
from orchestrator_core.limits import SessionRule
from orchestrator_core.model import Position
from orchestrator_core.tightening import TIGHTENABLE
from orchestrator_entrypoints.explanations import Explained, explain_run
from orchestrator_entrypoints.limits_schema import schema_of_limits
from orchestrator_entrypoints.metrics import Metrics
from orchestrator_entrypoints.observed import ObservedRuns
from orchestrator_entrypoints.shown_runs import result_of
from tests.unit.http_stage import RUN, RUNS, Stage, a_stage, unavailable
from tests.unit.world import World

pytestmark = pytest.mark.anyio

SUNDAY = datetime(2026, 3, 1, 15, tzinfo=UTC)
MONDAY = datetime(2026, 3, 2, 15, tzinfo=UTC)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with a_stage() as ready:
        yield ready


async def test_a_request_is_held_to_a_limit_that_it_tightens(stage: Stage) -> None:
    result = (await stage.run("AAPL", limits={"max_order_qty": 49})).json()
    [mapping] = result["mappings"]
    assert mapping["skip_reason"] == "denied: MAX_ORDER_QTY qty=50 limit=49"
    assert not stage.sink.ledger
    assert (await stage.run("AAPL")).json()["mappings"][0]["order_state"] == "accepted"


async def test_the_digits_of_a_limit_are_those_that_were_sent(stage: Stage) -> None:
    # As a float it would be 5000, and let the order through.
    body = b'{"symbols": ["AAPL"], "limits": {"max_order_notional": 4999.99999999999999999999}}'
    headers = {"Content-Type": "application/json"}
    result = (await stage.client.post(RUN, content=body, headers=headers)).json()
    [mapping] = result["mappings"]
    assert mapping["skip_reason"].endswith("limit=4999.99999999999999999999")


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        ({"max_order_quantity": 5}, "limits.max_order_quantity: is no limit"),
        ({"max_position_size": 5}, "limits.max_position_size: is a field of the request by itself"),
        ({"max_order_qty": 101}, "limits.max_order_qty: expected at most 100"),
        ({"max_order_qty": "5"}, "limits.max_order_qty: expected a whole number"),
        ({"max_order_notional": True}, "limits.max_order_notional: expected"),
        ({"max_order_notional": {}}, "limits.max_order_notional: expected"),
        ({"price_band": 0}, "limits.price_band: expected"),
        ({"max_side_weight": "1.5"}, "limits.max_side_weight: expected at most 1"),
        ({"max_price_age_seconds": 31}, "limits.max_price_age_seconds: expected at most 30"),
        ({"reduce_only": "true"}, "limits.reduce_only: expected true or false"),
        ({"restricted_symbols": "AAPL"}, "limits.restricted_symbols: expected a list"),
        ({"allowed_symbols": ["TSLA"]}, "limits.allowed_symbols: expected symbols that are"),
        ({"market_session": "off"}, "limits.market_session: expected warn or stricter"),
        ({"market_session": []}, "limits.market_session: expected one of"),
    ],
)
async def test_a_limit_that_would_loosen_or_is_none_is_400_and_named(
    limits: dict[str, Any], word: str
) -> None:
    async with a_stage(
        MAX_ORDER_QTY="100", ALLOWED_SYMBOLS="AAPL,MSFT", MARKET_SESSION="warn"
    ) as stage:
        response = await stage.run("AAPL", limits=limits)
        assert response.status_code == 400
        assert response.json()["detail"].startswith(word)
        assert await stage.stored() == 0


@pytest.mark.parametrize("limits", [[], "none", 5, True])
async def test_limits_that_are_no_object_are_422(stage: Stage, limits: Any) -> None:
    response = await stage.run("AAPL", limits=limits)
    assert response.status_code == 422
    [problem] = response.json()["detail"]
    assert (problem["loc"], problem["type"]) == (["body", "limits"], "object_type")


@pytest.mark.parametrize("limits", [None, {}])
async def test_no_limits_leave_those_in_force(stage: Stage, limits: Any) -> None:
    assert (await stage.run("AAPL", limits=limits)).json()["num_orders_accepted"] == 1


async def test_the_schema_names_every_limit_that_a_request_may_tighten() -> None:
    assert tuple(schema_of_limits()["properties"]) == TIGHTENABLE


async def test_a_key_stands_for_the_limits_too_however_they_are_written(stage: Stage) -> None:
    headers = {"Idempotency-Key": "k"}
    limits = {"max_order_notional": 6000, "restricted_symbols": ["tsla", "GME"]}
    first = await stage.run("AAPL", limits=limits, headers=headers)
    again = {"restricted_symbols": ["GME", "TSLA"], "max_order_notional": "6000.00"}
    same = await stage.run("AAPL", limits=again, headers=headers)
    assert same.headers["idempotency-replayed"] == "true"
    assert same.json() == first.json()
    other = await stage.run("AAPL", limits=again | {"max_order_qty": 90}, headers=headers)
    assert (other.status_code, other.json()["detail"]["error"]) == (422, "Idempotency-Key reused")


async def test_a_mapping_tells_its_leg_and_the_price_it_was_sized_with(stage: Stage) -> None:
    made = (await stage.run("AAPL", "TSLA")).json()
    ordered, unpriced = made["mappings"]
    assert (ordered["leg"], ordered["sizing_price"]) == (0, "100")
    assert (unpriced["leg"], unpriced["sizing_price"]) == (None, None)
    shown = (await stage.client.get(f"{RUNS}/{made['run_id']}")).json()
    assert shown["mappings"] == made["mappings"]


@pytest.mark.parametrize("is_dry", [False, True])
async def test_a_run_that_explains_itself_tells_how_near_it_comes(
    stage: Stage, is_dry: bool
) -> None:
    body = {"symbols": ["AAPL", "MSFT"], "capital": "100050", "dry_run": is_dry}
    made = (await stage.client.post(RUN, json=body, params={"explain": "true"})).json()
    allocation = {name: Decimal(value) for name, value in made["allocation"].items()}
    assert allocation["investable"] == 100_050
    assert allocation["wanted"] == 10_005
    assert allocation["allocated"] == 10_000
    assert allocation["leftover_cash"] == 5
    assert allocation["tracking_error"] == (Decimal("2.5") / 100_050).quantize(Decimal("1e-12"))
    plain = (await stage.client.get(f"{RUNS}/{made['run_id']}")).json()
    assert "allocation" not in plain


async def test_differences_ask_for_a_name_of_the_rebalance() -> None:
    async with a_stage(SIZING_MODE="delta") as stage:
        for key in ({}, {"rebalance_key": ""}, {"rebalance_key": None}):
            response = await stage.run("AAPL", **key)
            assert response.status_code == 400
            assert response.json()["detail"].startswith("rebalance_key: expected a name")
        assert await stage.stored() == 0


async def test_each_leg_of_a_flip_explains_itself() -> None:
    async with a_stage({"AAPL": -0.05}, SIZING_MODE="delta", LEG_WAIT_SECONDS="0.01") as stage:
        stage.positions.put([Position(Symbol("AAPL"), 30)])
        body = {"symbols": ["AAPL"], "rebalance_key": "flip"}
        made = (await stage.client.post(RUN, json=body, params={"explain": "true"})).json()
        first, second = made["mappings"]
        assert [(m["leg"], m["order_side"], m["order_qty"]) for m in (first, second)] == [
            (0, "sell", 30),
            (1, "sell", 50),
        ]
        assert first["client_order_id"] != second["client_order_id"]
        assert second["order_state"] == "not_placed"
        assert "its first leg has not filled" in second["skip_reason"]
        for mapping, order in ((first, "sell 30"), (second, "sell 50")):
            steps = {step["name"]: step for step in mapping["explanation"]}
            assert (steps["position"]["value"], steps["delta"]["value"]) == ("30", "-80")
            assert steps["order"]["value"] == order
            assert steps["order"]["note"].startswith(mapping["client_order_id"])


async def test_a_target_that_is_held_needs_no_order() -> None:
    async with a_stage(SIZING_MODE="delta") as stage:
        stage.positions.put([Position(Symbol("AAPL"), 50)])
        [mapping] = (await stage.run("AAPL", rebalance_key="k")).json()["mappings"]
        assert (mapping["skip_reason"], mapping["order_qty"]) == ("at_target", None)


async def test_positions_that_cannot_be_seen_end_the_run() -> None:
    async with a_stage(SIZING_MODE="delta") as stage:
        stage.faulty_positions.error = unavailable("positions", "refused")
        response = await stage.run("AAPL", rebalance_key="k")
        assert response.status_code == 503
        assert response.json()["detail"]["error"] == "Positions unavailable"
        assert not stage.sink.ledger


@pytest.mark.parametrize(("rule", "is_warned"), [("warn", True), ("off", False)])
async def test_a_decision_outside_the_session_is_warned_of_where_that_is_asked(
    rule: str, is_warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    world = World({"AAPL": 0.05}, clock=VirtualClock(SUNDAY))
    limits = evolve(world.policy.limits, market_session=SessionRule(rule))
    world.policy = evolve(world.policy, limits=limits)
    world.set_ports(runs=ObservedRuns(world.runs, Metrics()))
    run = await world.start()
    explained = await explain_run(run, world.runs, world.policy, in_full=False)
    logged = [record.message for record in caplog.records if record.levelname == "WARNING"]
    if not is_warned:
        assert (explained, logged) == (None, [])
        return
    assert logged == ["decided against a warning"]
    assert explained is not None
    note = result_of(run, explained).note
    assert note is not None
    assert note.startswith("Decided while the market is closed: ")
    assert (explained.waterfalls, explained.allocation) == ({}, None)


async def test_a_decision_within_the_session_is_not_warned_of() -> None:
    world = World({"AAPL": 0.05}, clock=VirtualClock(MONDAY))
    limits = evolve(world.policy.limits, market_session=SessionRule.WARN)
    world.policy = evolve(world.policy, limits=limits)
    run = await world.start()
    assert await explain_run(run, world.runs, world.policy, in_full=False) == Explained()
    assert result_of(run, Explained()).note is None
