"""The shared half of the kill switch, in memory."""

from collections import deque
from collections.abc import Sequence

from attrs import define, field

from orchestrator_adapters import kill_switch_changes as changes
from orchestrator_adapters.shared_keys import HISTORY_KEPT, decode_entry, decode_state
from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    HistoryEntry,
    KillSwitchState,
)
from orchestrator_core.ports import SwitchChange


@define
class MemoryKillSwitch:
    """Holds the same text as every other store; nothing suspends, so each change is atomic."""

    _text: str | None = None
    _state: KillSwitchState | None = field(default=None, init=False)
    _entries: deque[str] = field(factory=lambda: deque(maxlen=HISTORY_KEPT), init=False)

    async def read(self) -> KillSwitchState | None:
        if self._state is None and self._text is not None:
            self._state = decode_state(self._text)
        return self._state

    async def engage(self, engagement: Engagement, *, latch_epoch: int | None) -> SwitchChange:
        return self._apply(changes.engage(self._text, engagement, latch_epoch=latch_epoch))

    async def disengage(
        self, disengagement: Disengagement, *, latch_epoch: int, only_create: bool = False
    ) -> SwitchChange:
        return self._apply(
            changes.disengage(
                self._text, disengagement, latch_epoch=latch_epoch, only_create=only_create
            )
        )

    async def stamp(self, expected: KillSwitchState, *, latch_epoch: int) -> bool:
        return self._apply(changes.stamp(self._text, expected, latch_epoch=latch_epoch)).changed

    async def history(self, *, limit: int) -> Sequence[HistoryEntry]:
        newest_first = [decode_entry(entry) for entry in reversed(self._entries)]
        return tuple(newest_first[: max(limit, 0)])

    async def check(self) -> None:
        return

    def put_text(self, text: str | None) -> None:
        """Let `text` stand there, as another service would write it; None deletes it."""
        self._text, self._state = text, None

    def get_text(self) -> str | None:
        """Return what stands there."""
        return self._text

    def _apply(self, change: changes.Change) -> SwitchChange:
        if change.text is not None:
            self.put_text(change.text)
        if change.entry is not None:
            self._entries.append(change.entry)
        return change.answer
