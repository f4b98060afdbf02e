"""The shared keys in a SQLite file: kill switch, prices, closes, breaker without a Redis.

The texts are those that stand in Redis. Each change is one transaction. A file is one copy, so no
reading of it can be an old one while the latch beside it is new.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import date

from attrs import frozen

from orchestrator_adapters import kill_switch_changes as changes
from orchestrator_adapters.shared_closes import Close, close_key, encode_close, references_in
from orchestrator_adapters.shared_keys import (
    CIRCUIT_BREAKER_STATE,
    HISTORY_KEPT,
    KILL_SWITCH_STATE,
    Text,
    decode_breaker,
    decode_entry,
    decode_price,
    decode_state,
    encode_price,
    price_key,
)
from orchestrator_adapters.sqlite.database import SqliteDatabase
from orchestrator_core.identifiers import Symbol
from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    HistoryEntry,
    KillSwitchState,
)
from orchestrator_core.model import NoQuote, Quote, Reference
from orchestrator_core.ports import Breaker, SwitchChange

SOURCE = "sqlite"


def get_text(connection: sqlite3.Connection, key: str) -> Text | None:
    """Return what stands under a shared key; None where nothing does."""
    row = connection.execute("SELECT value FROM shared_state WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    text: Text = row[0]
    return text


def get_texts(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, Text]:
    """Return what stands under each of these keys; those where nothing does are left out."""
    found = connection.execute(
        "SELECT key, value FROM shared_state WHERE key IN (SELECT value FROM json_each(?))",
        (json.dumps(keys),),
    )
    return {row[0]: row[1] for row in found}


def put_text(connection: sqlite3.Connection, key: str, text: str) -> None:
    """Let `text` stand under a shared key."""
    connection.execute(
        "INSERT INTO shared_state (key, value) VALUES (?, ?)"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, text),
    )


def put_texts(connection: sqlite3.Connection, rows: Iterable[tuple[str, str]]) -> None:
    """Let each text stand under its key: rows of key and text."""
    for key, text in rows:
        put_text(connection, key, text)


@frozen
class SqliteKillSwitch:
    """The shared half of the kill switch, in a file."""

    database: SqliteDatabase

    async def read(self) -> KillSwitchState | None:
        text = await self.database.read(
            "kill_switch", "read", lambda connection: get_text(connection, KILL_SWITCH_STATE)
        )
        return None if text is None else decode_state(text)

    async def engage(self, engagement: Engagement, *, latch_epoch: int | None) -> SwitchChange:
        return await self._change(
            "engage", lambda found: changes.engage(found, engagement, latch_epoch=latch_epoch)
        )

    async def disengage(
        self, disengagement: Disengagement, *, latch_epoch: int, only_create: bool = False
    ) -> SwitchChange:
        return await self._change(
            "disengage",
            lambda found: changes.disengage(
                found, disengagement, latch_epoch=latch_epoch, only_create=only_create
            ),
        )

    async def stamp(self, expected: KillSwitchState, *, latch_epoch: int) -> bool:
        answer = await self._change(
            "stamp", lambda found: changes.stamp(found, expected, latch_epoch=latch_epoch)
        )
        return answer.changed

    async def history(self, *, limit: int) -> Sequence[HistoryEntry]:
        def select(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            return connection.execute(
                "SELECT entry FROM kill_switch_history ORDER BY id DESC LIMIT ?", (max(limit, 0),)
            ).fetchall()

        rows = await self.database.read("kill_switch", "history", select)
        return tuple(decode_entry(row[0]) for row in rows)

    async def check(self) -> None:
        await self.database.read(
            "kill_switch", "check", lambda connection: get_text(connection, KILL_SWITCH_STATE)
        )

    async def _change(self, operation: str, decide: changes.Decide) -> SwitchChange:
        def work(connection: sqlite3.Connection) -> SwitchChange:
            change = decide(get_text(connection, KILL_SWITCH_STATE))
            if change.text is not None:
                put_text(connection, KILL_SWITCH_STATE, change.text)
            if change.entry is not None:
                _append(connection, change.entry)
            return change.answer

        return await self.database.write("kill_switch", operation, work)


def _append(connection: sqlite3.Connection, entry: str) -> None:
    last = connection.execute(
        "INSERT INTO kill_switch_history (entry) VALUES (?)", (entry,)
    ).lastrowid
    connection.execute("DELETE FROM kill_switch_history WHERE id <= ? - ?", (last, HISTORY_KEPT))


@frozen
class SqlitePriceSource:
    """Prices in a file; whoever runs without a Redis puts them there."""

    database: SqliteDatabase

    async def quotes(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Quote | NoQuote]:
        keys = [price_key(symbol) for symbol in symbols]
        texts = await self.database.read(
            "prices", "quotes", lambda connection: get_texts(connection, keys)
        )
        return {
            symbol: decode_price(symbol, texts.get(price_key(symbol)), source=SOURCE)
            for symbol in symbols
        }

    async def put(self, quotes: Iterable[Quote]) -> None:
        """Let these quotes stand for their symbols. Repeating it is safe.

        Raises:
            Unavailable: Nothing was put.
            OutcomeUnknown: They may have been put.
        """
        rows = [(price_key(quote.symbol), encode_price(quote)) for quote in quotes]
        await self.database.write("prices", "put", lambda connection: put_texts(connection, rows))


@frozen
class SqliteCloseSource:
    """Closing prices in a file; whoever runs without a Redis puts them there."""

    database: SqliteDatabase

    async def closes(
        self, symbols: Sequence[Symbol], *, before: date
    ) -> Mapping[Symbol, Reference]:
        keys = [close_key(symbol) for symbol in symbols]
        texts = await self.database.read(
            "closes", "closes", lambda connection: get_texts(connection, keys)
        )
        return references_in(
            ((symbol, texts.get(close_key(symbol))) for symbol in symbols), before=before
        )

    async def put(self, closes: Iterable[Close]) -> None:
        """Let these closes stand for their symbols. Repeating it is safe.

        Raises:
            Unavailable: Nothing was put.
            OutcomeUnknown: They may have been put.
        """
        rows = [(close_key(close.symbol), encode_close(close)) for close in closes]
        await self.database.write("closes", "put", lambda connection: put_texts(connection, rows))


@frozen
class SqliteCircuitBreaker:
    """The shared circuit breaker, in a file."""

    database: SqliteDatabase

    async def read(self) -> Breaker | None:
        text = await self.database.read(
            "breaker", "read", lambda connection: get_text(connection, CIRCUIT_BREAKER_STATE)
        )
        return None if text is None else decode_breaker(text)
