"""Trials of recovery: kill a replica while it sends, and time its run until that has ended."""

import asyncio
import random
import signal

from attrs import frozen

from tests.chaos.clients import ask
from tests.chaos.decisions import Decision
from tests.chaos.ending import OPEN_RUNS, gather_evidence, in_background, settle, unforeseen
from tests.chaos.evidence import Evidence
from tests.chaos.figures import figures_of
from tests.chaos.journal import Deed, Journal
from tests.chaos.ledger import Event
from tests.chaos.processes import until
from tests.chaos.stage import LEASE_SECONDS, Setting, Stage, set_up
from tests.chaos.verdict import Verdict, judge_trial

LATENCY_SECONDS = 0.2
ORDERS = 8
ARMED_SECONDS = 10.0
SETTLE_SECONDS = 60.0
POINTS = (Event.ARRIVED, Event.TAKEN, None)
# The opener holds the first epoch.
TAKEN_ONCE = 2
FINAL = frozenset({"completed", "partial", "failed"})


@frozen
class Recovering:
    """How often, and drawn from which seed."""

    kills: int
    seed: int


async def run_recovering(recovering: Recovering) -> Verdict:
    """Run the trials and return what they showed."""
    setting = Setting(seed=recovering.seed, share=0.0, latency=LATENCY_SECONDS, proxied=False)
    draw = random.Random(f"{recovering.seed}:recovering")  # noqa: S311 - a plan, no secret
    async with set_up(setting) as stage:
        journal = Journal()
        async with in_background(stage.keep_priced()):
            kills = [
                await _kill_once(stage, journal, number, draw) for number in range(recovering.kills)
            ]
            await settle(stage, SETTLE_SECONDS, OPEN_RUNS)
        evidence = await gather_evidence(stage, journal)
        verdict = judge_trial(evidence, unforeseen(stage))
        once, again = seconds_to_recover(evidence)
        lines = [
            f"replicas killed while they sent: {sum(kills)} of {len(kills)}",
            f"killed to ended, s, lease {LEASE_SECONDS:g} s: {figures_of(once)}",
            f"where the taker was killed too: {figures_of(again)}",
        ]
        return Verdict([*lines, *verdict.lines], verdict.findings, verdict.notes)


async def _kill_once(stage: Stage, journal: Journal, number: int, draw: random.Random) -> bool:
    """Kill a replica at a point of one of its orders, and start it again."""
    replica = stage.replicas[number % len(stage.replicas)]
    symbols = tuple(f"C0N{number:04d}{letter}" for letter in "ABCDEFGH"[:ORDERS])
    stage.priced.update(symbols)
    await stage.price(symbols)
    point = draw.choice(POINTS)
    await stage.peers.tell(
        stage.http,
        "arm",
        via=replica.number,
        pid=replica.pid,
        signal=int(signal.SIGKILL),
        point=point,
        posts=draw.randrange(ORDERS - 1),
    )
    decision = Decision(f"kill-{number}", None, f"k{number}", symbols)
    asking = asyncio.create_task(ask(stage, journal, decision, replica.number))
    is_dead = await until(lambda: not replica.is_alive, ARMED_SECONDS)
    await asking
    await stage.peers.tell(stage.http, "disarm", via=replica.number)
    if is_dead:
        journal.note(Deed.KILL_AT_POST, replica.number)
        replica.start()
        await replica.wait_until_serving(stage.http)
    return is_dead


def seconds_to_recover(evidence: Evidence) -> tuple[list[float], list[float]]:
    """Return, for each kill, the seconds until the killed sender's run had ended.

    Apart are those of runs that more than one lease ended under.
    """
    ended = {
        change.run_id: change.at - evidence.wall_offset
        for change in evidence.books.run_changes
        if change.after in FINAL
    }
    once: list[float] = []
    again: list[float] = []
    for entry in evidence.entries:
        if entry.event is not Event.SIGNALLED:
            continue
        [holder] = evidence.holders[entry.order_id]
        if holder.run_id in ended:
            was_taken_again = (evidence.runs[holder.run_id].lease_epoch or 0) > TAKEN_ONCE
            (again if was_taken_again else once).append(ended[holder.run_id] - entry.at)
    return once, again
