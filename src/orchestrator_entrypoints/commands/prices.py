"""`orchestrator prices`: prices and closes of embedded parts, where no feed writes them."""

import argparse
import asyncio
import csv
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from orchestrator_adapters.shared_closes import MAX_AGE_DAYS, Close
from orchestrator_core.errors import InvalidRequest
from orchestrator_core.identifiers import Symbol, parse_symbol
from orchestrator_core.model import Quote
from orchestrator_core.money import parse_money
from orchestrator_core.requests import parse_date
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.edge import CommandFailure, settings_for
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run_output import counted_as
from orchestrator_entrypoints.wiring import put_embedded_closes, put_embedded_prices

SOURCE = "command_line"


def set_prices(arguments: argparse.Namespace, console: Console) -> int:
    """Write prices as of now, or a day's closes: all or none."""
    settings = settings_for(arguments)
    if not settings.embedded:
        raise CommandFailure(
            "prices are set for embedded parts only: give --data FILE, "
            "or ORCHESTRATOR_EMBEDDED=true",
            ExitCode.USAGE,
        )
    now = datetime.now(UTC)
    day = None if arguments.close is None else _close_day(arguments.close, now.date())
    prices = _prices(arguments)
    if day is None:
        quotes = (Quote(symbol, price, now, SOURCE) for symbol, price in prices.items())
        asyncio.run(put_embedded_prices(settings, quotes))
        console.line(f"{counted_as(len(prices), 'price')} set in {settings.data}, as of now")
        return ExitCode.DONE
    closes = (Close(symbol, price, day) for symbol, price in prices.items())
    asyncio.run(put_embedded_closes(settings, closes))
    last = day + timedelta(MAX_AGE_DAYS)
    console.line(
        f"{counted_as(len(prices), 'close')} of {day} set in {settings.data}: "
        f"prices are held against them from {day + timedelta(1)} to {last}, UTC"
    )
    return ExitCode.DONE


def _close_day(text: str, today: date) -> date:
    """Return the day of closes that a run of today, or of tomorrow at the earliest, can use."""
    day = parse_date(text, field_name="--close")
    if not 0 <= (today - day).days <= MAX_AGE_DAYS:
        raise InvalidRequest(
            "--close",
            f"expected today, {today} in UTC, or one of the {MAX_AGE_DAYS} days before, got {day}",
        )
    return day


def _prices(arguments: argparse.Namespace) -> dict[Symbol, Decimal]:
    given = _from_csv(arguments.csv) if arguments.csv is not None else _split(arguments.quotes)
    prices: dict[Symbol, Decimal] = {}
    for where, symbol_text, price_text in given:
        symbol, price = _parse(where, symbol_text, price_text)
        if symbol in prices:
            raise CommandFailure(f"{where}: {symbol} is given twice", ExitCode.USAGE)
        prices[symbol] = price
    if not prices:
        raise CommandFailure("expected SYMBOL=PRICE, or --csv FILE with prices", ExitCode.USAGE)
    return prices


Given = Iterator[tuple[str, str, str]]


def _split(texts: Iterable[str]) -> Given:
    for text in texts:
        where = repr(text[:60])
        symbol, equals, price = text.partition("=")
        if not equals:
            raise CommandFailure(f"{where}: expected SYMBOL=PRICE", ExitCode.USAGE)
        yield where, symbol, price


def _from_csv(path: str) -> Given:
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CommandFailure(f"{path}: expected UTF-8", ExitCode.USAGE) from None
    except OSError as error:
        raise CommandFailure(f"{path}: {error.strerror}", ExitCode.USAGE) from error
    for number, row in enumerate(csv.reader(text.splitlines()), start=1):
        where = f"{path}, line {number}"
        if len(row) == 2:  # noqa: PLR2004 - a symbol and its price
            yield where, row[0], row[1]
        elif row:
            raise CommandFailure(f"{where}: expected SYMBOL,PRICE", ExitCode.USAGE)


def _parse(where: str, symbol: str, price: str) -> tuple[Symbol, Decimal]:
    try:
        return parse_symbol(symbol), parse_money(price.strip())
    except InvalidRequest as problem:
        raise CommandFailure(f"{where}: {problem.problem}", ExitCode.USAGE) from None
    except ValueError as problem:
        raise CommandFailure(f"{where}: price: {problem}", ExitCode.USAGE) from None
