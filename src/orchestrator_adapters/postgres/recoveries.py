"""Taking over runs in Postgres, and what waits for it."""

from typing import Final

from attrs import frozen

from orchestrator_adapters.order_rows import outcome_values
from orchestrator_adapters.postgres import statements
from orchestrator_adapters.postgres.database import PostgresDatabase, Row, Session
from orchestrator_adapters.postgres.rows import ANY_SIGNAL, run_of
from orchestrator_adapters.run_rows import run_id_of, snapshot_of
from orchestrator_adapters.run_rules import taken_over
from orchestrator_core.commits import Backlog, Lease, TakenRun
from orchestrator_core.errors import IllegalTransition
from orchestrator_core.identifiers import ClientOrderId, RunId, StrategyId
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.orders import Order

_TAKE: Final = "SELECT * FROM orchestrator_take_run(%s, %s, %s, %s, %s, %s)"
_SNAPSHOT: Final = "SELECT snapshot FROM orchestration_runs WHERE run_id = %s"

# A claim of the former version left no time of its own; whatever wrote the row last came later.
_CLAIM_AGES: Final = """
    SELECT client_order_id,
           extract(epoch FROM clock_timestamp() - coalesce(claimed_at, updated_at))::float8 AS age
    FROM signal_order_mappings
    WHERE run_id = %s AND claim_number IS NOT NULL
    ORDER BY position
"""

_KEEPS_IDS: Final = "SELECT keeps_ids FROM gateway_answers WHERE strategy_id = %s"

# A lease that was renewed leaves the column behind that the index is over.
_BACKLOG: Final = """
    SELECT r.runs_due, r.oldest_due_seconds, f.orders_followed
    FROM (
        SELECT count(*) AS runs_due,
               coalesce(extract(epoch FROM now() - min(greatest(due_at, lease_expires_at))), 0)
                   ::float8 AS oldest_due_seconds
        FROM orchestration_runs
        WHERE completed_at IS NULL AND lease_epoch IS NOT NULL AND due_at <= now()
          AND greatest(due_at, lease_expires_at) <= now()
    ) r
    CROSS JOIN (SELECT count(*) AS orders_followed FROM orders_followed WHERE is_live) f
"""

_, _REASON, *_, _ORDER_STATUS, _SKIP_REASON = outcome_values(
    taken_over(Order(ANY_SIGNAL, OrderState.SENDING))
)


@frozen
class _Taken:
    """A taken run's rows."""

    run_id: RunId
    epoch: int
    runs: list[Row]
    orders: list[Row]
    snapshots: list[Row]
    ages: list[Row]
    keeps_ids: list[Row]


async def take_run(
    database: PostgresDatabase, strategy_id: StrategyId, lease_seconds: float, run_id: RunId | None
) -> TakenRun | None:
    """Take over one run that is due, or that one if nobody holds it; None if there is none.

    Raises:
        IllegalTransition: The run's record is damaged. It is held until the lease ends, so that
            other runs have their turn.
    """
    wish = (strategy_id, run_id, lease_seconds, _REASON, _ORDER_STATUS, _SKIP_REASON)

    async def work(session: Session) -> _Taken | None:
        _, [found] = await session.fetch_each(("BEGIN", ()), (_TAKE, wish))
        if found["o_run_id"] is None:
            await session.fetch_each(("COMMIT", ()))
            return None
        taken = run_id_of(found["o_run_id"])
        session.may_be_committed = True
        runs, orders, snapshots, ages, keeps_ids, _ = await session.fetch_each(
            (statements.RUN, (taken,)),
            (statements.ORDERS, ([taken],)),
            (_SNAPSHOT, (taken,)),
            (_CLAIM_AGES, (taken,)),
            (_KEEPS_IDS, (strategy_id,)),
            ("COMMIT", ()),
        )
        return _Taken(taken, found["o_lease_epoch"], runs, orders, snapshots, ages, keeps_ids)

    taken = await database.run("take_run", work)
    return None if taken is None else _taken_run(taken, lease_seconds)


def _taken_run(taken: _Taken, lease_seconds: float) -> TakenRun:
    try:
        snapshot = snapshot_of(taken.snapshots[0]["snapshot"])
        run = run_of(taken.runs[0], taken.orders)
    except ValueError as problem:
        raise IllegalTransition(f"run {taken.run_id} cannot be read back: {problem}") from problem
    return TakenRun(
        lease=Lease(taken.run_id, taken.epoch, lease_seconds),
        run=run,
        snapshot=snapshot,
        claim_ages={ClientOrderId(row["client_order_id"]): row["age"] for row in taken.ages},
        keeps_ids=taken.keeps_ids[0]["keeps_ids"] if taken.keeps_ids else None,
    )


async def read_backlog(database: PostgresDatabase) -> Backlog:
    """Return what waits for recovery."""
    [row] = await database.fetch("backlog", _BACKLOG)
    return Backlog(**row)
