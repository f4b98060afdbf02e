"""What a service does by itself: it recovers runs, follows orders, and says what it needs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from attrs import evolve

from orchestrator_adapters.memory.orders import Behaviour
from orchestrator_core.commits import OrderNews
from orchestrator_core.identifiers import ClientOrderId, RunId, Symbol
from orchestrator_core.recovery import Recovered
from orchestrator_entrypoints.app import create_app
from orchestrator_entrypoints.follower import BUSY_SECONDS, IDLE_SECONDS, Follower
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.recoverer import Recoverer
from tests.unit.http_stage import RUNS, Stage, a_stage, unavailable
from tests.unit.recovery_stage import Lines, all_lines, until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with a_stage() as ready:
        yield ready


@pytest.fixture
def lines() -> Iterator[Lines]:
    with all_lines() as found:
        yield found


async def a_run_in_doubt(stage: Stage, behaviour: Behaviour) -> dict[str, Any]:
    """Make a run of two orders, of which AAPL's goes so."""
    stage.sink.script(Symbol("AAPL"), [behaviour])
    response = await stage.run()
    assert (response.status_code, response.json()["status"]) == (202, "running")
    result: dict[str, Any] = response.json()
    return result


async def recovered(orchestrator: Orchestrator) -> Recovered:
    """Return what became of the only run, once it is due."""
    found: list[Recovered] = []

    async def recover() -> bool:
        one = await Recoverer(orchestrator).recover_one()
        found.extend([] if one is None else [one])
        return bool(found)

    await until(recover)
    return found[0]


async def shown(stage: Stage, run_id: str) -> dict[str, Any]:
    result: dict[str, Any] = (await stage.client.get(f"{RUNS}/{run_id}")).json()
    return result


def soon_unresolved(stage: Stage) -> Orchestrator:
    policy = evolve(stage.orchestrator.policy, unresolved_after_seconds=0.1)
    return evolve(stage.orchestrator, policy=policy)


async def test_an_order_whose_answer_was_lost_is_found_and_counted_once(
    stage: Stage, lines: Lines
) -> None:
    run = await a_run_in_doubt(stage, Behaviour.TAKE_AND_LOSE_ANSWER)
    assert stage.count("orchestrator_positions_adjusted_total") == 1
    await recovered(stage.orchestrator)
    result = await shown(stage, run["run_id"])
    assert (result["status"], result["num_orders_accepted"]) == ("completed", 2)
    assert stage.count("orchestrator_orders_recovered_total", outcome="accepted") == 1
    assert stage.count("orchestrator_positions_adjusted_total") == 2
    assert stage.count("orchestrator_orders_submitted_total", status="success") == 1
    [taken], [told] = lines.of("run taken over"), lines.of("run recovered")
    assert taken["run_id"] == told["run_id"] == run["run_id"]
    assert (told["status"], told["settled"], told["level"]) == (
        "completed",
        {"accepted": 1},
        "INFO",
    )


async def test_a_look_that_finds_nothing_new_calls_nobody(stage: Stage, lines: Lines) -> None:
    await a_run_in_doubt(stage, Behaviour.TAKE_AND_LOSE_ANSWER)
    stage.sink.is_down = True
    await recovered(stage.orchestrator)
    [told] = lines.of("run recovered")
    assert (told["open"], told["settled"], told["level"]) == (1, {}, "INFO")


async def test_an_order_that_the_gateway_does_not_have_is_sent_again(
    stage: Stage, lines: Lines
) -> None:
    run = await a_run_in_doubt(stage, Behaviour.LOSE_ORDER)
    await recovered(stage.orchestrator)
    assert (await shown(stage, run["run_id"]))["status"] == "completed"
    assert stage.count("orchestrator_orders_resent_total") == 1
    assert stage.count("orchestrator_positions_adjusted_total") == 2
    [told] = lines.of("run recovered")
    assert (told["resent"], told["settled"]) == (1, {})


@pytest.mark.parametrize("state", ["unresolved", "conflict"])
async def test_an_order_for_an_operator_is_told_once_with_what_is_to_be_done(
    stage: Stage, lines: Lines, state: str
) -> None:
    stage.sink.script(Symbol("AAPL"), [Behaviour.TAKE_AND_LOSE_ANSWER])
    run = (await stage.run("AAPL")).json()
    [mapping] = run["mappings"]
    id_ = mapping["client_order_id"]
    if state == "conflict":
        stage.sink.garble(id_, qty=1)
    else:
        stage.sink.forget(id_)
    await recovered(soon_unresolved(stage))
    [line] = lines.of("order waits for an operator")
    assert (line["level"], line["run_id"], line["state"]) == ("ERROR", run["run_id"], state)
    assert f"orchestrator orders resolve {id_} --as" in line["to_do"]
    assert stage.count("orchestrator_orders_left_to_operator_total", state=state) == 1

    recovery = (await stage.client.get("/health")).json()["details"]["recovery"]
    key = "orders_unresolved" if state == "unresolved" else "orders_in_conflict"
    assert (recovery[key], recovery["orders_unknown"]) == (1, 0)
    assert "orchestrator orders resolve" in recovery["to_do"]
    assert stage.count(f"orchestrator_{key}") == 1


async def test_health_says_what_waits_for_recovery(stage: Stage) -> None:
    await a_run_in_doubt(stage, Behaviour.TAKE_AND_LOSE_ANSWER)

    async def is_due() -> bool:
        recovery = (await stage.client.get("/health")).json()["details"]["recovery"]
        return bool(recovery["runs_due"])

    await until(is_due)
    recovery = (await stage.client.get("/health")).json()["details"]["recovery"]
    assert recovery["oldest_due_seconds"] >= 0
    assert (recovery["orders_unknown"], recovery["orders_followed"]) == (1, 1)
    assert recovery["orders_sending"] == 0
    assert recovery["to_do"] is None
    assert stage.count("orchestrator_recovery_runs_due") == 1
    assert stage.count("orchestrator_orders_followed") == 1


async def test_health_does_not_know_the_backlog_of_a_database_that_is_away(stage: Stage) -> None:
    stage.faulty_runs.error = unavailable()
    recovery = (await stage.client.get("/health")).json()["details"]["recovery"]
    assert set(recovery.values()) == {None}


async def test_nothing_is_taken_once_the_service_stops(stage: Stage) -> None:
    await a_run_in_doubt(stage, Behaviour.TAKE_AND_LOSE_ANSWER)
    stage.orchestrator.stop.set()
    stage.faulty_runs.error = AssertionError("asked")
    assert await Recoverer(stage.orchestrator).go_round() == 2.0


async def test_a_round_goes_on_until_no_run_is_due(stage: Stage) -> None:
    for key in ("one", "two", "three"):
        stage.sink.script(Symbol("AAPL"), [Behaviour.TAKE_AND_LOSE_ANSWER])
        await stage.run("AAPL", rebalance_key=key)

    async def all_are_due() -> bool:
        return (await stage.orchestrator.ports.runs.backlog()).runs_due == 3

    await until(all_are_due)
    await Recoverer(stage.orchestrator).go_round()
    assert stage.count("orchestrator_orders_recovered_total", outcome="accepted") == 3


async def test_fills_come_true_by_following(stage: Stage, lines: Lines) -> None:
    run = (await stage.run("AAPL")).json()
    [mapping] = run["mappings"]
    stage.sink.fill(mapping["client_order_id"], price=Decimal("101.25"))
    follower = Follower(stage.orchestrator)
    assert await follower.go_round() == IDLE_SECONDS

    async def is_busy() -> bool:
        return await follower.go_round() == BUSY_SECONDS

    await until(is_busy)
    result = await shown(stage, run["run_id"])
    [filled] = result["mappings"]
    assert (filled["order_status"], filled["filled_avg_price"]) == ("filled", "101.25")
    assert Decimal(filled["filled_qty"]) == mapping["order_qty"]
    assert result["num_orders_filled"] == 1
    assert stage.count("orchestrator_shares_filled_total") == mapping["order_qty"]
    assert stage.count("orchestrator_order_news_total", kind="ended") == 1
    [line] = lines.of("orders went on")
    assert (line["looked"], line["ended"]) == (1, 1)


async def test_an_order_that_lives_on_after_its_end_is_told_as_an_error(
    stage: Stage, lines: Lines
) -> None:
    run = (await stage.run("AAPL")).json()
    id_ = ClientOrderId(run["mappings"][0]["client_order_id"])
    accepted = stage.sink.ledger[id_].report
    canceled = evolve(accepted, status="canceled")
    run_id = RunId(UUID(run["run_id"]))
    ended = OrderNews(run_id, id_, accepted, canceled, follow_seconds=0.0)
    await stage.orchestrator.ports.runs.record_news([ended])
    stage.sink.fill(id_, price=Decimal(100), qty=1)

    found = await Follower(stage.orchestrator).follow_once()
    assert len(found.revived) == 1
    [line] = lines.of("order lives on after its end")
    assert (line["level"], line["run_id"], line["client_order_id"]) == (
        "ERROR",
        run["run_id"],
        id_,
    )
    assert (line["was"], line["now"]) == ("canceled", "partially_filled")
    assert stage.count("orchestrator_order_news_total", kind="revived") == 1


async def test_a_service_recovers_by_itself_and_ends_its_loops_with_itself(
    stage: Stage, lines: Lines
) -> None:
    run = await a_run_in_doubt(stage, Behaviour.TAKE_AND_LOSE_ANSWER)
    app, tasks = create_app(stage.orchestrator), asyncio.all_tasks()
    async with app.router.lifespan_context(app):
        waited = await stage.client.get(f"{RUNS}/{run['run_id']}", params={"wait": 20})
    assert waited.json()["status"] == "completed"
    assert stage.orchestrator.stop.is_set
    assert asyncio.all_tasks() <= tasks
    assert not lines.of("stopped with runs under way")


async def test_a_stop_lets_the_recovery_under_way_end(stage: Stage) -> None:
    stage.sink.script(Symbol("AAPL"), [Behaviour.TAKE_AND_LOSE_ANSWER])
    run = (await stage.run("AAPL")).json()
    stage.faulty_sink.only = frozenset({"look_up"})
    stage.faulty_sink.gate = asyncio.Event()
    app = create_app(stage.orchestrator)
    lifespan = app.router.lifespan_context(app)
    await lifespan.__aenter__()
    await stage.faulty_sink.called("look_up")
    stopping = asyncio.create_task(lifespan.__aexit__(None, None, None))

    async def stops() -> bool:
        return stage.orchestrator.stop.is_set

    await until(stops)
    stage.faulty_sink.gate.set()
    await stopping
    assert (await shown(stage, run["run_id"]))["status"] == "completed"


async def test_a_stop_waits_for_no_pause_between_rounds() -> None:
    async with a_stage(RECOVERY_SECONDS="3600") as stage:
        app = create_app(stage.orchestrator)
        async with asyncio.timeout(3):
            async with app.router.lifespan_context(app):
                await stage.faulty_runs.called("take_run")
                await stage.faulty_runs.called("take_followed")


async def test_health_keeps_its_deadline_where_the_backlog_hangs(stage: Stage) -> None:
    stage.faulty_runs.only, stage.faulty_runs.hangs = frozenset({"backlog"}), True
    async with asyncio.timeout(3):
        recovery = (await stage.client.get("/health")).json()["details"]["recovery"]
    assert (recovery["runs_due"], recovery["orders_unresolved"]) == (None, 0)
