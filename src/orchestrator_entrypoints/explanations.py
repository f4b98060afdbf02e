"""Explaining a stored run to whoever asked for it, as far as that can be done."""

import asyncio
from collections.abc import Mapping

from attrs import field, frozen

from orchestrator_core.errors import PortError
from orchestrator_core.explaining import Waterfall, explain_record
from orchestrator_core.identifiers import RunId, Symbol
from orchestrator_core.ports import RunRepository
from orchestrator_core.replay import UnreadableRecord

LOOK_SECONDS = 2.0


@frozen
class Explained:
    """What explains a run's decisions.

    Attributes:
        waterfalls: Each order's steps, by symbol and leg; none where it cannot be explained.
        trouble: Why it cannot be, in words that end a sentence.
    """

    waterfalls: Mapping[tuple[Symbol, int], Waterfall] = field(factory=dict, hash=False)
    trouble: str | None = None


async def explain_run(
    runs: RunRepository, run_id: RunId, *, seconds: float = LOOK_SECONDS
) -> Explained:
    """Return what explains a stored run.

    Never raises for want of an explanation: what is known of the run matters more. Nor does it wait
    for one longer than the seconds given.
    """
    try:
        async with asyncio.timeout(seconds):
            record = await runs.get_record(run_id)
    except (PortError, TimeoutError):
        return Explained(trouble="the run database did not answer")
    if record is None:
        return Explained(trouble="nothing is stored that it was decided from")
    try:
        return Explained(explain_record(record))
    except UnreadableRecord as error:
        return Explained(trouble=f"its stored record is no good: {error}")
