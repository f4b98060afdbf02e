"""What each write of the run database does, inside its transaction.

Each function is given a connection with a write transaction open. A file has one writer at a time,
so whatever a function has read stays true until its commit: neither the latch nor the rows of other
runs need locks of their own.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from orchestrator_adapters.run_rows import (
    EncodedPlan,
    closing_values,
    opening_values,
    plan_values,
    run_id_of,
    run_of_row,
)
from orchestrator_adapters.run_rules import FIRST_LEASE_EPOCH, close, frees_key_of_adopter
from orchestrator_adapters.sqlite.books import move_book
from orchestrator_adapters.sqlite.claims import claim_wave
from orchestrator_adapters.sqlite.leases import (
    give_back,
    hold,
    insert_lease,
    require_lease,
    was_made,
)
from orchestrator_adapters.sqlite.orders import (
    insert_orders,
    orders_of,
    sqlite_value,
    update_outcomes,
)
from orchestrator_adapters.sqlite.settling import settle_orders
from orchestrator_core.commits import (
    ClaimAnswer,
    EarlierRun,
    IdempotencyKey,
    Lease,
    PlanCommit,
    PlanRecord,
    RunClosing,
    RunOpening,
    WaveClaim,
)
from orchestrator_core.errors import Conflict, IllegalTransition
from orchestrator_core.identifiers import RunId
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.orders import Settlement
from orchestrator_core.record import canonical_json
from orchestrator_core.runs import Run, RunFailure

NO_KEY = {"idempotency_key": None, "idempotency_fingerprint": None}

# All of a run but its snapshot, which is long and read by replays alone.
_SELECT_RUN = (
    "SELECT run_id, strategy_id, as_of_date, request, started_at, completed_at, num_signals,"
    " signal_service_response, snapshot_hash, failure_kind, error_message, retry_after"
    " FROM orchestration_runs WHERE run_id = ?"
)


def open_run(
    connection: sqlite3.Connection, opening: RunOpening, now: datetime
) -> Lease | EarlierRun:
    """Store the run, its lease and its key; see `RunRepository.open_run`."""
    lease = Lease(opening.run_id, FIRST_LEASE_EPOCH, opening.lease_seconds)
    values = opening_values(opening)
    stored = _find_run(connection, opening.run_id)
    if stored is not None:
        require_lease(connection, lease)
        if stored["request"] != values["request"]:
            raise IllegalTransition(f"run {opening.run_id} was opened with another request")
        return lease
    if opening.idempotency is not None:
        earlier = _answer_of_key(connection, opening, opening.idempotency)
        if earlier is not None:
            return earlier
    symbols = canonical_json(list(opening.request.symbols))
    values.pop("lease_epoch")
    values |= {"symbols": symbols, "created_at": now, "updated_at": now}
    connection.execute(
        f"INSERT INTO orchestration_runs ({', '.join(values)})"  # noqa: S608 - names of ours
        f" VALUES ({', '.join('?' * len(values))})",
        [sqlite_value(value) for value in values.values()],
    )
    insert_lease(connection, lease, now)
    return lease


def _answer_of_key(
    connection: sqlite3.Connection, opening: RunOpening, key: IdempotencyKey
) -> EarlierRun | None:
    row = connection.execute(
        "SELECT run_id, idempotency_fingerprint, completed_at FROM orchestration_runs"
        " WHERE strategy_id = ? AND idempotency_key = ?",
        (opening.strategy_id, key.key),
    ).fetchone()
    if row is None:
        return None
    run_id = run_id_of(row["run_id"])
    if row["idempotency_fingerprint"] != key.fingerprint:
        raise Conflict("other_request", run_id)
    if row["completed_at"] is None:
        raise Conflict("still_running", run_id)
    return EarlierRun(run_id)


def commit_plan(
    connection: sqlite3.Connection,
    lease: Lease,
    record: PlanRecord,
    *,
    encoded: EncodedPlan,
    claim: WaveClaim | None,
    now: datetime,
) -> PlanCommit:
    """Store the plan and claim its first wave; see `RunRepository.commit_plan`."""
    leased = require_lease(connection, lease)
    run = _find_run(connection, lease.run_id)
    digest = None if run is None else run["snapshot_hash"]
    if digest is None:
        if run is not None and not _may_stand(connection, record):
            return PlanCommit((), is_stale=True)
        _update_run(connection, lease.run_id, plan_values(record, encoded), now)
        insert_orders(connection, lease.run_id, record, now)
    elif digest != encoded.digest:
        raise IllegalTransition(f"run {lease.run_id} has another plan already")
    hold(connection, lease, now)
    answer = claim_wave(connection, lease, leased, claim, now)
    return PlanCommit(orders_of(connection, lease.run_id), answer)


def _may_stand(connection: sqlite3.Connection, record: PlanRecord) -> bool:
    """Move the book that a plan depends on; say whether it was as the plan was made from."""
    version = record.book_version
    return version is None or move_book(connection, version)


def commit_wave(
    connection: sqlite3.Connection,
    lease: Lease,
    settlements: Sequence[Settlement],
    claim: WaveClaim | None,
    now: datetime,
) -> ClaimAnswer:
    """Record outcomes and claim the next wave; see `RunRepository.commit_wave`."""
    leased = require_lease(connection, lease)
    # A claim made before was committed with these outcomes; a deferred order that it took again
    # must not be put back.
    if claim is None or not was_made(leased, claim):
        settle_orders(connection, lease.run_id, settlements, now)
    hold(connection, lease, now)
    return claim_wave(connection, lease, leased, claim, now)


def close_run(
    connection: sqlite3.Connection, lease: Lease, closing: RunClosing, now: datetime
) -> Run:
    """Leave the run, and complete its adopters with it; see `RunRepository.close_run`."""
    require_lease(connection, lease, given_back=True)
    settle_orders(connection, lease.run_id, closing.settlements, now)
    wait = closing.look_again_seconds
    give_back(connection, lease.run_id, None if wait is None else now + timedelta(seconds=wait))
    run = _leave(connection, lease.run_id, closing.failure, closing.at, now)
    if closing.frees_key and run.status is RunStatus.FAILED:
        _update_run(connection, lease.run_id, NO_KEY, now)
    for adopter in _waiting_adopters(connection, lease.run_id):
        if frees_key_of_adopter(_leave(connection, adopter, None, closing.at, now)):
            _update_run(connection, adopter, NO_KEY, now)
    return run


def _waiting_adopters(connection: sqlite3.Connection, owner: RunId) -> list[RunId]:
    """Return the runs that nobody holds and that have adopted an order of this one."""
    rows = connection.execute(
        "SELECT run_id FROM orchestration_runs JOIN run_leases USING (run_id)"
        " WHERE completed_at IS NULL AND lease_expires_at IS NULL AND run_id IN"
        " (SELECT run_id FROM signal_order_mappings WHERE owner_run_id = ?)",
        (str(owner),),
    )
    return [run_id_of(row["run_id"]) for row in rows.fetchall()]


def _leave(
    connection: sqlite3.Connection,
    run_id: RunId,
    failure: RunFailure | None,
    at: datetime,
    now: datetime,
) -> Run:
    stored = read_run(connection, run_id)
    if stored is None:
        raise IllegalTransition(f"run {run_id} was stored and is gone")
    run = close(stored, failure=failure, at=at)
    if run is not stored:
        _update_run(connection, run_id, closing_values(run), now)
        # What is shown of an adopted order is its owner's word, as it stands now.
        adopted = [order for order in run.orders or () if order.owner is not None]
        update_outcomes(connection, run_id, adopted, now)
    if run.completed_at is not None:
        give_back(connection, run_id, None)
    return run


def read_run(connection: sqlite3.Connection, run_id: RunId) -> Run | None:
    """Return the run; see `RunRepository.get_run`."""
    row = _find_run(connection, run_id)
    return None if row is None else run_of_row(row, orders_of(connection, run_id))


# Rows


def _find_run(connection: sqlite3.Connection, run_id: RunId) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(_SELECT_RUN, (str(run_id),)).fetchone()
    return row


def _update_run(
    connection: sqlite3.Connection, run_id: RunId, values: Mapping[str, object], now: datetime
) -> None:
    changed = {**values, "updated_at": now}
    connection.execute(
        f"UPDATE orchestration_runs SET {', '.join(f'{name} = ?' for name in changed)}"  # noqa: S608
        " WHERE run_id = ?",
        [sqlite_value(value) for value in (*changed.values(), run_id)],
    )
