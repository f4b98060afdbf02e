import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from orchestrator_core.errors import Unavailable
from orchestrator_entrypoints.logs import RUN_ID, configure_logging, log_event
from orchestrator_entrypoints.settings import LogFormat, LogLevel
from tests.unit.http_stage import Stage, a_stage

LOG = logging.getLogger("orchestrator.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield io.StringIO()
    root.handlers = handlers
    root.setLevel(level)


def lines_of(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_fields(stream: io.StringIO) -> None:
    configure_logging(LogLevel.INFO, LogFormat.JSON, stream=stream)
    log_event(LOG, logging.INFO, "wave sent", orders=2, price=Decimal("1.50"), ok=True, none=None)
    [line] = lines_of(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "INFO",
        "logger": "orchestrator.test",
        "event": "wave sent",
        "orders": 2,
        "price": "1.50",
        "ok": True,
        "none": None,
    }


@pytest.mark.parametrize("log_format", list(LogFormat))
def test_untrusted_text_forges_no_line_and_is_cut(
    stream: io.StringIO, log_format: LogFormat
) -> None:
    configure_logging(LogLevel.INFO, log_format, stream=stream)
    evil = "\n2026 INFO forged\r\x1b[2J\u2028" + "x" * 10_000
    log_event(LOG, logging.INFO, "run refused", reason=evil, nested={"a": {evil: evil}})
    LOG.info(evil)
    text = stream.getvalue()
    assert len(text.splitlines()) == 2
    assert text.isascii()
    assert "\x1b" not in text
    assert len(text) < 4_000


def test_the_run_id_stands_on_every_line_of_a_run(stream: io.StringIO) -> None:
    configure_logging(LogLevel.INFO, LogFormat.JSON, stream=stream)
    token = RUN_ID.set("r-1")
    LOG.info("inside, also from a library")
    RUN_ID.reset(token)
    LOG.info("outside")
    inside, outside = lines_of(stream)
    assert inside["run_id"] == "r-1"
    assert "run_id" not in outside


def test_an_exception_is_logged_with_its_traceback(stream: io.StringIO) -> None:
    for log_format in LogFormat:
        configure_logging(LogLevel.INFO, log_format, stream=stream)
        try:
            int("oops")
        except ValueError:
            LOG.exception("broken")
    assert stream.getvalue().count("ValueError: invalid literal") == 2


def test_the_level_and_talkative_libraries_are_held(stream: io.StringIO) -> None:
    configure_logging(LogLevel.WARNING, LogFormat.TEXT, stream=stream)
    LOG.info("hidden")
    logging.getLogger("httpx").info("hidden")
    logging.getLogger("uvicorn.error").warning("shown")
    assert stream.getvalue().count("\n") == 1
    assert "WARNING shown" in stream.getvalue()


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with a_stage() as ready:
        yield ready


@pytest.mark.anyio
async def test_each_transition_of_a_run_is_one_line_with_its_id(
    stream: io.StringIO, stage: Stage
) -> None:
    configure_logging(LogLevel.INFO, LogFormat.JSON, stream=stream)
    made = (await stage.run(headers={"X-Request-ID": "req-1"})).json()
    lines = lines_of(stream)
    assert [line["event"] for line in lines] == [
        "run opened",
        "plan committed",
        "wave sent",
        "run ended",
    ]
    assert {line["run_id"] for line in lines} == {made["run_id"]}
    assert {line["request_id"] for line in lines} == {"req-1"}
    assert (lines[-1]["status"], lines[-1]["accepted"]) == ("completed", 2)


@pytest.mark.anyio
async def test_a_refused_and_a_broken_run_are_told_once(stream: io.StringIO, stage: Stage) -> None:
    configure_logging(LogLevel.INFO, LogFormat.JSON, stream=stream)
    stage.faulty_switch.error = Unavailable("kill_switch", "read", "down")
    await stage.run()
    stage.faulty_switch.works()
    stage.faulty_signals.error = ZeroDivisionError("oops")
    await stage.run()
    refused, *_, broken = lines_of(stream)
    assert (refused["event"], refused["kind"]) == ("run refused", "TradingHalted")
    assert broken["event"] == "run broken"
    assert "ZeroDivisionError: oops" in broken["exception"]
    assert str(UUID(broken["run_id"])) == broken["run_id"]
