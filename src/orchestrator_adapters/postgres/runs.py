"""Runs, plans, orders and the latch in Postgres.

Theory of operation. A write under a lease is one call of a stored function (see
`migrations/0002_writes.sql`): one round trip, one transaction, which begins by locking the run's
row and judging the lease's epoch. So is closing a run whose closer knows its orders. Where the
rows disagree with him, or orders were adopted, closing takes two more: the orders are read back,
then the core says what they mean, and that is committed.

Owners and adopters. A row whose id another row holds points at it. Whoever closes a run closes the
runs that adopted its orders, whose lease is given back and which wait for nothing else. No wake-up
is lost: an adopter's close locks its owners' runs before it reads their orders, an owner's close
holds its own run until its outcomes are committed: one of the two sees the other. Owners are
locked before adopters, always.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import evolve

from orchestrator_adapters.postgres import statements
from orchestrator_adapters.postgres.database import PostgresDatabase, Session, Statement
from orchestrator_adapters.postgres.errors import PORT
from orchestrator_adapters.postgres.rows import (
    HOLDING,
    STEPS,
    Row,
    plan_arrays,
    report_json,
    run_of,
    settlement_arrays,
    text_array,
)
from orchestrator_adapters.run_rows import (
    CLOSING_COLUMNS,
    FIRST_LEASE_EPOCH,
    REGISTERED_OPEN,
    close,
    closing_values,
    encode_plan,
    is_storable,
    json_of,
    opening_values,
    plan_values,
    run_id_of,
    storable_text,
    summary_of_row,
    time_of,
)
from orchestrator_core.errors import Conflict, IllegalTransition, LeaseLost, Unavailable
from orchestrator_core.identifiers import ClientOrderId, RunId
from orchestrator_core.kill_switch import Latch
from orchestrator_core.lifecycle import OrderState, RunStatus
from orchestrator_core.record import canonical_json, decode_request
from orchestrator_core.commits import (
    ClaimAnswer,
    EarlierRun,
    Lease,
    OpenOrder,
    PlanCommit,
    PlanRecord,
    RunClosing,
    RunOpening,
    WaveClaim,
)
from orchestrator_core.orders import Order, Settlement, order_of
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
        encoded = encode_plan(record)
        values = plan_values(record, encoded)
        orders = [order_of(decision) for decision in record.plan.decisions]
        rows = await self._database.execute(
            "commit_plan",
            statements.COMMIT_PLAN,
            (
                *(lease.run_id, lease.epoch, lease.seconds),
                *(values["as_of_date"], values["num_signals"], values["model_version"]),
                *(values["snapshot"], values["snapshot_hash"]),
                canonical_json(dict(record.snapshot.batch.metadata)),
                report_json(values["signal_service_response"]),
                *_claim_parameters(claim),
                *plan_arrays(orders, lease.run_id),
            ),
        )
        answer = _claim_answer(rows[0], claim, lease)
        if rows[0]["o_verdict"] == "other_plan":
            raise IllegalTransition(f"run {lease.run_id} has another plan already")
        if rows[0]["o_verdict"] == "done" and not rows[0]["o_has_adopted"]:
            return PlanCommit(_with_claimed(orders, answer), answer)
        run = await self.get_run(lease.run_id)
        if run is None or run.orders is None:
            raise IllegalTransition(f"the plan of run {lease.run_id} was stored and is gone")
        return PlanCommit(run.orders, answer)

    async def commit_wave(
        self, lease: Lease, settlements: Sequence[Settlement], claim: WaveClaim | None
    ) -> ClaimAnswer:
        rows = await self._database.execute(
            "commit_wave",
            statements.COMMIT_WAVE,
            _wave_parameters(lease, settlements, claim, is_closing=False),
        )
        return _claim_answer(rows[0], claim, lease)

    async def close_run(self, lease: Lease, closing: RunClosing) -> Run:
        run = await self._close_known(lease, closing)
        return await self._close_looking(lease, closing) if run is None else run

    async def _close_known(self, lease: Lease, closing: RunClosing) -> Run | None:
        """Close a run as its closer knows it; None if the rows must be looked at."""
        known = closing.known
        if known is None or known.orders is None or not all(map(is_storable, known.orders)):
            return None
        run = close(known, failure=closing.failure, at=closing.at)
        columns = closing_values(run)
        if run.failure is not None and columns["error_message"] != run.failure.message:
            return None
        rows = await self._database.execute(
            "close_run",
            statements.CLOSE_KNOWN,
            (
                *(lease.run_id, lease.epoch, lease.seconds, STEPS, HOLDING),
                *settlement_arrays(closing.settlements),
                _counted_states(known.orders),
                *(columns[name] for name in CLOSING_COLUMNS),
                closing.frees_key and run.status is RunStatus.FAILED,
            ),
        )
        if rows[0]["o_verdict"] == "lease_lost":
            raise LeaseLost(f"run {lease.run_id} is no longer ours")
        return run if rows[0]["o_verdict"] == "done" else None

    async def _close_looking(self, lease: Lease, closing: RunClosing) -> Run:
        async def work(session: Session) -> Run:
            _, _, recorded, runs, orders, adopters = await session.fetch_each(
                ("BEGIN", ()),
                (statements.LOCK_OWNERS, (lease.run_id,)),
                (
                    statements.COMMIT_WAVE,
                    _wave_parameters(lease, closing.settlements, None, is_closing=True),
                ),
                (statements.RUN, (lease.run_id,)),
                (statements.ORDERS, ([lease.run_id],)),
                (statements.LOCK_ADOPTERS, (lease.run_id,)),
            )
            _claim_answer(recorded[0], None, lease)
            run = close(run_of(runs[0], orders), failure=closing.failure, at=closing.at)
            frees_key = closing.frees_key and run.status is RunStatus.FAILED
            updates = _closing_statements(run, frees_key=frees_key)
            for adopter in adopters:
                found = await _read_run(session, adopter["run_id"])
                if found is not None:
                    left = close(found, failure=None, at=closing.at)
                    updates += _closing_statements(left, frees_key=False)
            session.may_be_committed = True
            await session.fetch_each(*updates, ("COMMIT", ()))
            return run

        return await self._database.run("close_run", work)

    async def get_run(self, run_id: RunId) -> Run | None:
        async def work(session: Session) -> Run | None:
            return await _read_run(session, run_id)

        return await self._database.run("get_run", work)

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

    async def read_latch(self) -> Latch | None:
        rows = await self._database.fetch("read_latch", statements.READ_LATCH)
        if not rows:
            return None
        return Latch(**{**rows[0], "changed_at": time_of(rows[0]["changed_at"])})

    async def swap_latch(self, expected: Latch | None, new: Latch) -> bool:
        swap: Statement = (statements.CREATE_LATCH, _latch_values(new))
        if expected is not None:
            swap = (statements.SWAP_LATCH, (*_latch_values(new), *_latch_values(expected)))

        async def work(session: Session) -> bool:
            session.may_be_committed = True
            _, _, swapped, _ = await session.fetch_each(
                ("BEGIN", ()), (statements.LOCK_LATCH, ()), swap, ("COMMIT", ())
            )
            return bool(swapped)

        return await self._database.run("swap_latch", work)

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


def _claim_parameters(claim: WaveClaim | None) -> tuple[Any, ...]:
    if claim is None:
        return None, "{}", None
    return claim.number, text_array(claim.client_order_ids), claim.latch_epoch


def _wave_parameters(
    lease: Lease,
    settlements: Iterable[Settlement],
    claim: WaveClaim | None,
    *,
    is_closing: bool,
) -> tuple[Any, ...]:
    return (
        *(lease.run_id, lease.epoch, lease.seconds, is_closing),
        *_claim_parameters(claim),
        *(STEPS, HOLDING),
        *settlement_arrays(settlements),
    )


def _claim_answer(row: Row, claim: WaveClaim | None, lease: Lease) -> ClaimAnswer:
    if row["o_verdict"] == "lease_lost":
        raise LeaseLost(f"run {lease.run_id} is no longer ours")
    claimed = set(row["o_claimed"])
    return ClaimAnswer(
        claimed=()
        if claim is None
        else tuple(id_ for id_ in claim.client_order_ids if id_ in claimed),
        halted=row["o_halted"],
    )


def _with_claimed(orders: Iterable[Order], answer: ClaimAnswer) -> tuple[Order, ...]:
    claimed = set(answer.claimed)
    return tuple(
        evolve(order, state=OrderState.SENDING)
        if order.state is OrderState.PLANNED
        and order.intent is not None
        and order.intent.client_order_id in claimed
        else order
        for order in orders
    )


def _counted_states(orders: Iterable[Order]) -> str:
    counts = Counter(order.state.value for order in orders)
    return text_array(f"{state}={count}" for state, count in sorted(counts.items()))


async def _read_run(session: Session, run_id: RunId) -> Run | None:
    runs, orders = await session.fetch_each(
        (statements.RUN, (run_id,)), (statements.ORDERS, ([run_id],))
    )
    return run_of(runs[0], orders) if runs else None


def _closing_statements(run: Run, *, frees_key: bool) -> list[Statement]:
    values = {**closing_values(run), "run_id": run.run_id, "frees_key": frees_key}
    closing: list[Statement] = [(statements.CLOSE_RUN, values)]
    if any(order.owner is not None for order in run.orders or ()):
        closing.append((statements.SHOW_OWNERS, (run.run_id,)))
    return closing


def _latch_values(latch: Latch) -> tuple[bool, int, str, str, datetime, bool]:
    return (
        latch.engaged,
        latch.epoch,
        storable_text(latch.changed_by),
        storable_text(latch.reason),
        latch.changed_at,
        latch.breaker_seen,
    )
