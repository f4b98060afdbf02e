"""In which order orders are sent, and which of them may be in flight together."""

from collections.abc import Sequence

from orchestrator_core.identifiers import Symbol
from orchestrator_core.model import OrderIntent, Side


def place_in_sending(intent: OrderIntent, rank: int) -> tuple[bool, int, int, Symbol]:
    """Return what orders are sorted by: sells before buys, then by leg, rank and symbol.

    Second legs wait for the fill of first ones, and hold up no other order of their side so.
    """
    return intent.side is Side.BUY, intent.leg, rank, intent.symbol


def next_wave(pending: Sequence[OrderIntent], *, max_orders: int) -> tuple[OrderIntent, ...]:
    """Return the head of `pending` that may be in flight together.

    One side only, first legs or second ones only, at most `max_orders`.
    """
    wave: list[OrderIntent] = []
    for intent in pending[:max_orders]:
        if (intent.side, intent.leg) != (pending[0].side, pending[0].leg):
            break
        wave.append(intent)
    return tuple(wave)
