"""P5: what a client was told is what stands in the end."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx

from orchestrator_core.lifecycle import OrderState
from tests.chaos.check_orders import FINAL, OPEN
from tests.chaos.evidence import Evidence, Finding, Promise
from tests.chaos.journal import AnswerSeen

S = OrderState
TOLD = frozenset({200, 202})
# Refusals that are stored as a failed run before they are given.
STORED_REFUSALS = frozenset(
    {
        "Signal Service unavailable",
        "Signal Service refused the request",
        "Signal Service answered outside its contract",
        "Prices unavailable",
        "Execution Gateway unavailable",
        "Execution Gateway not verified as safe",
        "Trading halted",
    }
)
NO_ORDER_SENT = "Run database unavailable"


def check_answers(evidence: Evidence) -> Iterator[Finding]:
    """Find answers that are lost, or contradicted by what stands in the end."""
    for seen in evidence.journal.answers:
        if seen.status == httpx.codes.INTERNAL_SERVER_ERROR:
            yield _finding(f"500 was answered by replica {seen.replica}: {seen.body}")
        if seen.run_id is None:
            continue
        if seen.status in TOLD:
            yield from _check_result(seen, seen.body, evidence)
        elif seen.decision is not None:
            yield from _check_refusal(seen, evidence)
    yield from _check_keys(evidence)


def _finding(what: str) -> Finding:
    return Finding(Promise.DURABLE, what)


def _check_result(seen: AnswerSeen, body: dict[str, Any], evidence: Evidence) -> Iterator[Finding]:
    run = evidence.runs.get(str(seen.run_id))
    if run is None:
        yield _finding(f"run {seen.run_id} was answered {seen.status} and is not stored")
        return
    told = body["status"]
    if told in FINAL and run.status != told:
        yield _finding(f"run {run.run_id} was told {told} and is {run.status}")
    asked = run.as_of_date if seen.decision is None else seen.decision.signal_date
    if run.has_plan and run.as_of_date != asked:
        yield _finding(f"run {run.run_id} is of {run.as_of_date}, not as asked")
    stands = {row.symbol: row for row in evidence.orders_of_run.get(run.run_id, [])}
    for mapping in body["mappings"]:
        row = stands.get(mapping["symbol"])
        state, id_ = mapping["order_state"], mapping["client_order_id"]
        if row is None:
            yield _finding(f"{mapping['symbol']} of run {run.run_id} was told and is gone")
        elif id_ != row.client_order_id:
            yield _finding(f"{id_} of run {run.run_id} was told, {row.client_order_id} stands")
        elif S(state) not in OPEN and state != row.state:
            yield _finding(f"{id_} of run {run.run_id} was told {state} and is {row.state}")
        elif state == S.ACCEPTED and id_ not in evidence.held:
            yield _finding(f"{id_} was told accepted, and is not at the gateway")


def _check_refusal(seen: AnswerSeen, evidence: Evidence) -> Iterator[Finding]:
    run = evidence.runs.get(str(seen.run_id))
    rows = evidence.orders_of_run.get(str(seen.run_id), [])
    if seen.error in STORED_REFUSALS:
        if run is None:
            yield _finding(f"run {seen.run_id} was told {seen.error!r} and is not stored")
        elif run.status != "failed":
            yield _finding(f"run {seen.run_id} was told {seen.error!r} and is {run.status}")
    if seen.error == NO_ORDER_SENT:
        sent = [row for row in rows if row.holds_id and row.state in {S.ACCEPTED, S.REJECTED}]
        if sent:
            yield _finding(f"run {seen.run_id} was told that no order was sent: {sent[0]}")


def _check_keys(evidence: Evidence) -> Iterator[Finding]:
    """A key stands for one run, of those in which something was claimed."""
    runs: dict[str, set[str]] = defaultdict(set)
    for seen in evidence.journal.answers:
        key = None if seen.decision is None else seen.decision.idempotency_key
        if key is None or seen.status not in TOLD or seen.run_id is None:
            continue
        rows = evidence.orders_of_run.get(seen.run_id, [])
        if any(row.holds_id for row in rows):
            runs[key].add(seen.run_id)
    for key, found in runs.items():
        if len(found) > 1:
            yield _finding(f"{key} was answered with {len(found)} runs: {sorted(found)}")
