"""Log lines: one a decision, structured, with the run and the request that they belong to.

The standard library's loggers carry ours, uvicorn's and psycopg's alike. Text that came from
outside is escaped and cut: it can neither forge a line nor fill the disk.
"""

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from decimal import Decimal
from typing import TextIO
from uuid import UUID

from orchestrator_entrypoints.settings import LogFormat, LogLevel

MAX_TEXT = 500
MAX_TRACEBACK = 8_000

RUN_ID: ContextVar[str | None] = ContextVar("run_id", default=None)
REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)

# What they say below these levels is said by us, once, or would be a line for every order.
_LIBRARIES = {
    "asyncio": logging.WARNING,
    "httpcore": logging.WARNING,
    "httpx": logging.WARNING,
    "psycopg.pool": logging.ERROR,
    "uvicorn.access": logging.WARNING,
    "uvicorn.error": logging.WARNING,
}


def log_event(logger: logging.Logger, level: int, event: str, **fields: object) -> None:
    """Log an event with its fields; `event` is ours, the fields' values may be anybody's."""
    if logger.isEnabledFor(level):
        logger.log(level, event, extra={"fields": fields})


def cut(text: str, length: int = MAX_TEXT) -> str:
    """Return the text, shortened visibly."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def describe_record(record: logging.LogRecord) -> dict[str, object]:
    """Return a record as JSON values."""
    described: dict[str, object] = {
        "time": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%f}Z",
        "level": record.levelname,
        "logger": record.name,
        "event": cut(record.getMessage()),
    }
    for name, variable in (("run_id", RUN_ID), ("request_id", REQUEST_ID)):
        value = variable.get()
        if value is not None:
            described[name] = value
    fields = getattr(record, "fields", None)
    if isinstance(fields, Mapping):
        described.update((str(name), _plain(value)) for name, value in fields.items())
    if record.exc_info:
        traceback = logging.Formatter().formatException(record.exc_info)
        described["exception"] = traceback[-MAX_TRACEBACK:]
    return described


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {cut(str(name)): _plain(inner) for name, inner in value.items()}
    return cut(str(value))


class JsonFormatter(logging.Formatter):
    """One JSON object a line, ASCII only."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return json.dumps(describe_record(record))


class TextFormatter(logging.Formatter):
    """One line for a human's eye, with the same fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback's lines below it."""
        described = describe_record(record)
        time, level, _, event = (described.pop(k) for k in ("time", "level", "logger", "event"))
        traceback = described.pop("exception", None)
        fields = "".join(f" {name}={json.dumps(value)}" for name, value in described.items())
        line = f"{time} {level:<7} {_escape(str(event))}{fields}"
        return line if traceback is None else f"{line}\n{traceback}"


def _escape(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")


def configure_logging(
    level: LogLevel, log_format: LogFormat, *, stream: TextIO | None = None
) -> None:
    """Send every logger's lines to one stream, standard error unless told otherwise."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if log_format is LogFormat.JSON else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(str(level))
    for name, least in _LIBRARIES.items():
        logging.getLogger(name).setLevel(least)
