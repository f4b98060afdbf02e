"""`orchestrator recover`: by hand what a service does by itself, until nothing is due."""

import argparse
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

from attrs import define, field

from orchestrator_core.lifecycle import OPEN, OrderState, RunStatus
from orchestrator_core.orders import Order
from orchestrator_core.recovery import Recovered
from orchestrator_core.resolving import RESOLVABLE
from orchestrator_core.tracking import Round
from orchestrator_entrypoints.commands.console import Console
from orchestrator_entrypoints.commands.exit_codes import ExitCode
from orchestrator_entrypoints.commands.run_output import counted_as
from orchestrator_entrypoints.commands.session import stop_at_signals, with_orchestrator
from orchestrator_entrypoints.follower import Follower
from orchestrator_entrypoints.orchestrator import Orchestrator
from orchestrator_entrypoints.recoverer import Recoverer

IN_DOUBT = "in doubt"


@define
class _Pass:
    """What one pass did."""

    recovered: list[Recovered] = field(factory=list)
    followed: list[Round] = field(factory=list)


def recover(arguments: argparse.Namespace, console: Console) -> int:
    """Recover every run that is due and ask about every order that is; end with 5 if some stay."""

    async def work(orchestrator: Orchestrator) -> ExitCode:
        was_interrupted = stop_at_signals(orchestrator)
        done = _Pass()
        with console.working("recovering runs, and asking about orders"):
            await _go_through(orchestrator, done)
        open_orders = len(await orchestrator.ports.runs.open_orders())
        if arguments.json:
            console.json({**_as_json(done), "orders_open": open_orders})
        else:
            _write(console, done, open_orders)
        if was_interrupted():
            return ExitCode.INTERRUPTED
        return ExitCode.RUNNING if open_orders else ExitCode.DONE

    return with_orchestrator(arguments, work, only_existing=True)


async def _go_through(orchestrator: Orchestrator, done: _Pass) -> None:
    recoverer, follower = Recoverer(orchestrator), Follower(orchestrator)
    while not orchestrator.stop.is_set:
        recovered = await recoverer.recover_one()
        if recovered is None:
            break
        done.recovered.append(recovered)
    while not orchestrator.stop.is_set:
        found = await follower.follow_once()
        if not found.looked:
            break
        done.followed.append(found)


def _as_json(done: _Pass) -> dict[str, object]:
    return {
        "runs": [
            {
                "run_id": str(each.run.run_id),
                "status": str(each.run.status),
                "settled": _settled(each),
                "resent": each.resent,
                "left": _left(each),
                "unresolved": [order.client_order_id for order in each.unresolved],
                "lost": each.lost,
            }
            for each in done.recovered
        ],
        "followed": {
            "looked": sum(found.looked for found in done.followed),
            "ended": sum(found.ended for found in done.followed),
            "revived": [news.client_order_id for found in done.followed for news in found.revived],
            "unanswered": sum(found.unanswered for found in done.followed),
            "filled_qty": str(_shares(done)),
        },
    }


def _shares(done: _Pass) -> Decimal:
    return sum((found.filled_qty for found in done.followed), Decimal(0))


def _settled(recovered: Recovered) -> dict[str, int]:
    return dict(sorted(Counter(str(each.state) for each in recovered.settled).items()))


def _left(recovered: Recovered) -> dict[str, int]:
    """Return how many orders of a run are still open, by what they wait for."""
    waits = (_wait_of(order) for order in recovered.run.orders or ())
    return dict(sorted(Counter(wait for wait in waits if wait is not None).items()))


def _wait_of(order: Order) -> str | None:
    state = order.standing.state
    if order.owner is not None:
        return "with another run" if state in OPEN else None
    if state in RESOLVABLE:
        return "for an operator"
    if state is OrderState.PLANNED:
        return "not sent yet"
    return IN_DOUBT if state in OPEN else None


def _write(console: Console, done: _Pass, open_orders: int) -> None:
    if not done.recovered:
        console.line("no run was due")
    for each in done.recovered:
        console.line(f"run {each.run.run_id}: {_deeds(each)}")
        for order in each.unresolved:
            console.line(f"    {order.client_order_id} waits for an operator: {order.reason}")
    looked = sum(found.looked for found in done.followed)
    ended = sum(found.ended for found in done.followed)
    shares = _shares(done)
    console.line(
        f"{counted_as(looked, 'order')} asked about: {ended} ended, {shares:f} shares filled"
    )
    for found in done.followed:
        for news in found.revived:
            console.line(
                f"  {news.client_order_id} lives on after its end: {news.before.status}, "
                f"now {news.report.status}"
            )
    if open_orders:
        console.line(f"{counted_as(open_orders, 'order')} open: orchestrator orders open")


def _deeds(recovered: Recovered) -> str:
    """Say how a run stands now: what was settled, what was sent, and what is left."""
    if recovered.lost:
        return "another replica took it over meanwhile"
    status, left = recovered.run.status, _left(recovered)
    said = [f"still {status}" if status is RunStatus.RUNNING else f"now {status}"]
    settled = {word: n for word, n in _settled(recovered).items() if word not in RESOLVABLE}
    if settled:
        said.append(f"settled: {_listed(settled)}")
    if recovered.resent:
        # Whatever held a second sending back left the order in doubt.
        due = "due to be sent again" if IN_DOUBT in left else "sent again"
        said.append(f"{due}: {recovered.resent}")
    if left:
        said.append(f"left: {_listed(left)}")
    return "; ".join(said)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items())
