"""The second order of a flip through zero: it waits until the first one has filled.

Until then the account still holds the other side, and a broker would refuse the order, or worse,
take both for one. Only the gateway's own word that the first leg is filled whole lets the second
go; whatever else it says, or does not say in time, gives it up.
"""

from collections.abc import Mapping, Sequence

from attrs import define, field

from orchestrator_core.holding import RunHolder
from orchestrator_core.identifiers import Symbol
from orchestrator_core.lifecycle import OrderState
from orchestrator_core.model import OrderIntent, OrderReport, Side
from orchestrator_core.orders import FILLED, Order
from orchestrator_core.ports import Inquiry, LookUpKind
from orchestrator_core.tracking import has_ended

LEG_POLL_SECONDS = 0.1


@define
class SecondLegs:
    """One run's second legs, and what is known of the first ones."""

    holder: RunHolder
    _filled: set[Symbol] = field(factory=set, init=False)
    _until: dict[Side, float] = field(factory=dict, init=False)

    def waiting(self, wave: Sequence[OrderIntent]) -> list[OrderIntent]:
        """Return the second legs of a wave whose first ones are not known to have filled."""
        return [i for i in wave if i.leg > 0 and i.symbol not in self._filled]

    async def look(self, waiting: Sequence[OrderIntent]) -> list[tuple[OrderIntent, str]]:
        """Ask the gateway about the first legs once, or wait a moment.

        Returns:
            The second legs that will never go, each with why.
        """
        clock, policy = self.holder.ports.clock, self.holder.policy
        until = self._until.setdefault(waiting[0].side, clock.monotonic() + policy.leg_wait_seconds)
        firsts = self._first_legs()
        hopeless = [
            (intent, why) for intent in waiting if (why := _obstacle(firsts.get(intent.symbol)))
        ]
        given_up = {intent.client_order_id for intent, _ in hopeless}
        hopeful = [intent for intent in waiting if intent.client_order_id not in given_up]
        if not hopeful:
            return hopeless
        hopeless += await self._ask(hopeful, firsts)
        if hopeless or any(intent.symbol in self._filled for intent in hopeful):
            return hopeless
        if clock.monotonic() >= until:
            why = f"its first leg has not filled within {policy.leg_wait_seconds:g} s"
            return [(intent, why) for intent in hopeful]
        await clock.sleep(LEG_POLL_SECONDS)
        return []

    def _first_legs(self) -> dict[Symbol, Order]:
        """Return the first legs as they stand now."""
        return {
            order.intent.symbol: order
            for order in self.holder.book.orders.values()
            if order.intent is not None and order.intent.leg == 0
        }

    async def _ask(
        self, hopeful: Sequence[OrderIntent], firsts: Mapping[Symbol, Order]
    ) -> list[tuple[OrderIntent, str]]:
        asked = []
        for second in hopeful:
            stored = firsts.get(second.symbol)
            if stored is None or stored.intent is None:
                continue
            if not self._note(stored.intent, stored.report):
                asked.append((second, stored.intent, stored.report))
        inquiries = [Inquiry.about(first, report) for _, first, report in asked]
        looks = await self.holder.ports.sink.look_up(inquiries) if inquiries else ()
        hopeless = []
        for (second, first, _), look in zip(asked, looks, strict=True):
            if look.kind in {LookUpKind.REJECTED, LookUpKind.CONFLICT}:
                hopeless.append((second, f"its first leg is {look.kind} at the gateway"))
            elif (
                look.report is not None
                and not self._note(first, look.report)
                and has_ended(look.report.status)
            ):
                hopeless.append((second, f"its first leg ended as {look.report.status}"))
        return hopeless

    def _note(self, first: OrderIntent, report: OrderReport | None) -> bool:
        """Note a word on a first leg; say whether it is filled whole."""
        if report is None or report.status != FILLED or report.filled_qty != first.qty:
            return False
        self._filled.add(first.symbol)
        return True


def _obstacle(first: Order | None) -> str | None:
    """Say why a first leg will not fill for this run, or return None."""
    if first is None or first.owner is not None:
        return "its first leg is another run's order"
    if first.state is not OrderState.ACCEPTED:
        return f"its first leg is {first.state}"
    return None
