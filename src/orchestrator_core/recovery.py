"""Settling what a crash or a lost answer left open.

Theory of operation. A run belongs to whoever holds its lease at its latest epoch. Recovery takes a
run whose lease has ended, or which was given back with an order in doubt; from that commit on, the
former holder changes nothing. What was being sent is UNKNOWN then, and is looked up at the gateway:
only the gateway's own record settles it. An order that the gateway does not have may still be on
its way there; sending it again is safe, since the gateway keeps one order an id, and is done only
while everything that lets an order go lets it go: kill switch, latch, flags, the age of its price.
What stays in doubt is looked up again, at growing pauses, and after a time left to an operator; a
look that finds it later still settles it.
"""

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from orchestrator_core.commits import TakenRun
from orchestrator_core.errors import LeaseLost, TradingHalted
from orchestrator_core.halting import distrust_gateway, guard
from orchestrator_core.holding import FIRST_LOOK_SECONDS, RunHolder
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.limits import Denial, Limits, OrderFacts, first_denial
from orchestrator_core.model import OrderIntent, Quote
from orchestrator_core.orders import Order, Settlement
from orchestrator_core.outcomes import settlement_of_look
from orchestrator_core.plans import Snapshot
from orchestrator_core.policy import RunPolicy
from orchestrator_core.ports import Inquiry, LookUp, LookUpKind, RunPorts
from orchestrator_core.run_book import RunBook
from orchestrator_core.runs import FailureKind, Run, RunFailure
from orchestrator_core.sending import place_in_sending
from orchestrator_core.stopping import engage_on_surplus_of
from orchestrator_core.waves import WaveSender

# Looked up at the gateway, since its record may settle them.
IN_DOUBT = frozenset({OrderState.UNKNOWN, OrderState.UNRESOLVED})

LAST_LOOK_SECONDS = 30.0
# Each pause is this share of the order's age.
PAUSE_SHARE = 0.25
# Few enough that asking about them takes less than two thirds of a lease.
LOOKS_AT_ONCE = 32
# An order left to an operator is still looked up, rarely.
UNRESOLVED_LOOK_SECONDS = 300.0

ABANDONED = "the process ended before there was a plan; nothing was sent"


@frozen
class Recovered:
    """What became of one run that was taken over.

    Attributes:
        run: As it was left.
        settled: What looks at the gateway settled.
        unresolved: Orders that are left to an operator from now on.
        resent: Orders that were to be sent once more.
        lost: Another holder took the run over meanwhile.
    """

    run: Run
    settled: tuple[Settlement, ...] = ()
    unresolved: tuple[Settlement, ...] = ()
    resent: int = 0
    lost: bool = False


async def recover_run(*, ports: RunPorts, policy: RunPolicy) -> Recovered | None:
    """Take over one run that is due and bring it as far as can be; None if none is due.

    Raises:
        PortError: The run database failed; the run comes again when its lease ends.
    """
    taken = await ports.runs.take_run(policy.strategy_id, lease_seconds=policy.lease_seconds)
    if taken is None:
        return None
    try:
        return await _recover(taken, ports, policy)
    except LeaseLost:
        return Recovered(taken.run, lost=True)


async def _recover(taken: TakenRun, ports: RunPorts, policy: RunPolicy) -> Recovered:
    holder = holder_of(taken, ports, policy)
    if taken.snapshot is None:
        failure = RunFailure(FailureKind.ABANDONED, ABANDONED)
        return Recovered(await holder.close(failure))
    doubtful = [order for order in taken.run.orders or () if order.state in IN_DOUBT]
    answers = await _look_up_all(doubtful, holder)
    settlements = _settle_by_looks(holder.book, doubtful, answers, taken, policy)
    resendable = _resendable(holder.book, answers, taken)
    await _go_on(holder, taken, taken.snapshot, resendable)
    run = await holder.close(look_again_seconds=look_again_seconds(holder.book, taken))
    heard_of = {each.client_order_id for each in settlements}
    await engage_on_surplus_of(
        [order for id_, order in holder.book.orders.items() if id_ in heard_of], ports
    )
    unresolved = tuple(each for each in settlements if each.state is OrderState.UNRESOLVED)
    return Recovered(
        run=run,
        settled=tuple(each for each in settlements if each not in unresolved),
        unresolved=unresolved,
        resent=len(resendable),
    )


def holder_of(taken: TakenRun, ports: RunPorts, policy: RunPolicy) -> RunHolder:
    """Return what goes on with a run that was taken over; it may send nothing yet."""
    return RunHolder(
        RunBook.taken(taken), taken.lease, ports, policy, has_claimed=bool(taken.claim_ages)
    )


async def _look_up_all(orders: Sequence[Order], holder: RunHolder) -> list[LookUp]:
    """Ask the gateway about any number of orders, and keep the lease meanwhile."""
    answers: list[LookUp] = []
    for begin in range(0, len(orders), LOOKS_AT_ONCE):
        await holder.keep_lease()
        answers += await look_up(orders[begin : begin + LOOKS_AT_ONCE], holder.ports)
    return answers


async def look_up(orders: Sequence[Order], ports: RunPorts) -> Sequence[LookUp]:
    """Ask the gateway about orders in doubt; one answer each, in order."""
    inquiries = [
        Inquiry.about(order.intent, order.report) for order in orders if order.intent is not None
    ]
    return await ports.sink.look_up(inquiries) if inquiries else ()


def _settle_by_looks(
    book: RunBook,
    orders: Sequence[Order],
    answers: Sequence[LookUp],
    taken: TakenRun,
    policy: RunPolicy,
) -> list[Settlement]:
    settlements = []
    for order, answer in zip(orders, answers, strict=True):
        settlement = settlement_of_look(
            order,
            answer,
            age_seconds=taken.claim_ages.get(answer.client_order_id, 0.0),
            unresolved_after_seconds=policy.unresolved_after_seconds,
        )
        if settlement is not None:
            book.settle(settlement)
            settlements.append(settlement)
    return settlements


def _resendable(book: RunBook, answers: Iterable[LookUp], taken: TakenRun) -> list[OrderIntent]:
    """Return the orders that may be sent once more, as far as the gateway's answers tell.

    A gateway that was never seen to keep our ids might take the same order twice.
    """
    if not taken.keeps_ids or taken.snapshot is None:
        return []
    max_age = taken.snapshot.policy.limits.max_price_age_seconds
    intents = []
    for answer in answers:
        order = book.orders[answer.client_order_id]
        age = taken.claim_ages.get(answer.client_order_id)
        if (
            answer.kind is LookUpKind.ABSENT
            and order.state is OrderState.UNKNOWN
            and order.intent is not None
            and age is not None
            and age <= max_age
        ):
            intents.append(order.intent)
    return _in_order_of_sending(book, intents)


def _in_order_of_sending(book: RunBook, intents: Iterable[OrderIntent]) -> list[OrderIntent]:
    return sorted(
        intents,
        key=lambda intent: place_in_sending(
            intent, book.orders[intent.client_order_id].signal.rank
        ),
    )


async def _go_on(
    holder: RunHolder, taken: TakenRun, snapshot: Snapshot, resendable: Sequence[OrderIntent]
) -> None:
    """Send what was planned and not sent, and what may be sent again."""
    planned = [
        order.intent
        for order in holder.book.orders.values()
        if order.state is OrderState.PLANNED and order.intent is not None
    ]
    if not planned and not resendable:
        return
    ports, policy = holder.ports, holder.policy
    obstacle = _other_world(snapshot, policy)
    if obstacle is None:
        obstacle = await distrust_gateway(taken.run.request, ports, policy)
    if obstacle is not None:
        holder.give_up(planned, OrderState.NOT_PLACED, f"taken over, and not sent: {obstacle}")
        return
    try:
        holder.latch = await guard(ports)
    except TradingHalted as halted:
        holder.give_up(planned, OrderState.HALTED, halted.reason)
        return
    controls = await ports.runs.read_controls(policy.strategy_id, count_failures=0)
    limits = controls.tighten(policy.limits)
    pending = _in_order_of_sending(holder.book, planned)
    denials = _denials_by_now((*pending, *resendable), holder.book, snapshot, limits)
    for intent in pending:
        if intent in denials:
            reason = f"taken over, and not sent: denied by now: {denials[intent]}"
            holder.give_up([intent], OrderState.NOT_PLACED, reason)
    # What is in doubt may be there already; what is denied by now is not sent once more.
    await WaveSender(holder).send_on(
        snapshot,
        pending=[intent for intent in pending if intent not in denials],
        doubtful=[intent for intent in resendable if intent not in denials],
    )


def _denials_by_now(
    intents: Iterable[OrderIntent], book: RunBook, snapshot: Snapshot, limits: Limits
) -> Mapping[OrderIntent, Denial]:
    """Return what denies orders of a former plan under the limits of today."""
    quoted = {quote.symbol: quote.price for quote in snapshot.quotes if isinstance(quote, Quote)}
    references = {reference.symbol: reference for reference in snapshot.references}
    denials = {}
    for intent in intents:
        price = book.orders[intent.client_order_id].price
        price = quoted.get(intent.symbol) if price is None else price
        if price is None:
            continue
        facts = OrderFacts(intent, price, references.get(intent.symbol), snapshot.holdings)
        denial = first_denial(facts, limits)
        if denial is not None:
            denials[intent] = denial
    return denials


def _other_world(snapshot: Snapshot, policy: RunPolicy) -> str | None:
    """Say why a plan was not made for the gateway of this service, or return None."""
    decision = snapshot.decision
    if (decision.environment, decision.mode) == (policy.environment, policy.mode):
        return None
    return (
        f"planned for {decision.environment} in mode {decision.mode}, this service is "
        f"{policy.environment} in mode {policy.mode}"
    )


def look_again_seconds(book: RunBook, taken: TakenRun) -> float | None:
    """Return the time until the run is to be taken again; None where that can settle no more."""
    if any(order.state is OrderState.PLANNED for order in book.orders.values()):
        return FIRST_LOOK_SECONDS
    ages = [
        taken.claim_ages.get(id_, 0.0)
        for id_, order in book.orders.items()
        if order.state is OrderState.UNKNOWN and order.owner is None
    ]
    if ages:
        return min(max(min(ages) * PAUSE_SHARE, FIRST_LOOK_SECONDS), LAST_LOOK_SECONDS)
    if any(
        order.state is OrderState.UNRESOLVED and order.owner is None
        for order in book.orders.values()
    ):
        return UNRESOLVED_LOOK_SECONDS
    return None
