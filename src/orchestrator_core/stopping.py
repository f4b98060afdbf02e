"""Engaging the kill switch without an operator, for what must never be."""

from collections.abc import Iterable

from orchestrator_core.engaging import AlreadyInState, engage
from orchestrator_core.kill_switch import Engagement
from orchestrator_core.orders import Order
from orchestrator_core.ports import RunPorts
from orchestrator_core.surplus import Surplus, surplus_of_orders

OPERATOR = "orchestrator: sent against planned"


async def engage_on_surplus_of(orders: Iterable[Order], ports: RunPorts) -> None:
    """Engage the kill switch if one of the orders is filled beyond its shares."""
    surplus = surplus_of_orders(orders)
    if surplus is not None:
        await engage_on_surplus(surplus, ports)


async def engage_on_surplus(surplus: Surplus, ports: RunPorts) -> None:
    """Engage the kill switch for a surplus; an engaged one stays as it is.

    Never raises for a store's failure: engaging tries each store whatever the other's fate, and the
    surplus is found again at the next look.
    """
    engagement = Engagement(OPERATOR, f"surplus: {surplus}", ports.clock.now())
    try:
        await engage(
            engagement,
            kill_switch=ports.kill_switch,
            runs=ports.runs,
            clock=ports.clock,
            wait_seconds=0,
        )
    except AlreadyInState:
        return
