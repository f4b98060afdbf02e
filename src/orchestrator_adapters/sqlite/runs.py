"""The run database in a SQLite file."""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial

from orchestrator_adapters.run_rows import SUMMARY_COLUMNS, encode_plan, summary_of_row
from orchestrator_adapters.sqlite import books, following, latch, records, run_writes, taking
from orchestrator_adapters.sqlite.database import SqliteDatabase
from orchestrator_adapters.sqlite.orders import open_orders
from orchestrator_core.books import StrategyBook
from orchestrator_core.commits import (
    Backlog,
    ClaimAnswer,
    EarlierRun,
    FollowedOrder,
    Lease,
    OpenOrder,
    OrderNews,
    PlanCommit,
    PlanRecord,
    RunClosing,
    RunOpening,
    TakenRun,
    WaveClaim,
)
from orchestrator_core.controls import ControlEvent, StrategyControls
from orchestrator_core.errors import IllegalTransition
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId, Symbol
from orchestrator_core.kill_switch import HistoryEntry, Latch
from orchestrator_core.model import Reference
from orchestrator_core.orders import Settlement
from orchestrator_core.ports import Clock
from orchestrator_core.replay import RecordFilter, StoredRecord
from orchestrator_core.runs import Run, RunFilter, RunPage

PORT = "runs"


class SqliteRunRepository:
    """Runs, plans, orders and the latch in one file."""

    def __init__(self, database: SqliteDatabase, clock: Clock) -> None:
        """Touch nothing.

        Args:
            database: The file; whoever made it closes it.
            clock: Tells when a lease ends.
        """
        self._database = database
        self._clock = clock

    async def open_run(self, opening: RunOpening) -> Lease | EarlierRun:
        work = partial(run_writes.open_run, opening=opening, now=self._clock.now())
        return await self._database.write(PORT, "open_run", work)

    async def commit_plan(
        self, lease: Lease, record: PlanRecord, claim: WaveClaim | None
    ) -> PlanCommit:
        now = self._clock.now()

        def work(connection: sqlite3.Connection) -> PlanCommit:
            encoded = encode_plan(record)
            return run_writes.commit_plan(
                connection, lease, record, encoded=encoded, claim=claim, now=now
            )

        return await self._database.write(PORT, "commit_plan", work)

    async def commit_wave(
        self, lease: Lease, settlements: Sequence[Settlement], claim: WaveClaim | None
    ) -> ClaimAnswer:
        work = partial(
            run_writes.commit_wave,
            lease=lease,
            settlements=settlements,
            claim=claim,
            now=self._clock.now(),
        )
        return await self._database.write(PORT, "commit_wave", work)

    async def close_run(self, lease: Lease, closing: RunClosing) -> Run:
        work = partial(run_writes.close_run, lease=lease, closing=closing, now=self._clock.now())
        return await self._database.write(PORT, "close_run", work)

    async def take_run(
        self, strategy_id: StrategyId, *, lease_seconds: float, run_id: RunId | None = None
    ) -> TakenRun | None:
        work = partial(
            taking.take_run,
            strategy_id=strategy_id,
            lease_seconds=lease_seconds,
            run_id=run_id,
            now=self._clock.now(),
        )
        taken = await self._database.write(PORT, "take_run", work)
        if isinstance(taken, taking.DamagedRun):
            raise IllegalTransition(f"run {taken.run_id} cannot be read back: {taken.problem}")
        return taken

    async def take_followed(
        self, strategy_id: StrategyId, *, limit: int, hold_seconds: float
    ) -> Sequence[FollowedOrder]:
        work = partial(
            following.take_followed,
            strategy_id=strategy_id,
            limit=limit,
            hold_seconds=hold_seconds,
            now=self._clock.now(),
        )
        return await self._database.write(PORT, "take_followed", work)

    async def record_news(self, news: Sequence[OrderNews]) -> None:
        work = partial(following.record_news, news=news, now=self._clock.now())
        await self._database.write(PORT, "record_news", work)

    async def live_orders(
        self, *, after: ClientOrderId | None, limit: int
    ) -> Sequence[FollowedOrder]:
        work = partial(following.live_orders, after=after, limit=limit, now=self._clock.now())
        return await self._database.read(PORT, "live_orders", work)

    async def backlog(self) -> Backlog:
        work = partial(taking.read_backlog, now=self._clock.now())
        return await self._database.read(PORT, "backlog", work)

    async def get_run(self, run_id: RunId) -> Run | None:
        work = partial(run_writes.read_run, run_id=run_id)
        return await self._database.read(PORT, "get_run", work)

    async def list_runs(self, matching: RunFilter, *, limit: int, offset: int) -> RunPage:
        work = partial(_list_runs, matching=matching, limit=limit, offset=offset)
        return await self._database.read(PORT, "list_runs", work)

    async def get_record(self, run_id: RunId) -> StoredRecord | None:
        work = partial(records.read_record, run_id=run_id)
        return await self._database.read(PORT, "get_record", work)

    async def records(
        self, matching: RecordFilter, *, after: StoredRecord | None, limit: int
    ) -> Sequence[StoredRecord]:
        work = partial(records.read_records, matching=matching, after=after, limit=limit)
        return await self._database.read(PORT, "records", work)

    async def open_orders(self) -> Sequence[OpenOrder]:
        return await self._database.read(PORT, "open_orders", open_orders)

    async def read_book(self, strategy_id: StrategyId, as_of_date: date) -> StrategyBook:
        work = partial(books.read_book, strategy_id=strategy_id, as_of_date=as_of_date)
        return await self._database.read(PORT, "read_book", work)

    async def last_accepted(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Reference]:
        work = partial(books.last_accepted, symbols=symbols)
        return await self._database.read(PORT, "last_accepted", work)

    async def read_controls(
        self, strategy_id: StrategyId, *, count_failures: int
    ) -> StrategyControls:
        work = partial(books.read_controls, strategy_id=strategy_id, count_failures=count_failures)
        return await self._database.read(PORT, "read_controls", work)

    async def add_control_event(self, event: ControlEvent) -> None:
        work = partial(books.add_control_event, event=event)
        await self._database.write(PORT, "add_control_event", work)

    async def control_events(
        self, strategy_id: StrategyId, *, limit: int
    ) -> Sequence[ControlEvent]:
        work = partial(books.control_events, strategy_id=strategy_id, limit=limit)
        return await self._database.read(PORT, "control_events", work)

    async def read_latch(self) -> Latch | None:
        return await self._database.read(PORT, "read_latch", latch.read_latch)

    async def swap_latch(
        self, expected: Latch | None, new: Latch, *, entry: HistoryEntry | None = None
    ) -> bool:
        work = partial(
            latch.swap_latch, expected=expected, new=new, entry=entry, now=self._clock.now()
        )
        return await self._database.write(PORT, "swap_latch", work)

    async def switch_history(self, *, limit: int) -> Sequence[HistoryEntry]:
        work = partial(latch.switch_history, limit=limit)
        return await self._database.read(PORT, "switch_history", work)

    async def check(self) -> None:
        await self._database.read(PORT, "check", _look)


def _look(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT EXISTS (SELECT 1 FROM orchestration_runs)").fetchone()


def _list_runs(
    connection: sqlite3.Connection, matching: RunFilter, limit: int, offset: int
) -> RunPage:
    conditions = {
        "strategy_id": matching.strategy_id,
        "status": None if matching.status is None else matching.status.value,
    }
    wanted = {name: value for name, value in conditions.items() if value is not None}
    where = " AND ".join(f"{name} = ?" for name in wanted) or "TRUE"
    total: int = connection.execute(
        f"SELECT count(*) FROM orchestration_runs WHERE {where}",  # noqa: S608 - names of ours
        tuple(wanted.values()),
    ).fetchone()[0]
    rows = connection.execute(
        f"SELECT {', '.join(SUMMARY_COLUMNS)} FROM orchestration_runs WHERE {where}"  # noqa: S608
        " ORDER BY started_at DESC, id DESC LIMIT ? OFFSET ?",
        (*wanted.values(), limit, offset),
    )
    return RunPage(tuple(summary_of_row(row) for row in rows), total=total)
