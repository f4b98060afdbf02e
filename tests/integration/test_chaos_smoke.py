"""A short look at what `python -m tests.chaos` tries at length."""

import asyncio

from tests.chaos.engaging import Engaging, run_engaging
from tests.chaos.soak import Soak, run_soak


def test_the_promises_hold_through_a_short_trial_under_faults() -> None:
    soak = Soak(seconds=8, seed=4, clients=3, settle_seconds=60, follow_seconds=0)
    verdict = asyncio.run(run_soak(soak))
    assert not verdict.findings, verdict.report()


def test_no_order_arrives_after_a_barrier_said_that_none_is_on_the_wire() -> None:
    verdict = asyncio.run(run_engaging(Engaging(trials=20, seed=4)))
    assert not verdict.findings, verdict.report()
