"""The order budget in a SQLite file: of all processes that use it.

Each call is one transaction of the file's one writer, so takers at once are served one after
another. What is older than a minute, or was held too long, is deleted by the next taker.
"""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from attrs import field, frozen
from attrs.validators import ge, optional

from orchestrator_adapters.sqlite.database import SqliteDatabase
from orchestrator_core.identifiers import ClientOrderId
from orchestrator_core.ports import Allowance, Clock
from orchestrator_core.record import decode_time, encode_time

PORT = "budget"
WINDOW = timedelta(seconds=60)
# Places mostly come free by being given back, which nobody is told of.
LONGEST_WAIT_FOR_PLACE = timedelta(milliseconds=100)
SHORTEST_HOLD = timedelta(microseconds=1)


@frozen
class SqliteOrderBudget:
    """What all processes on one file may send together.

    Attributes:
        clock: Its time of day stands in the file: the processes' clocks agree.
        max_in_flight: Orders between taking a place and giving it back; None: no limit.
        max_per_minute: Orders let go in any 60 seconds (a half-open window); None: no limit.
    """

    database: SqliteDatabase
    clock: Clock
    max_in_flight: int | None = field(validator=optional(ge(1)))
    max_per_minute: int | None = field(validator=optional(ge(1)))

    async def take(self, ids: Sequence[ClientOrderId], *, hold_seconds: float) -> Allowance:
        if not ids or self._grants_all:
            return Allowance(len(ids))
        hold = max(timedelta(seconds=hold_seconds), SHORTEST_HOLD)
        work = partial(self._take, ids=ids, hold=hold, now=self.clock.now())
        return await self.database.write(PORT, "take", work)

    async def give_back(self, ids: Sequence[ClientOrderId]) -> None:
        if not ids or self._grants_all:
            return

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM order_budget_places"
                " WHERE client_order_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(ids)),),
            )

        await self.database.write(PORT, "give_back", work)

    @property
    def _grants_all(self) -> bool:
        return self.max_in_flight is None and self.max_per_minute is None

    def _take(
        self,
        connection: sqlite3.Connection,
        ids: Sequence[ClientOrderId],
        hold: timedelta,
        now: datetime,
    ) -> Allowance:
        _forget_what_is_past(connection, now)
        for granted, id_ in enumerate(ids):
            if not _holds_place(connection, id_):
                wait = self._wait(connection, now)
                if wait > timedelta(0):
                    return Allowance(granted, wait.total_seconds())
                if self.max_per_minute is not None:
                    connection.execute(
                        "INSERT INTO order_budget_sent (sent_at) VALUES (?)", (encode_time(now),)
                    )
            connection.execute(
                "INSERT INTO order_budget_places (client_order_id, free_at) VALUES (?, ?)"
                " ON CONFLICT (client_order_id)"
                " DO UPDATE SET free_at = max(free_at, excluded.free_at)",
                (id_, encode_time(now + hold)),
            )
        return Allowance(len(ids))

    def _wait(self, connection: sqlite3.Connection, now: datetime) -> timedelta:
        """Return how long until there may be room for one more; zero: now."""
        wait = timedelta(0)
        for_place = _leaving(connection, "order_budget_places", "free_at", self.max_in_flight)
        if for_place is not None:
            wait = min(for_place - now, LONGEST_WAIT_FOR_PLACE)
        for_minute = _leaving(connection, "order_budget_sent", "sent_at", self.max_per_minute)
        if for_minute is not None:
            wait = max(wait, for_minute + WINDOW - now)
        return wait


def _forget_what_is_past(connection: sqlite3.Connection, now: datetime) -> None:
    then = encode_time(now)
    connection.execute("DELETE FROM order_budget_places WHERE free_at <= ?", (then,))
    connection.execute(
        "DELETE FROM order_budget_sent WHERE sent_at <= ?", (encode_time(now - WINDOW),)
    )
    # A clock that was put back would keep what is later than now for longer than a minute.
    connection.execute("UPDATE order_budget_sent SET sent_at = ? WHERE sent_at > ?", (then, then))


def _holds_place(connection: sqlite3.Connection, id_: ClientOrderId) -> bool:
    found = connection.execute(
        "SELECT 1 FROM order_budget_places WHERE client_order_id = ?", (id_,)
    )
    return found.fetchone() is not None


def _leaving(
    connection: sqlite3.Connection, table: str, column: str, limit: int | None
) -> datetime | None:
    """Return the time of the row whose leaving makes room; None where there is room."""
    if limit is None:
        return None
    # Latest first: the row that has `limit` - 1 before it.
    row = connection.execute(
        f"SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1 OFFSET ?",  # noqa: S608
        (limit - 1,),
    ).fetchone()
    return None if row is None else decode_time(row[0])
