"""Explaining a stored run to whoever asked for it, as far as that can be done."""

import asyncio
from collections.abc import Mapping

from attrs import evolve, field, frozen

from orchestrator_core.allocating import Allocation, allocation_of
from orchestrator_core.baskets import market_closed
from orchestrator_core.errors import PortError
from orchestrator_core.explaining import OrderKey, Waterfall, explain_derivation
from orchestrator_core.limits import SessionRule
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import Snapshot
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import RunRepository
from orchestrator_core.replay import StoredRecord, UnreadableRecord, derive
from orchestrator_core.runs import Run

LOOK_SECONDS = 2.0


@frozen
class Explained:
    """What explains a run's decisions.

    Attributes:
        waterfalls: Each order's steps, by symbol and leg; none where it cannot be explained.
        allocation: How near the plan comes to what was wanted; None where that is not known.
        warning: What spoke against deciding at all; None where nothing did.
        trouble: Why it cannot be explained, in words that end a sentence.
    """

    waterfalls: Mapping[OrderKey, Waterfall] = field(factory=dict, hash=False)
    allocation: Allocation | None = None
    warning: str | None = None
    trouble: str | None = None


async def explain_run(
    run: Run,
    runs: RunRepository,
    policy: RunPolicy,
    *,
    in_full: bool = True,
    seconds: float = LOOK_SECONDS,
) -> Explained | None:
    """Return what explains a stored run; None where nothing needs to be said.

    Never raises for want of an explanation: what is known of the run matters more. Nor does it wait
    for one longer than the seconds given.

    Args:
        run: As it stands.
        runs: Where its record is.
        policy: Of this service: what may have been warned of.
        in_full: Otherwise only a warning is of interest.
        seconds: How long it may take.
    """
    if not in_full and not _may_warn(run, policy):
        return None
    explained = await _read_and_explain(run, runs, seconds)
    return explained if in_full else Explained(warning=explained.warning)


def _may_warn(run: Run, policy: RunPolicy) -> bool:
    return policy.limits_of(run.request).market_session is SessionRule.WARN


async def _read_and_explain(run: Run, runs: RunRepository, seconds: float) -> Explained:
    try:
        async with asyncio.timeout(seconds):
            record = await runs.get_record(run.run_id)
    except (PortError, TimeoutError):
        return Explained(trouble="the run database did not answer")
    if record is None:
        return Explained(trouble="nothing is stored that it was decided from")
    try:
        return _explain(record)
    except UnreadableRecord as error:
        return Explained(trouble=f"its stored record is no good: {error}")


def _explain(record: StoredRecord) -> Explained:
    derivation = derive(record)
    snapshot, plan = derivation.snapshot, derivation.plan
    if snapshot.request.dry_run:
        # It tells what a run would come to.
        meant = evolve(snapshot, request=evolve(snapshot.request, dry_run=False))
        plan = plan_orders(meant, meant.policy)
    return Explained(
        explain_derivation(derivation, record),
        allocation=allocation_of(plan, snapshot),
        warning=warning_of(snapshot),
    )


def warning_of(snapshot: Snapshot) -> str | None:
    """Say what spoke against deciding then, where it is to be said; None otherwise."""
    if snapshot.policy.limits.market_session is not SessionRule.WARN:
        return None
    closed = market_closed(snapshot.decided_at)
    return None if closed is None else f"Decided while the market is closed: {closed.said}"
