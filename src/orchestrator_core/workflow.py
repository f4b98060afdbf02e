"""One run, as the business process.

    guard -> open -> signals -> (book, account) -> prices -> plan -> commit plan
          -> [claim -> submit -> record]* -> close

What happens from the committed plan on stands in `orchestrator_core.waves`.
"""

from collections.abc import Callable

from orchestrator_core.commits import EarlierRun, IdempotencyKey, Lease, PlanRecord, RunOpening
from orchestrator_core.errors import IllegalTransition, LeaseLost, OutcomeUnknown, PortError
from orchestrator_core.halting import guard
from orchestrator_core.holding import RunHolder
from orchestrator_core.identifiers import RunId
from orchestrator_core.lifecycle import OPEN, RunStatus
from orchestrator_core.observing import Observer, RunFailedError
from orchestrator_core.planning import plan_orders
from orchestrator_core.plans import OrderPlan
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import RunPorts
from orchestrator_core.requests import RunRequest
from orchestrator_core.run_book import RunBook
from orchestrator_core.runs import FailureKind, Run, RunFailure
from orchestrator_core.stopping import engage_on_surplus_of
from orchestrator_core.waves import WaveSender

MAX_DECISIONS = 8
OWNER_POLL_SECONDS = 0.05


async def execute_run(
    request: RunRequest,
    *,
    run_id: RunId,
    ports: RunPorts,
    policy: RunPolicy,
    idempotency: IdempotencyKey | None = None,
    opened: Callable[[], None] = lambda: None,
) -> Run:
    """Make one run and return it as stored.

    A run that failed is returned too, with its `failure`. An earlier run is returned where the
    idempotency key stands for it.

    Args:
        request: What the run is held to.
        run_id: Fresh; the caller's way to find the run again.
        ports: Everything outside.
        policy: How this service runs.
        idempotency: The client's own name for the request.
        opened: Called once the run is stored under its id.

    Raises:
        TradingHalted: Before anything was stored.
        Conflict: The idempotency key stands for another request, or for a run still going.
        PortError: The run database failed before anything was sent.
    """
    latch = await guard(ports)
    opening = _opening(request, run_id, ports, policy, idempotency)
    lease = await _open(opening, ports)
    if isinstance(lease, EarlierRun):
        return await _stored(ports, lease.run_id)
    opened()
    holder = RunHolder(RunBook.opened(opening), lease, ports, policy, latch)
    try:
        run = await _decide_and_send(request, holder, ports, policy)
    except LeaseLost:
        return await _as_taken_over(holder, ports)
    await engage_on_surplus_of(run.orders or (), ports)
    return await _await_owners(run, ports, policy)


async def _decide_and_send(
    request: RunRequest, holder: RunHolder, ports: RunPorts, policy: RunPolicy
) -> Run:
    failure = None
    try:
        try:
            plan = await _send_plan(Observer(request, ports, policy), holder)
            denial = plan.refusal
            if denial is not None:
                failure = RunFailure(FailureKind.BASKET_REFUSED, str(denial))
        except RunFailedError as failed:
            failure = failed.failure
        return await holder.close(failure)
    except LeaseLost:
        raise
    except PortError as error:
        if holder.has_claimed:
            return holder.book.as_recorded()
        is_recorded = await holder.close_broken(FailureKind.DATABASE_UNAVAILABLE, error.cause)
        if holder.plan_may_stand and not is_recorded:
            # Whoever takes the run over may send what is planned: nobody is told that it failed.
            return holder.book.as_recorded()
        raise
    except Exception as error:
        # The last place that knows what was sent: it is recorded, then the edge answers.
        await holder.close_broken(FailureKind.UNFORESEEN, f"unforeseen {type(error).__name__}")
        raise


async def _send_plan(observer: Observer, holder: RunHolder) -> OrderPlan:
    """Decide, commit and send; decide anew while other plans move the book that it depends on."""
    batch, limits = await observer.fetch_signals()
    for _ in range(MAX_DECISIONS):
        snapshot, version = await observer.take_snapshot(batch, limits)
        plan = plan_orders(snapshot, snapshot.policy)
        if await WaveSender(holder).send(PlanRecord(snapshot, plan, version)):
            return plan
    reason = f"other runs on the account were faster, {MAX_DECISIONS} times in a row"
    raise RunFailedError(RunFailure(FailureKind.BOOK_MOVED, reason))


def _opening(
    request: RunRequest,
    run_id: RunId,
    ports: RunPorts,
    policy: RunPolicy,
    idempotency: IdempotencyKey | None,
) -> RunOpening:
    now = ports.clock.now()
    return RunOpening(
        run_id=run_id,
        strategy_id=policy.strategy_id,
        as_of_date=request.as_of_date or now.date(),
        request=request,
        started_at=now,
        lease_seconds=policy.lease_seconds,
        idempotency=idempotency,
    )


async def _open(opening: RunOpening, ports: RunPorts) -> Lease | EarlierRun:
    try:
        return await ports.runs.open_run(opening)
    except OutcomeUnknown:
        return await ports.runs.open_run(opening)


async def _stored(ports: RunPorts, run_id: RunId) -> Run:
    run = await ports.runs.get_run(run_id)
    if run is None:
        raise IllegalTransition(f"run {run_id} was stored and is gone")
    return run


async def _as_taken_over(holder: RunHolder, ports: RunPorts) -> Run:
    """Return a run that another has now, as it stands, or as far as it is known here."""
    try:
        return await _stored(ports, holder.lease.run_id)
    except PortError:
        return holder.book.as_recorded()


async def _await_owners(run: Run, ports: RunPorts, policy: RunPolicy) -> Run:
    """Give the orders that this run adopted a moment to settle with their owners."""
    until = ports.clock.monotonic() + policy.owner_wait_seconds
    while waits_for_owners(run) and ports.clock.monotonic() < until and not ports.stopping():
        await ports.clock.sleep(OWNER_POLL_SECONDS)
        try:
            run = await _stored(ports, run.run_id)
        except PortError:
            break
    return run


def waits_for_owners(run: Run) -> bool:
    """Whether a run is open only because orders that it adopted are."""
    if run.status is not RunStatus.RUNNING or run.orders is None:
        return False
    return all(order.owner is not None for order in run.orders if order.standing.state in OPEN)
