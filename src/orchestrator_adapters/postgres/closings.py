"""Closing runs in Postgres, and with them the runs that adopted their orders.

Owners and adopters. A row whose id another row holds points at it. Whoever closes a run closes the
runs that adopted its orders, whose lease is given back and which wait for nothing else. No wake-up
is lost: an adopter's close locks its owners' runs before it reads their orders, an owner's close
holds its own run until its outcomes are committed: one of the two sees the other. Owners are
locked before adopters, always.
"""

from collections import Counter
from collections.abc import Iterable

from orchestrator_adapters.postgres import statements
from orchestrator_adapters.postgres.database import PostgresDatabase, Session, Statement
from orchestrator_adapters.postgres.rows import (
    HOLDING,
    STEPS,
    run_of,
    settlement_arrays,
    text_array,
)
from orchestrator_adapters.postgres.waves import claim_answer, read_run, wave_parameters
from orchestrator_adapters.run_rows import CLOSING_COLUMNS, closing_values
from orchestrator_adapters.run_rules import close, frees_key_of_adopter
from orchestrator_adapters.storable import is_storable
from orchestrator_core.commits import Lease, RunClosing
from orchestrator_core.errors import LeaseLost
from orchestrator_core.lifecycle import RunStatus
from orchestrator_core.orders import Order
from orchestrator_core.runs import Run


async def close_run(database: PostgresDatabase, lease: Lease, closing: RunClosing) -> Run:
    """Record the last outcomes, give the lease back, and return the run as stored."""
    run = await _close_known(database, lease, closing)
    return await _close_looking(database, lease, closing) if run is None else run


async def _close_known(database: PostgresDatabase, lease: Lease, closing: RunClosing) -> Run | None:
    """Close a run as its closer knows it; None if the rows must be looked at."""
    known = closing.known
    if known is None or known.orders is None or not all(map(is_storable, known.orders)):
        return None
    run = close(known, failure=closing.failure, at=closing.at)
    columns = closing_values(run)
    if run.failure is not None and columns["error_message"] != run.failure.message:
        return None
    rows = await database.execute(
        "close_run",
        statements.CLOSE_KNOWN,
        (
            *(lease.run_id, lease.epoch, lease.seconds, STEPS, HOLDING),
            *settlement_arrays(closing.settlements),
            _counted_states(known.orders),
            *(columns[name] for name in CLOSING_COLUMNS),
            closing.frees_key and run.status is RunStatus.FAILED,
            closing.look_again_seconds,
        ),
    )
    if rows[0]["o_verdict"] == "lease_lost":
        raise LeaseLost(f"run {lease.run_id} is no longer ours")
    return run if rows[0]["o_verdict"] == "done" else None


async def _close_looking(database: PostgresDatabase, lease: Lease, closing: RunClosing) -> Run:
    async def work(session: Session) -> Run:
        _, _, recorded, runs, orders, adopters = await session.fetch_each(
            ("BEGIN", ()),
            (statements.LOCK_OWNERS, (lease.run_id,)),
            (
                statements.COMMIT_WAVE,
                wave_parameters(lease, closing.settlements, None, is_closing=True),
            ),
            (statements.RUN, (lease.run_id,)),
            (statements.ORDERS, ([lease.run_id],)),
            (statements.LOCK_ADOPTERS, (lease.run_id,)),
        )
        claim_answer(recorded[0], None, lease)
        run = close(run_of(runs[0], orders), failure=closing.failure, at=closing.at)
        frees_key = closing.frees_key and run.status is RunStatus.FAILED
        updates = _closing_statements(run, frees_key=frees_key, closing=closing)
        for adopter in adopters:
            found = await read_run(session, adopter["run_id"])
            if found is not None:
                left = close(found, failure=None, at=closing.at)
                updates += _closing_statements(left, frees_key=frees_key_of_adopter(left))
        session.may_be_committed = True
        await session.fetch_each(*updates, ("COMMIT", ()))
        return run

    return await database.run("close_run", work)


def _counted_states(orders: Iterable[Order]) -> str:
    counts = Counter(order.state.value for order in orders)
    return text_array(f"{state}={count}" for state, count in sorted(counts.items()))


def _closing_statements(
    run: Run, *, frees_key: bool = False, closing: RunClosing | None = None
) -> list[Statement]:
    """Return what writes a run as it is left.

    Args:
        run: As it is left.
        frees_key: Its idempotency key may be used again.
        closing: What its own closer says of it; None for a run that only adopted orders.
    """
    values = {
        **closing_values(run),
        "run_id": run.run_id,
        "frees_key": frees_key,
        "is_closer": closing is not None,
        "look_again_seconds": None if closing is None else closing.look_again_seconds,
    }
    updates: list[Statement] = [(statements.CLOSE_RUN, values)]
    if any(order.owner is not None for order in run.orders or ()):
        updates.append((statements.SHOW_OWNERS, (run.run_id,)))
    return updates
