"""Whether the Execution Gateway keeps our order ids: what is known of it, and on whose word.

A gateway that answers under ids of its own (id-blind) takes the same order twice, and finds none by
our id. Until its answers show whose ids it keeps, orders go one by one, unless the run database
says that it kept ours before. That word is of another time, perhaps of another gateway: it lets
orders go together, and no more. The first answer under another id ends that for good, and that the
gateway has no record of an order counts only where this process saw it keep an id of ours.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum

from attrs import define, evolve, field

from orchestrator_adapters.http.looks import Look, id_at_gateway
from orchestrator_core.errors import PortError
from orchestrator_core.ports import Inquiry, LookUp, LookUpKind, SubmitOutcome

# Spent at most on asking the run database, of the time that a wave has.
RECALL_SECONDS = 1.0

LatestOrder = Callable[[], Awaitable[Inquiry | None]]

logger = logging.getLogger(__name__)


class KeptIds(Enum):
    """Whose order ids the gateway answers under.

    UNSEEN: nobody knows. EXPECTED: ours, as far as the run database remembers. OURS and THEIRS: so
    it answered this process.
    """

    UNSEEN = "unseen"
    EXPECTED = "expected"
    OURS = "ours"
    THEIRS = "theirs"


@define(eq=False)
class IdKeeping:
    """What is known of one gateway.

    Attributes:
        latest: Reads the latest order that the gateway is stored to have acknowledged, with the id
            that it answered under; None where nothing is remembered, and the gateway is taken at
            its word.
        word: What is known.
    """

    latest: LatestOrder | None = None
    word: KeptIds = field(default=KeptIds.UNSEEN, init=False)

    @property
    def lets_go_together(self) -> bool:
        """Whether more than one order may be on the wire."""
        return self.word in {KeptIds.EXPECTED, KeptIds.OURS}

    async def recall(self, *, seconds: float) -> Inquiry | None:
        """Ask the run database; return the latest order if it is stored under our id.

        Raises nothing: who cannot be asked has told nothing.

        Args:
            seconds: How long the answer may take at most.
        """
        if self.latest is None:
            return None
        try:
            async with asyncio.timeout(min(seconds, RECALL_SECONDS)):
                order = await self.latest()
        except (PortError, TimeoutError):
            return None
        if order is None or id_at_gateway(order) != order.intent.client_order_id:
            return None
        if self.word is KeptIds.UNSEEN:
            self.word = KeptIds.EXPECTED
        return order

    def learn_of_answer(self, outcome: SubmitOutcome) -> None:
        """Take in whose id an order was acknowledged under."""
        if outcome.report is None or self.word is KeptIds.THEIRS:
            return
        keeps = outcome.report.gateway_order_id == outcome.client_order_id
        self.word = KeptIds.OURS if keeps else KeptIds.THEIRS
        if not keeps:
            logger.warning("the gateway ignores our order ids: one order at a time from now on")

    def learn_of_looks(self, looks: Iterable[Look]) -> None:
        """Take in whose ids the gateway has orders on record under."""
        if self.word is not KeptIds.THEIRS and any(look.keeps_our_id for look in looks):
            self.word = KeptIds.OURS

    def doubts(self, looks: Iterable[Look]) -> bool:
        """Whether an order is said to be absent at a gateway that was not seen to keep our ids."""
        if self.latest is None or self.word is KeptIds.OURS:
            return False
        return any(look.answer.kind is LookUpKind.ABSENT for look in looks)

    def weigh(self, look: Look) -> LookUp:
        """Return what a look proves: a gateway that may be id-blind proves no absence."""
        if not self.doubts([look]):
            return look.answer
        cause = f"{look.answer.cause}, at a gateway that was not seen to keep our ids"
        return evolve(look.answer, kind=LookUpKind.UNCLEAR, cause=cause)
