"""Plans and waves in Postgres: one round trip and one transaction each."""

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import evolve

from orchestrator_adapters.postgres import statements
from orchestrator_adapters.postgres.database import PostgresDatabase, Session
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
from orchestrator_adapters.run_rows import encode_plan, plan_values
from orchestrator_core.commits import ClaimAnswer, Lease, PlanCommit, PlanRecord, WaveClaim
from orchestrator_core.errors import IllegalTransition, LeaseLost
from orchestrator_core.identifiers import RunId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.orders import Order, Settlement, order_of
from orchestrator_core.record import canonical_json
from orchestrator_core.runs import Run


async def commit_plan(
    database: PostgresDatabase, lease: Lease, record: PlanRecord, claim: WaveClaim | None
) -> PlanCommit:
    """Commit the plan with its snapshot, and claim the first wave, in one transaction."""
    encoded = encode_plan(record)
    values = plan_values(record, encoded)
    orders = [order_of(decision) for decision in record.plan.decisions]
    rows = await database.execute(
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
            record.book_version,
        ),
    )
    if rows[0]["o_verdict"] == "stale":
        return PlanCommit((), is_stale=True)
    answer = claim_answer(rows[0], claim, lease)
    if rows[0]["o_verdict"] == "other_plan":
        raise IllegalTransition(f"run {lease.run_id} has another plan already")
    if rows[0]["o_verdict"] == "done" and not rows[0]["o_has_adopted"]:
        return PlanCommit(_with_claimed(orders, answer), answer)
    run = await get_run(database, "commit_plan", lease.run_id)
    if run is None or run.orders is None:
        raise IllegalTransition(f"the plan of run {lease.run_id} was stored and is gone")
    return PlanCommit(run.orders, answer)


async def commit_wave(
    database: PostgresDatabase,
    lease: Lease,
    settlements: Sequence[Settlement],
    claim: WaveClaim | None,
) -> ClaimAnswer:
    """Record outcomes, renew the lease, and claim the next wave: one transaction."""
    rows = await database.execute(
        "commit_wave",
        statements.COMMIT_WAVE,
        wave_parameters(lease, settlements, claim, is_closing=False),
    )
    return claim_answer(rows[0], claim, lease)


async def get_run(database: PostgresDatabase, operation: str, run_id: RunId) -> Run | None:
    """Return the run, adopted orders as their owners stand now; None if unknown."""

    async def work(session: Session) -> Run | None:
        return await read_run(session, run_id)

    return await database.run(operation, work)


async def read_run(session: Session, run_id: RunId) -> Run | None:
    """Return the run as stored; None if unknown."""
    runs, orders = await session.fetch_each(
        (statements.RUN, (run_id,)), (statements.ORDERS, ([run_id],))
    )
    return run_of(runs[0], orders) if runs else None


def _claim_parameters(claim: WaveClaim | None) -> tuple[Any, ...]:
    if claim is None:
        return None, "{}", None
    return claim.number, text_array(claim.client_order_ids), claim.latch_epoch


def wave_parameters(
    lease: Lease,
    settlements: Iterable[Settlement],
    claim: WaveClaim | None,
    *,
    is_closing: bool,
) -> tuple[Any, ...]:
    """Return the parameters of `statements.COMMIT_WAVE`."""
    return (
        *(lease.run_id, lease.epoch, lease.seconds, is_closing),
        *_claim_parameters(claim),
        None if claim is None else claim.takes.value,
        *(STEPS, HOLDING),
        *settlement_arrays(settlements),
    )


def claim_answer(row: Row, claim: WaveClaim | None, lease: Lease) -> ClaimAnswer:
    """Return what a write under a lease says of its claim.

    Raises:
        LeaseLost: The lease's epoch is old, or the run was given back.
    """
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
