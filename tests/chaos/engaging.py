"""Trials of the barrier: engage while three replicas send, and watch what arrives afterwards."""

import asyncio
import random
import time

from attrs import frozen

from tests.chaos.audit import slow_claims_down
from tests.chaos.clients import ask
from tests.chaos.decisions import Decision
from tests.chaos.ending import OPEN_RUNS, gather_evidence, in_background, settle, unforeseen
from tests.chaos.evidence import Evidence
from tests.chaos.figures import figures_of
from tests.chaos.journal import Deed, Journal
from tests.chaos.operators import Operators
from tests.chaos.stage import Setting, Stage, set_up
from tests.chaos.verdict import Verdict, judge_trial

SYMBOLS = tuple(f"T{number:02d}" for number in range(24))
# How long an honest gateway takes for an order, and when within a run the stop comes.
LATENCY_SECONDS = 0.005
STOP_AFTER_SECONDS = (0.0, 0.09)
QUIET_SECONDS = 0.03
TWICE_SHARE = 0.2
SETTLE_SECONDS = 30.0


@frozen
class Engaging:
    """How often, and drawn from which seed."""

    trials: int
    seed: int


async def run_engaging(engaging: Engaging) -> Verdict:
    """Run the trials and return what they showed."""
    setting = Setting(seed=engaging.seed, share=0.0, latency=LATENCY_SECONDS, proxied=False)
    draw = random.Random(f"{engaging.seed}:engaging")  # noqa: S311 - a plan, no secret
    async with set_up(setting) as stage:
        journal = Journal()
        operators = Operators(stage, journal)
        stage.priced.update(SYMBOLS)
        await stage.price(SYMBOLS)
        await slow_claims_down(stage.database_url)
        begun = time.monotonic()
        async with in_background(stage.keep_priced()):
            for number in range(engaging.trials):
                await _try_once(stage, journal, operators, number, draw)
            took = time.monotonic() - begun
            await settle(stage, SETTLE_SECONDS, OPEN_RUNS)
        evidence = await gather_evidence(stage, journal)
        verdict = judge_trial(evidence, unforeseen(stage))
        lines = [f"{engaging.trials} trials in {took:.1f} s", *_figures(evidence), *verdict.lines]
        return Verdict(lines, verdict.findings, verdict.notes)


async def _try_once(
    stage: Stage, journal: Journal, operators: Operators, number: int, draw: random.Random
) -> None:
    runs = [
        asyncio.create_task(ask(stage, journal, _decision(number, replica), replica))
        for replica in range(len(stage.replicas))
    ]
    await asyncio.sleep(draw.uniform(*STOP_AFTER_SECONDS))
    first, second, _ = draw.sample(range(len(stage.replicas)), len(stage.replicas))
    stops = [operators.engage(first)]
    if draw.random() < TWICE_SHARE:
        stops.append(operators.engage(second))
    await asyncio.gather(*stops)
    await asyncio.sleep(QUIET_SECONDS)
    await asyncio.gather(*runs)
    await operators.disengage(second)


def _decision(number: int, replica: int) -> Decision:
    return Decision(f"trial-{number}-{replica}", None, f"t{number}-{replica}", SYMBOLS)


def _figures(evidence: Evidence) -> list[str]:
    engages = [mark for mark in evidence.journal.of(Deed.ENGAGE) if mark.ended_at is not None]
    seconds = [mark.ended_at - mark.begun_at for mark in engages if mark.ended_at is not None]
    meanwhile = [
        sum(mark.begun_at <= entry.at <= (mark.ended_at or 0) for entry in evidence.arrivals)
        for mark in engages
    ]
    ran_into = sum(count > 0 for count in meanwhile)
    return [
        f"engage answered within, ms: {figures_of([1000 * second for second in seconds])}",
        f"engagements met by orders on their way: {ran_into}, by {sum(meanwhile)} POSTs",
    ]
