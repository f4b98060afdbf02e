"""Claims of waves in a SQLite file: orders become SENDING, if the latch lets them.

A file has one writer at a time, so the latch cannot move between its reading and the commit.
"""

import json
import sqlite3
from collections.abc import Sequence
from datetime import datetime

from attrs import evolve

from orchestrator_adapters.sqlite.latch import read_latch
from orchestrator_adapters.sqlite.leases import was_made
from orchestrator_adapters.sqlite.orders import (
    find_orders,
    id_of,
    sqlite_value,
    update_outcomes,
)
from orchestrator_core.commits import ClaimAnswer, Lease, WaveClaim
from orchestrator_core.identifiers import ClientOrderId, RunId
from orchestrator_core.lifecycle import OrderState, advance


def claim_wave(
    connection: sqlite3.Connection,
    lease: Lease,
    leased: sqlite3.Row,
    claim: WaveClaim | None,
    now: datetime,
) -> ClaimAnswer:
    """Take the orders of a claim, or say what it took before; see `RunRepository.commit_wave`.

    Args:
        connection: In a write transaction.
        lease: The claimer's.
        leased: The lease's row, as it stood.
        claim: None where none is wished.
        now: The time of the claim.
    """
    if claim is None:
        return ClaimAnswer()
    number = (lease.epoch, claim.number)
    if not was_made(leased, claim):
        latch = read_latch(connection)
        if latch is None or latch.engaged or latch.epoch != claim.latch_epoch:
            return ClaimAnswer(halted=True)
        _take(connection, lease.run_id, claim, number, now)
    return ClaimAnswer(_taken(connection, lease.run_id, claim.client_order_ids, number))


def _take(
    connection: sqlite3.Connection,
    run_id: RunId,
    claim: WaveClaim,
    number: tuple[int, int],
    now: datetime,
) -> None:
    sending = [
        evolve(order, state=advance(order.state, OrderState.SENDING), reason=None)
        for order in find_orders(connection, run_id, claim.client_order_ids).values()
        if order.state is claim.takes
    ]
    update_outcomes(connection, run_id, sending, now)
    connection.executemany(
        "UPDATE signal_order_mappings SET claim_epoch = ?, claim_number = ?, claimed_at = ?"
        " WHERE run_id = ? AND client_order_id = ?",
        [(*number, sqlite_value(now), str(run_id), id_of(order)) for order in sending],
    )
    connection.execute(
        "UPDATE run_leases SET last_claim_epoch = ?, last_claim_number = ? WHERE run_id = ?",
        (*number, str(run_id)),
    )


def _taken(
    connection: sqlite3.Connection,
    run_id: RunId,
    ids: Sequence[ClientOrderId],
    number: tuple[int, int],
) -> tuple[ClientOrderId, ...]:
    """Return those of the orders that are SENDING under that claim, in the same order."""
    rows = connection.execute(
        "SELECT client_order_id FROM signal_order_mappings"
        " WHERE run_id = ? AND client_order_id IN (SELECT value FROM json_each(?))"
        " AND state = ? AND claim_epoch = ? AND claim_number = ?",
        (str(run_id), json.dumps(ids), OrderState.SENDING.value, *number),
    )
    taken = {row["client_order_id"] for row in rows}
    return tuple(id_ for id_ in ids if id_ in taken)
