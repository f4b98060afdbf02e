"""Waiting for a run's end: how often the database is asked, and what ends the wait."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from orchestrator_adapters.memory.orders import Behaviour
from orchestrator_core.driver import run_sync
from orchestrator_core.identifiers import Symbol
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.ports import SubmitKind
from orchestrator_core.runs import Run
from orchestrator_entrypoints.recoverer import Recoverer
from orchestrator_entrypoints.watching import LONGEST_PAUSE_SECONDS, watch_run
from tests.unit.http_stage import RUNS, Stage, a_stage, unavailable
from tests.unit.recovery_stage import until
from tests.unit.world import World, outcome

pytestmark = pytest.mark.anyio


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with a_stage() as ready:
        yield ready


async def a_running_run(stage: Stage) -> str:
    stage.sink.script(Symbol("AAPL"), [Behaviour.TAKE_AND_LOSE_ANSWER])
    run_id = (await stage.run("AAPL")).json()["run_id"]
    assert isinstance(run_id, str)
    return run_id


async def test_a_run_that_has_ended_is_shown_at_once(stage: Stage) -> None:
    run_id = (await stage.run()).json()["run_id"]
    async with asyncio.timeout(2):
        shown = await stage.client.get(f"{RUNS}/{run_id}", params={"wait": 60})
    assert (shown.status_code, shown.json()["status"]) == (200, "completed")


async def test_a_wait_ends_with_the_run(stage: Stage) -> None:
    run_id = await a_running_run(stage)
    waiting = asyncio.create_task(stage.client.get(f"{RUNS}/{run_id}", params={"wait": 60}))

    async def recover() -> object:
        return await Recoverer(stage.orchestrator).recover_one()

    await until(recover)
    async with asyncio.timeout(3):
        assert (await waiting).json()["status"] == "completed"


async def test_a_wait_ends_with_its_time(stage: Stage) -> None:
    run_id = await a_running_run(stage)
    async with asyncio.timeout(5):
        shown = await stage.client.get(f"{RUNS}/{run_id}", params={"wait": 1})
    assert (shown.status_code, shown.json()["status"]) == (200, "running")


async def test_a_wait_ends_with_the_service(stage: Stage) -> None:
    run_id = await a_running_run(stage)
    waiting = asyncio.create_task(stage.client.get(f"{RUNS}/{run_id}", params={"wait": 60}))
    await stage.faulty_runs.called("get_run")
    stage.orchestrator.stop.set()
    async with asyncio.timeout(2):
        assert (await waiting).json()["status"] == "running"


@pytest.mark.parametrize("wait", ["61", "-1", "1.5", "soon", ""])
async def test_a_wait_out_of_bounds_is_422(stage: Stage, wait: str) -> None:
    refused = await stage.client.get(f"{RUNS}/{uuid4()}", params={"wait": wait})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["query", "wait"]


async def test_an_unknown_run_is_not_waited_for(stage: Stage) -> None:
    async with asyncio.timeout(2):
        assert (await stage.client.get(f"{RUNS}/{uuid4()}?wait=60")).status_code == 404


async def test_a_database_that_fails_ends_the_wait(stage: Stage) -> None:
    run_id = await a_running_run(stage)
    waiting = asyncio.create_task(stage.client.get(f"{RUNS}/{run_id}", params={"wait": 60}))
    await stage.faulty_runs.called("get_run")
    stage.faulty_runs.error = unavailable()
    async with asyncio.timeout(3):
        assert (await waiting).status_code == 503


def a_world_in_doubt() -> World:
    world = World({"AAPL": 0.1})
    world.script("AAPL", outcome(SubmitKind.UNKNOWN, cause="lost"))
    assert world.run().status is RunStatus.RUNNING
    return world


def test_the_database_is_asked_at_growing_pauses() -> None:
    world = a_world_in_doubt()
    looks = 0

    async def look() -> Run | None:
        nonlocal looks
        looks += 1
        return world.stored()

    began = world.clock.monotonic()
    run = run_sync(watch_run(look, clock=world.clock, seconds=60))
    assert run is not None
    assert run.status is RunStatus.RUNNING
    assert world.clock.monotonic() - began == pytest.approx(60)
    assert 60 / LONGEST_PAUSE_SECONDS < looks < 75


def test_nobody_is_waited_for_who_has_gone() -> None:
    world = a_world_in_doubt()
    began = world.clock.monotonic()

    async def look() -> Run | None:
        return world.stored()

    async def is_given_up() -> bool:
        return world.clock.monotonic() - began >= 10

    run_sync(watch_run(look, clock=world.clock, seconds=60, is_given_up=is_given_up))
    assert world.clock.monotonic() - began == pytest.approx(10, abs=0.06)
