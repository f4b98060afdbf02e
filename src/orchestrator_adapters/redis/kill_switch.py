"""The shared half of the kill switch, in Redis.

Theory of operation. A change reads the state, decides in Python what it comes to, and puts the new
text by a script that first compares the old text byte for byte; where another writer was faster,
the decision is made again over what it left. Lua's own JSON does not decide: it turns an empty list
into an empty object and rounds large numbers, so that fields of others would not be kept.

Reading goes through a script too, one that also writes: a plain GET is answered by a demoted
replica, from an old copy that may say ACTIVE.
"""

from collections.abc import Sequence
from typing import Any

from attrs import define, field, frozen

from orchestrator_adapters import kill_switch_changes as changes
from orchestrator_adapters.redis.client import RedisClient, Script, load_script
from orchestrator_adapters.shared_keys import (
    HISTORY_KEPT,
    KILL_SWITCH_HISTORY,
    KILL_SWITCH_STATE,
    decode_entry,
    decode_state,
)
from orchestrator_core.errors import MalformedReply, Unavailable
from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    HistoryEntry,
    KillSwitchState,
)
from orchestrator_core.ports import SwitchChange

PORT = "kill_switch"
NEVER_SET = "kill_switch:orchestrator_write_probe"
MAX_TRIES = 16


@frozen
class _Found:
    """What stands under the state's key: its Redis type, and its text where it is a string."""

    kind: bytes
    text: bytes

    @classmethod
    def of_reply(cls, reply: Sequence[Any]) -> "_Found":
        kind, text = reply
        return cls(kind, text)

    @property
    def document(self) -> bytes | None:
        """The text to decide over: None where nothing stands, no JSON where no string does."""
        return None if self.kind == b"none" else self.text


@define(eq=False)
class RedisKillSwitch:
    """The state that is shared with other services; see the module."""

    client: RedisClient
    _read_state: Script = field(factory=lambda: load_script("read_state.lua"), init=False)
    _swap_state: Script = field(factory=lambda: load_script("swap_state.lua"), init=False)

    async def read(self) -> KillSwitchState | None:
        found = await self._find("read")
        if found.kind not in {b"none", b"string"}:
            cause = f"{KILL_SWITCH_STATE}: holds a {found.kind.decode()}, expected a string"
            raise MalformedReply(PORT, "read", cause)
        return None if found.document is None else decode_state(found.document)

    async def engage(self, engagement: Engagement, *, latch_epoch: int | None) -> SwitchChange:
        return await self._change(
            "engage", lambda found: changes.engage(found, engagement, latch_epoch=latch_epoch)
        )

    async def disengage(
        self, disengagement: Disengagement, *, latch_epoch: int, only_create: bool = False
    ) -> SwitchChange:
        return await self._change(
            "disengage",
            lambda found: changes.disengage(
                found, disengagement, latch_epoch=latch_epoch, only_create=only_create
            ),
        )

    async def stamp(self, expected: KillSwitchState, *, latch_epoch: int) -> bool:
        answer = await self._change(
            "stamp", lambda found: changes.stamp(found, expected, latch_epoch=latch_epoch)
        )
        return answer.changed

    async def history(self, *, limit: int) -> Sequence[HistoryEntry]:
        if limit < 1:
            return ()
        lines = await self.client.read(PORT, "history", "LRANGE", KILL_SWITCH_HISTORY, -limit, -1)
        return tuple(decode_entry(line) for line in reversed(lines))

    async def check(self) -> None:
        await self.client.read(PORT, "check", "PING")

    async def _find(self, operation: str) -> _Found:
        reply = await self.client.read_script(
            PORT, operation, self._read_state, KILL_SWITCH_STATE, NEVER_SET, keys=2
        )
        return _Found.of_reply(reply)

    async def _change(self, operation: str, decide: changes.Decide) -> SwitchChange:
        found = await self._find(operation)
        for _ in range(MAX_TRIES):
            change = decide(found.document)
            if change.text is None:
                return change.answer
            reply = await self.client.write_script(
                PORT,
                operation,
                self._swap_state,
                KILL_SWITCH_STATE,
                KILL_SWITCH_HISTORY,
                found.kind,
                found.text,
                change.text,
                change.entry or "",
                HISTORY_KEPT,
                keys=2,
            )
            if reply[0] == 1:
                return change.answer
            found = _Found.of_reply(reply[1:])
        raise Unavailable(PORT, operation, "the state keeps changing under us")
