"""The leases of runs in a SQLite file: who may change a run, and when another may take it."""

import sqlite3
from datetime import datetime, timedelta

from orchestrator_adapters.sqlite.orders import sqlite_value
from orchestrator_core.commits import Lease, WaveClaim
from orchestrator_core.errors import LeaseLost
from orchestrator_core.identifiers import RunId

# When recovery may take a run; written as the schema's index has it.
DUE_AT = "coalesce(lease_expires_at, recover_at)"


def insert_lease(connection: sqlite3.Connection, lease: Lease, now: datetime) -> None:
    """Store a run's first lease."""
    connection.execute(
        "INSERT INTO run_leases (run_id, lease_epoch, lease_expires_at) VALUES (?, ?, ?)",
        (str(lease.run_id), lease.epoch, _expiry(lease, now)),
    )


def require_lease(
    connection: sqlite3.Connection, lease: Lease, *, given_back: bool = False
) -> sqlite3.Row:
    """Return the lease's row if the run is held under it.

    Args:
        connection: In a write transaction.
        lease: The writer's.
        given_back: One that was given back, and not taken since, will do.

    Raises:
        LeaseLost: It is not.
    """
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM run_leases WHERE run_id = ?", (str(lease.run_id),)
    ).fetchone()
    if row is None or row["lease_epoch"] != lease.epoch:
        raise LeaseLost(f"run {lease.run_id} is no longer ours")
    if row["lease_expires_at"] is None and not given_back:
        raise LeaseLost(f"run {lease.run_id} was given back")
    return row


def hold(connection: sqlite3.Connection, lease: Lease, now: datetime) -> None:
    """Let the lease stand from now on: renewed, or a taker's."""
    connection.execute(
        "UPDATE run_leases SET lease_epoch = ?, lease_expires_at = ? WHERE run_id = ?",
        (lease.epoch, _expiry(lease, now), str(lease.run_id)),
    )


def give_back(connection: sqlite3.Connection, run_id: RunId, recover_at: datetime | None) -> None:
    """Let nobody hold the run; recovery takes it at that time, or not by itself."""
    connection.execute(
        "UPDATE run_leases SET lease_expires_at = NULL, recover_at = ? WHERE run_id = ?",
        (sqlite_value(recover_at), str(run_id)),
    )


def was_made(leased: sqlite3.Row, claim: WaveClaim) -> bool:
    """Whether the lease's holder made this claim, or a later one, before."""
    by_this_holder: bool = leased["last_claim_epoch"] == leased["lease_epoch"]
    return by_this_holder and claim.number <= leased["last_claim_number"]


def _expiry(lease: Lease, now: datetime) -> object:
    return sqlite_value(now + timedelta(seconds=lease.seconds))
