"""What each of several strategies has of an order, as clients read it."""

from orchestrator_core.netting import attribute
from orchestrator_core.orders import Order
from orchestrator_entrypoints.wire import StrategyAttribution


def attributions_of(order: Order) -> tuple[StrategyAttribution, ...] | None:
    """Return each strategy's part in a netted signal and its order; None of any other signal.

    The shares are those of the order as it was planned, whatever became of it.
    """
    contributions = order.signal.contributions
    if not contributions:
        return None
    qty = 0 if order.intent is None else order.intent.signed_qty
    shares = attribute(qty, contributions)
    return tuple(
        StrategyAttribution(
            strategy_id=each.strategy_id,
            share=each.share,
            target_weight=each.target_weight,
            weight=each.weight,
            qty=shares[each.strategy_id],
        )
        for each in contributions
    )
