"""A batch of calls about orders: a few on the wire at once, and none in vain.

Politeness is decided here. Once the gateway asks to be left alone, cannot be reached, or has let as
many calls end in nothing as may be on the wire at once, the rest of the batch is not sent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from attrs import define, field, frozen

from orchestrator_adapters.http.client import Reply
from orchestrator_adapters.http.failures import CallFailed, Fate
from orchestrator_adapters.http.replies import PACED, cause_of
from orchestrator_core.ports import Inquiry

# Calls on the wire at once, for looks and for cancels each.
CALLS_AT_ONCE = 8

logger = logging.getLogger(__name__)


@frozen
class NotAsked:
    """A call that was not made, since one before it showed that it would be in vain.

    Attributes:
        retry_after: Seconds that the gateway wants to be left alone.
    """

    cause: str
    retry_after: float | None = None


Heard = Reply | CallFailed | NotAsked
Ask = Callable[[Inquiry], Awaitable[Reply]]


async def ask_all(
    inquiries: Sequence[Inquiry], ask: Ask, turnstile: asyncio.Semaphore
) -> list[Heard]:
    """Return what was heard of each inquiry, in order. Raises nothing.

    Args:
        inquiries: Asked about from the first on.
        ask: Makes one call; raises `CallFailed`.
        turnstile: Bounds the calls on the wire, of all batches together.
    """
    batch = _Batch(ask, turnstile)
    results = await asyncio.gather(*map(batch.ask_in_turn, inquiries), return_exceptions=True)
    # A call that failed as calls do is an answer too, though its class is an exception's.
    return [
        result if isinstance(result, Reply | CallFailed | NotAsked) else _unforeseen(result)
        for result in results
    ]


@define
class _Batch:
    """Calls that belong together, and what makes further ones vain.

    Attributes:
        obstacle: What the calls not yet made are told; None while they may be made.
        lost: Calls that ended in nothing.
    """

    ask: Ask
    turnstile: asyncio.Semaphore
    obstacle: NotAsked | None = field(default=None, init=False)
    lost: int = field(default=0, init=False)

    async def ask_in_turn(self, inquiry: Inquiry) -> Heard:
        async with self.turnstile:
            if self.obstacle is not None:
                return self.obstacle
            try:
                heard: Reply | CallFailed = await self.ask(inquiry)
            except CallFailed as failure:
                heard = failure
            self._note(heard)
            return heard

    def _note(self, heard: Reply | CallFailed) -> None:
        if isinstance(heard, Reply):
            if heard.status == PACED:
                cause = f"not asked, after: {cause_of(heard)}"
                self.obstacle = NotAsked(cause, heard.retry_after)
            return
        self.lost += heard.fate is Fate.LOST
        if heard.fate is Fate.NOT_SENT or self.lost >= CALLS_AT_ONCE:
            self.obstacle = NotAsked(f"not asked, after: {heard.cause}")


def _unforeseen(error: BaseException) -> CallFailed:
    logger.error("a call about an order failed unforeseen", exc_info=error)
    return CallFailed(f"unforeseen {type(error).__name__}", Fate.LOST)
