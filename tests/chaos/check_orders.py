"""P1 and P2: one order a decision, each known in its true state, and every run ended."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from orchestrator_core.lifecycle import ORDER_TRANSITIONS, OrderState
from tests.chaos.decisions import is_own
from tests.chaos.evidence import Evidence, Finding, Promise
from tests.chaos.ledger import Event

S = OrderState
FOR_OPERATOR = frozenset({S.UNRESOLVED, S.CONFLICT})
STUCK = frozenset({S.PLANNED, S.SENDING, S.UNKNOWN})
OPEN = STUCK | FOR_OPERATOR
NOT_DONE = frozenset({S.REJECTED, S.NOT_PLACED, S.HALTED})
ENDED_WORDS = frozenset({"filled", "canceled", "rejected"})
FINAL = frozenset({"completed", "partial", "failed"})


def check_one_order(evidence: Evidence) -> Iterator[Finding]:
    """Find doubles, ids that no decision may have, and repeats with other bytes."""
    promise = Promise.ONE_ORDER
    by_symbol = Counter(
        document["symbol"] for document in evidence.held.values() if is_own(document["symbol"])
    )
    for symbol, count in by_symbol.items():
        if count > 1:
            yield Finding(promise, f"{count} orders are held for {symbol}")
    for id_, count in Counter(entry.order_id for entry in evidence.taken).items():
        if count > 1:
            yield Finding(promise, f"{id_} was taken {count} times")
    expected = _expected_ids(evidence)
    for id_, document in evidence.held.items():
        if id_ not in expected[document["symbol"]]:
            yield Finding(promise, f"{id_} is no decision's id for {document['symbol']}")
    for entry in evidence.entries:
        if entry.event is Event.CONTRADICTED:
            yield Finding(promise, f"{entry.order_id} was sent again as another order")


def _expected_ids(evidence: Evidence) -> dict[str, set[str]]:
    expected: dict[str, set[str]] = defaultdict(set)
    for decision in evidence.journal.decisions.values():
        for symbol in decision.symbols:
            id_ = evidence.deciding.order_id(decision.signal_date, decision.rebalance_key, symbol)
            expected[symbol].add(id_)
    return expected


def check_nothing_lost(evidence: Evidence) -> Iterator[Finding]:
    """Find orders that the database does not have in their true state."""
    promise = Promise.NOTHING_LOST
    for id_, document in evidence.held.items():
        rows = evidence.holders.get(id_, [])
        is_rejected = document["status"] == "rejected"
        wanted = S.REJECTED if is_rejected else S.ACCEPTED
        states = [row.state for row in rows]
        if states != [wanted] and not (rows and set(states) <= FOR_OPERATOR):
            found = f"{states or 'no row'}; rows {_rows_of(evidence, id_)}"
            yield Finding(promise, f"LOST {id_} is held {document['status']}, stored {found}")
    for id_, rows in evidence.holders.items():
        for row in rows:
            if row.state == S.ACCEPTED and id_ not in evidence.held:
                yield Finding(promise, f"{id_} is stored accepted, and not at the gateway")
            if row.state in STUCK:
                yield Finding(promise, f"{id_} of run {row.run_id} is still {row.state}")


def _rows_of(evidence: Evidence, id_: str) -> list[str]:
    return [
        f"{row.run_id[:8]} {row.state} ({row.reason})"
        for row in evidence.books.orders
        if row.client_order_id == id_
    ]


def words_behind(evidence: Evidence) -> list[str]:
    """Return orders whose end at the gateway the database has not heard of yet."""
    return [
        f"{id_}: {row.gateway_status} for {document['status']}"
        for id_, document in evidence.held.items()
        if document["status"] in ENDED_WORDS
        for row in evidence.holders.get(id_, [])
        if row.state not in FOR_OPERATOR and row.gateway_status != document["status"]
    ]


def left_to_operators(evidence: Evidence) -> list[str]:
    """Return the orders that wait for somebody."""
    return [
        f"{row.client_order_id} {row.state} ({row.reason})"
        for row in evidence.books.orders
        if row.state in FOR_OPERATOR
    ]


def check_runs_end(evidence: Evidence) -> Iterator[Finding]:
    """Find runs whose status is not true, or that run for ever without anybody told."""
    for run in evidence.books.runs:
        rows = evidence.orders_of_run.get(run.run_id, [])
        states = [row.owner_state if row.state == S.ADOPTED else row.state for row in rows]
        problem = _problem_of_run(run.status, run.has_plan, [S(str(state)) for state in states])
        if problem is not None:
            counted = dict(Counter(str(state) for state in states))
            what = f"run {run.run_id} is {run.status}, {problem}: {counted}"
            yield Finding(Promise.NOTHING_LOST, what)


def _problem_of_run(status: str, has_plan: bool, states: list[OrderState]) -> str | None:
    is_open = any(state in OPEN for state in states)
    if status == "running":
        return None if any(state in FOR_OPERATOR for state in states) else "and nobody is told"
    if is_open:
        return "with open orders"
    if not has_plan:
        return None if status == "failed" else "without a plan"
    has_not_done = any(state in NOT_DONE for state in states)
    if status == "completed" and has_not_done:
        return "though something was not done"
    if status == "partial" and S.ACCEPTED not in states:
        return "though nothing was accepted"
    return None


def check_steps(evidence: Evidence) -> Iterator[Finding]:
    """Find changes that the tables do not allow."""
    for change in evidence.books.order_changes:
        if change.before in {None, change.after}:
            continue
        if S(change.after) not in ORDER_TRANSITIONS[S(str(change.before))]:
            what = f"{change.client_order_id} went from {change.before} to {change.after}"
            yield Finding(Promise.NOTHING_LOST, what)
    for step in evidence.books.run_changes:
        if step.before in FINAL:
            what = f"run {step.run_id} went from {step.before} to {step.after}"
            yield Finding(Promise.DURABLE, what)
