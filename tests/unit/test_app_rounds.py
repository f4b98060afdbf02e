"""The loops of the service: nothing ends them but the service, and they tell what changes."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from orchestrator_core.errors import Unavailable
from orchestrator_entrypoints.logs import RUN_ID
from orchestrator_entrypoints.orchestrator import StopFlag
from orchestrator_entrypoints.rounds import Rounds
from tests.unit.recovery_stage import Lines, all_lines

pytestmark = pytest.mark.anyio


@pytest.fixture
def lines() -> Iterator[Lines]:
    with all_lines() as found:
        yield found


def rounds(go_round: Callable[[], Awaitable[float]], stop: StopFlag) -> Rounds:
    return Rounds("digging", go_round, stop, failure_pause=0.0)


async def play(*problems: Exception | None) -> None:
    """Go one round for each: it fails so, or not."""
    stop, left = StopFlag(), list(problems)

    async def go_round() -> float:
        problem = left.pop(0)
        if not left:
            stop.set()
        if problem is not None:
            raise problem
        return 0.0

    async with asyncio.timeout(5):
        await rounds(go_round, stop).keep()


def away(cause: str) -> Unavailable:
    return Unavailable("runs", "take_run", cause)


async def test_a_failure_is_told_when_it_begins_and_when_it_is_over(lines: Lines) -> None:
    await play(away("refused"), away("refused"), away("no answer"), None, None)
    assert [(line["event"], line["level"]) for line in lines.found] == [
        ("digging held up", "WARNING"),
        ("digging goes on", "INFO"),
    ]
    assert (lines.found[0]["problem"], lines.found[0]["cause"]) == ("runs failed", "refused")


async def test_a_fault_of_ours_is_told_once_with_its_trace(lines: Lines) -> None:
    await play(ZeroDivisionError("x"), ZeroDivisionError("y"), KeyError("z"), None)
    first, second, last = lines.found
    assert (first["event"], first["level"]) == ("digging held up", "ERROR")
    assert first["problem"] == "broken by ZeroDivisionError"
    assert "ZeroDivisionError: x" in first["exception"]
    assert second["problem"] == "broken by KeyError"
    assert last["event"] == "digging goes on"


async def test_rounds_that_go_well_say_nothing(lines: Lines) -> None:
    await play(None, None)
    assert lines.found == []


async def test_a_pause_ends_when_the_loop_is_told_to() -> None:
    began = asyncio.Event()

    async def go_round() -> float:
        began.set()
        return 3600.0

    loop = rounds(go_round, StopFlag())
    keeping = asyncio.create_task(loop.keep())
    await began.wait()
    loop.end()
    async with asyncio.timeout(5):
        await keeping


async def test_no_round_begins_once_the_service_stops() -> None:
    stop = StopFlag()
    stop.set()

    async def go_round() -> float:
        raise AssertionError("began")

    async with asyncio.timeout(5):
        await rounds(go_round, stop).keep()


async def test_what_a_round_logs_of_a_run_names_no_later_line() -> None:
    stop, seen = StopFlag(), []

    async def go_round() -> float:
        seen.append(RUN_ID.get())
        RUN_ID.set("one")
        if len(seen) == 2:
            stop.set()
        return 0.0

    await rounds(go_round, stop).keep()
    assert seen == [None, None]
    assert RUN_ID.get() is None
