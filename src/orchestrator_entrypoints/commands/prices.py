"""`orchestrator prices`: prices of embedded parts, where no feed writes them."""

import argparse
import asyncio
import csv
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from orchestrator_core.errors import InvalidRequest
from orchestrator_core.identifiers import parse_symbol
from orchestrator_core.model import Quote
from orchestrator_core.money import parse_money
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.edge import CommandFailure, settings_for
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run_output import counted_as
from orchestrator_entrypoints.wiring import put_embedded_prices

SOURCE = "command_line"


def set_prices(arguments: argparse.Namespace, console: Console) -> int:
    """Write prices, as of now, all or none."""
    settings = settings_for(arguments)
    if not settings.embedded:
        raise CommandFailure(
            "prices are set for embedded parts only: give --data FILE, "
            "or ORCHESTRATOR_EMBEDDED=true",
            ExitCode.USAGE,
        )
    now = datetime.now(UTC)
    pairs = _from_csv(arguments.csv) if arguments.csv is not None else _split(arguments.quotes)
    quotes: dict[str, Quote] = {}
    for where, symbol, price in pairs:
        quote = _quote(where, symbol, price, now)
        if quote.symbol in quotes:
            raise CommandFailure(f"{where}: {quote.symbol} is given twice", ExitCode.USAGE)
        quotes[quote.symbol] = quote
    if not quotes:
        raise CommandFailure("expected SYMBOL=PRICE, or --csv FILE with prices", ExitCode.USAGE)
    asyncio.run(put_embedded_prices(settings, quotes.values()))
    console.line(f"{counted_as(len(quotes), 'price')} set in {settings.data}, as of now")
    return ExitCode.DONE


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


def _quote(where: str, symbol: str, price: str, now: datetime) -> Quote:
    try:
        return Quote(parse_symbol(symbol), parse_money(price.strip()), as_of=now, source=SOURCE)
    except InvalidRequest as problem:
        raise CommandFailure(f"{where}: {problem.problem}", ExitCode.USAGE) from None
    except ValueError as problem:
        raise CommandFailure(f"{where}: price: {problem}", ExitCode.USAGE) from None
