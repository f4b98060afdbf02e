"""Runs, plans, orders and the latch in Postgres.

Theory of operation. A write under a lease is one call of a stored function (see
`migrations/0004_waves.sql`): one round trip, one transaction, which begins by locking the run's
row and judging the lease's epoch. So is closing a run whose closer knows its orders. Where the
rows disagree with him, or orders were adopted, closing takes two more: the orders are read back,
then the core says what they mean, and that is committed (`closings`).

Whoever locks the rows of several runs locks them in the order of their plans' commits: see
`migrations/0005_news.sql` for why that cannot deadlock.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from orchestrator_adapters.postgres import (
    books,
    closings,
    followings,
    latches,
    records,
    recoveries,
    statements,
    waves,
)
from orchestrator_adapters.postgres.database import PostgresDatabase, Session
from orchestrator_adapters.postgres.errors import PORT
from orchestrator_adapters.postgres.rows import Row, text_array
from orchestrator_adapters.run_rows import json_of, opening_values, run_id_of, summary_of_row
from orchestrator_adapters.run_rules import FIRST_LEASE_EPOCH, REGISTERED_OPEN
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
from orchestrator_core.errors import Conflict, IllegalTransition, LeaseLost, Unavailable
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId, Symbol
from orchestrator_core.kill_switch import HistoryEntry, Latch
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import Reference
from orchestrator_core.orders import Settlement
from orchestrator_core.record import decode_request
from orchestrator_core.replay import RecordFilter, StoredRecord
from orchestrator_core.runs import Run, RunFilter, RunPage

_REGISTERED: Final = text_array(sorted(state.value for state in REGISTERED_OPEN))


class PostgresRunRepository:
    """The run database on Postgres."""

    def __init__(self, database: PostgresDatabase) -> None:
        """Hold the database; nothing is connected."""
        self._database = database

    async def open_run(self, opening: RunOpening) -> Lease | EarlierRun:
        values = {
            **opening_values(opening),
            "symbols": text_array(opening.request.symbols),
            "lease_seconds": opening.lease_seconds,
        }

        async def work(session: Session) -> Lease | EarlierRun | None:
            session.may_be_committed = True
            if await session.fetch(statements.OPEN_RUN, values):
                return Lease(opening.run_id, FIRST_LEASE_EPOCH, opening.lease_seconds)
            session.may_be_committed = False
            found = await session.fetch(statements.FIND_OPENED, values)
            return _opened_before(found[0], opening) if found else None

        answer = await self._database.run("open_run", work)
        if answer is None:
            # The key was freed between the two looks.
            answer = await self._database.run("open_run", work)
        if answer is None:
            raise Unavailable(PORT, "open_run", "the idempotency key keeps changing hands")
        return answer

    async def commit_plan(
        self, lease: Lease, record: PlanRecord, claim: WaveClaim | None
    ) -> PlanCommit:
        return await waves.commit_plan(self._database, lease, record, claim)

    async def commit_wave(
        self, lease: Lease, settlements: Sequence[Settlement], claim: WaveClaim | None
    ) -> ClaimAnswer:
        return await waves.commit_wave(self._database, lease, settlements, claim)

    async def close_run(self, lease: Lease, closing: RunClosing) -> Run:
        return await closings.close_run(self._database, lease, closing)

    async def take_run(
        self, strategy_id: StrategyId, *, lease_seconds: float, run_id: RunId | None = None
    ) -> TakenRun | None:
        return await recoveries.take_run(self._database, strategy_id, lease_seconds, run_id)

    async def take_followed(
        self, strategy_id: StrategyId, *, limit: int, hold_seconds: float
    ) -> Sequence[FollowedOrder]:
        return await followings.take_followed(self._database, strategy_id, limit, hold_seconds)

    async def record_news(self, news: Sequence[OrderNews]) -> None:
        await followings.record_news(self._database, news)

    async def live_orders(
        self, *, after: ClientOrderId | None, limit: int
    ) -> Sequence[FollowedOrder]:
        return await followings.live_orders(self._database, after, limit)

    async def backlog(self) -> Backlog:
        return await recoveries.read_backlog(self._database)

    async def get_run(self, run_id: RunId) -> Run | None:
        return await waves.get_run(self._database, "get_run", run_id)

    async def list_runs(self, matching: RunFilter, *, limit: int, offset: int) -> RunPage:
        parameters = {
            "strategy_id": matching.strategy_id,
            "status": None if matching.status is None else matching.status.value,
            "limit": limit,
            "offset": offset,
        }

        given = (matching.strategy_id is not None, matching.status is not None)

        async def work(session: Session) -> RunPage:
            counted, rows = await session.fetch_each(
                (statements.COUNT[given], parameters), (statements.PAGE[given], parameters)
            )
            return RunPage(tuple(summary_of_row(row) for row in rows), counted[0]["total"])

        return await self._database.run("list_runs", work)

    async def get_record(self, run_id: RunId) -> StoredRecord | None:
        return await records.get_record(self._database, run_id)

    async def records(
        self, matching: RecordFilter, *, after: StoredRecord | None, limit: int
    ) -> Sequence[StoredRecord]:
        return await records.read_records(self._database, matching, after, limit)

    async def open_orders(self) -> Sequence[OpenOrder]:
        rows = await self._database.fetch("open_orders", statements.OPEN_ORDERS, (_REGISTERED,))
        return tuple(
            OpenOrder(
                run_id_of(row["run_id"]),
                ClientOrderId(row["client_order_id"]),
                row["symbol"],
                OrderState(row["state"]),
            )
            for row in rows
        )

    async def read_book(self, strategy_id: StrategyId, as_of_date: date) -> StrategyBook:
        return await books.read_book(self._database, strategy_id, as_of_date)

    async def last_accepted(self, symbols: Sequence[Symbol]) -> Mapping[Symbol, Reference]:
        return await books.last_accepted(self._database, symbols)

    async def read_controls(
        self, strategy_id: StrategyId, *, count_failures: int
    ) -> StrategyControls:
        return await books.read_controls(self._database, strategy_id, count_failures)

    async def add_control_event(self, event: ControlEvent) -> None:
        await books.add_control_event(self._database, event)

    async def control_events(
        self, strategy_id: StrategyId, *, limit: int
    ) -> Sequence[ControlEvent]:
        return await books.control_events(self._database, strategy_id, limit)

    async def read_latch(self) -> Latch | None:
        return await latches.read_latch(self._database)

    async def swap_latch(
        self, expected: Latch | None, new: Latch, *, entry: HistoryEntry | None = None
    ) -> bool:
        return await latches.swap_latch(self._database, expected, new, entry)

    async def switch_history(self, *, limit: int) -> Sequence[HistoryEntry]:
        return await latches.switch_history(self._database, limit)

    async def check(self) -> None:
        await self._database.fetch("check", "SELECT 1 AS answers")


def _opened_before(row: Row, opening: RunOpening) -> Lease | EarlierRun:
    """Return what stands for an opening that met an earlier one: its own, or its key's."""
    run_id = run_id_of(row["run_id"])
    if run_id == opening.run_id:
        if row["lease_epoch"] != FIRST_LEASE_EPOCH or not row["is_leased"]:
            raise LeaseLost(f"run {run_id} is no longer ours")
        if decode_request(json_of(row["request"])) != opening.request:
            raise IllegalTransition(f"run {run_id} was opened with another request")
        return Lease(run_id, FIRST_LEASE_EPOCH, opening.lease_seconds)
    key = opening.idempotency
    if key is None or row["idempotency_fingerprint"] != key.fingerprint:
        raise Conflict("other_request", run_id)
    if not row["is_completed"]:
        raise Conflict("still_running", run_id)
    return EarlierRun(run_id)
