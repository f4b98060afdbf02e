"""The long trial: load, operators and faults for a while; then all must come true."""

from pathlib import Path

from attrs import frozen

from tests.chaos.clients import Client
from tests.chaos.decisions import Deciding
from tests.chaos.ending import (
    OPEN_RUNS,
    UNHEARD,
    gather_evidence,
    in_background,
    settle,
    unforeseen,
)
from tests.chaos.journal import Journal
from tests.chaos.keeping import keep
from tests.chaos.mischief import Mischief
from tests.chaos.operators import Operators
from tests.chaos.stage import ENVIRONMENT, STRATEGY, Setting, set_up
from tests.chaos.troubles import plan_troubles
from tests.chaos.verdict import Verdict, judge_trial

# From the end of all faults until everything must be true.
SETTLE_SECONDS = 90.0
# And until the last word of the gateway on a finished order must be known.
FOLLOW_SECONDS = 75.0


@frozen
class Soak:
    """How long, and with what load.

    Attributes:
        clients: Who ask at the same time.
        pause: Seconds between two requests of one, at most.
        share: Scales what the gateway does wrong.
        follow_seconds: How long the gateway's last words are waited for; 0 for not at all.
        kept: Where logs and all else are left; None for nowhere.
    """

    seconds: float
    seed: int
    clients: int = 8
    pause: float = 1.0
    share: float = 1.0
    settle_seconds: float = SETTLE_SECONDS
    follow_seconds: float = FOLLOW_SECONDS
    kept: Path | None = None


async def run_soak(soak: Soak) -> Verdict:
    """Run the trial and return what it showed."""
    async with set_up(Setting(seed=soak.seed, share=soak.share)) as stage:
        journal = Journal()
        operators = Operators(stage, journal)
        mischief = Mischief(stage, journal, operators)
        deciding = Deciding(soak.seed, ENVIRONMENT, STRATEGY)
        clients = [
            Client(number, stage, journal, deciding, soak.pause) for number in range(soak.clients)
        ]
        async with in_background(stage.keep_priced(), operators.watch(), operators.resolve()):
            async with in_background(*(client.go_on() for client in clients)):
                await mischief.play(plan_troubles(soak.seed, soak.seconds))
            await mischief.cease()
            settled = await settle(stage, soak.settle_seconds, OPEN_RUNS)
            followed = await settle(stage, soak.follow_seconds, UNHEARD)
        notes = [
            f"settled {settled:.1f} s after the faults ceased, followed {followed:.1f} s later",
            *mischief.failures,
            *operators.log,
            *unforeseen(stage),
        ]
        evidence = await gather_evidence(stage, journal)
        if soak.kept is not None:
            keep(stage, evidence, soak.kept)
        return judge_trial(evidence, notes)
