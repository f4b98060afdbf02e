"""Engaging the kill switch without an operator, for what must never be."""

from orchestrator_core.engaging import AlreadyInState, engage
from orchestrator_core.kill_switch import Engagement
from orchestrator_core.ports import Clock, KillSwitch, RunRepository
from orchestrator_core.surplus import Surplus

OPERATOR = "orchestrator: sent against planned"


async def engage_on_surplus(
    surplus: Surplus, *, kill_switch: KillSwitch, runs: RunRepository, clock: Clock
) -> None:
    """Engage the kill switch for a surplus; an engaged one stays as it is.

    Never raises for a store's failure: engaging tries each store whatever the other's fate, and the
    surplus is found again at the next look.
    """
    engagement = Engagement(OPERATOR, f"surplus: {surplus}", clock.now())
    try:
        await engage(engagement, kill_switch=kill_switch, runs=runs, clock=clock, wait_seconds=0)
    except AlreadyInState:
        return
