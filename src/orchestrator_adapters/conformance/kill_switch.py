"""What every shared half of a kill switch does."""

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import anyio
import pytest
from attrs import evolve

from orchestrator_core.errors import MalformedReply
from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    KillSwitchState,
    SwitchEvent,
    SwitchState,
)
from orchestrator_core.ports import KillSwitch

NOW = datetime(2026, 3, 2, 15, 0, 0, 250_000, tzinfo=UTC)
NOW_TEXT = "2026-03-02T15:00:00.250000Z"
FOREIGN_STATE = (
    '{"state":"ACTIVE","engaged_at":null,"engaged_by":null,"engagement_reason":null,'
    '"engagement_details":null,"disengaged_at":null,"disengaged_by":null,'
    '"disengagement_notes":null,"engagement_count_today":0}'
)
FOREIGN_FIELDS = (
    '"tags":[],"nested":{"list":[],"object":{},"none":null},"big":12345678901234567890,'
    '"fraction":0.1,"text":"\\u00e9\\ud83d\\ude00\\u0000\\\\","flag":false'
)
NO_STATES = [
    "",
    "ACTIVE",
    "null",
    "[]",
    '"ACTIVE"',
    "7",
    "{}",
    '{"state":"PAUSED"}',
    '{"state":"active"}',
    '{"state":null}',
    '{"state":true}',
    '{"state":"ACTIVE"',
    '{"state":"ACTIVE","state":"ENGAGED"}',
    '{"state":"ACTIVE","latch_epoch":"1"}',
    '{"state":"ACTIVE","latch_epoch":1.0}',
    '{"state":"ACTIVE","latch_epoch":-1}',
    '{"state":"ACTIVE","latch_epoch":true}',
    '{"state":"ACTIVE","latch_epoch":99999999999999999999}',
    '{"state":"ACTIVE","engagement_count_today":"1"}',
    '{"state":"ACTIVE","engagement_count_today":null}',
    '{"state":"ACTIVE","engaged_by":7}',
    '{"state":"ACTIVE","disengaged_by":false}',
    '{"state":"ACTIVE","engagement_details":"none"}',
    '{"state":"ACTIVE","other":NaN}',
    "[" * 100_000,
]

Answer = TypeVar("Answer")


class KillSwitchStage(Protocol):
    """The world around a kill switch."""

    @property
    def switch(self) -> KillSwitch:
        """The adapter under test, with no state and no history standing."""
        ...

    @property
    def another(self) -> KillSwitch:
        """A second adapter on the same store, as another replica has; may be the same."""
        ...

    async def put_text(self, text: str | None) -> None:
        """Let `text` stand there, as another service writes it; None deletes it."""
        ...

    async def get_text(self) -> str | None:
        """Return what stands there."""
        ...


def an_engagement(
    operator: str = "ann",
    reason: str = "drawdown",
    *,
    at: datetime = NOW,
    details: dict[str, Any] | None = None,
) -> Engagement:
    """Return an engagement."""
    return Engagement(operator=operator, reason=reason, at=at, details=details)


def a_disengagement(
    operator: str = "bob", *, notes: str | None = "all clear", at: datetime = NOW
) -> Disengagement:
    """Return a disengagement."""
    return Disengagement(operator=operator, at=at, notes=notes)


async def all_at_once(calls: Sequence[Callable[[], Awaitable[Answer]]]) -> list[Answer]:
    """Make every call at once; return the answers in the order of the calls."""
    answers: dict[int, Answer] = {}

    async def make(number: int) -> None:
        answers[number] = await calls[number]()

    async with anyio.create_task_group() as group:
        for number in range(len(calls)):
            group.start_soon(make, number)
    return [answers[number] for number in range(len(calls))]


class KillSwitchConformance:
    """Subclass it, and override `stage`."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def stage(self) -> KillSwitchStage:
        raise NotImplementedError("override this fixture: give a fresh stage")

    # Reading

    async def test_a_store_that_answers_passes_its_check(self, stage: KillSwitchStage) -> None:
        await stage.switch.check()

    async def test_a_missing_state_is_absent(self, stage: KillSwitchStage) -> None:
        assert await stage.switch.read() is None
        assert list(await stage.switch.history(limit=10)) == []

    async def test_a_state_of_another_service_is_read(self, stage: KillSwitchStage) -> None:
        await stage.put_text(FOREIGN_STATE)
        assert await stage.switch.read() == KillSwitchState(SwitchState.ACTIVE)

    async def test_reading_changes_nothing(self, stage: KillSwitchStage) -> None:
        await stage.put_text(FOREIGN_STATE)
        await stage.switch.read()
        assert await stage.get_text() == FOREIGN_STATE

    async def test_a_deleted_state_is_absent_again(self, stage: KillSwitchStage) -> None:
        await stage.switch.engage(an_engagement(), latch_epoch=1)
        await stage.put_text(None)
        assert await stage.switch.read() is None

    @pytest.mark.parametrize("text", NO_STATES)
    async def test_what_is_no_state_is_malformed(self, stage: KillSwitchStage, text: str) -> None:
        await stage.put_text(text)
        with pytest.raises(MalformedReply) as raised:
            await stage.switch.read()
        assert (raised.value.port, raised.value.operation) == ("kill_switch", "read")
        assert "\n" not in raised.value.cause

    # Engaging

    async def test_engaging_says_who_why_and_when(self, stage: KillSwitchStage) -> None:
        details = {"drawdown": 0.12, "empty": [], "nested": {"list": [1, {}]}, "none": None}
        change = await stage.switch.engage(an_engagement(details=details), latch_epoch=3)
        assert change.changed
        assert change.state == KillSwitchState(
            state=SwitchState.ENGAGED,
            engaged_at=NOW_TEXT,
            engaged_by="ann",
            engagement_reason="drawdown",
            engagement_details=details,
            engagement_count_today=1,
            latch_epoch=3,
        )
        assert await stage.switch.read() == change.state
        assert await stage.another.read() == change.state

    async def test_what_is_written_has_every_field_of_the_contract(
        self, stage: KillSwitchStage
    ) -> None:
        await stage.switch.engage(an_engagement(), latch_epoch=3)
        text = await stage.get_text()
        assert text is not None
        assert text.isascii()
        assert json.loads(text) == {
            "state": "ENGAGED",
            "engaged_at": NOW_TEXT,
            "engaged_by": "ann",
            "engagement_reason": "drawdown",
            "engagement_details": None,
            "disengaged_at": None,
            "disengaged_by": None,
            "disengagement_notes": None,
            "engagement_count_today": 1,
            "latch_epoch": 3,
        }

    @pytest.mark.parametrize("text", [None, *NO_STATES])
    async def test_engaging_works_whatever_stands_there(
        self, stage: KillSwitchStage, text: str | None
    ) -> None:
        await stage.put_text(text)
        change = await stage.switch.engage(an_engagement(), latch_epoch=2)
        assert change.changed
        assert await stage.switch.read() == change.state
        assert change.state.state is SwitchState.ENGAGED

    async def test_a_second_engage_keeps_who_engaged_and_why(self, stage: KillSwitchStage) -> None:
        first = await stage.switch.engage(an_engagement("ann", "drawdown"), latch_epoch=2)
        second = await stage.switch.engage(an_engagement("bob", "other"), latch_epoch=2)
        assert not second.changed
        assert second.state == first.state
        assert await stage.switch.read() == first.state
        assert len(await stage.switch.history(limit=10)) == 1

    @pytest.mark.parametrize(
        ("own", "given", "after"), [(2, 5, 5), (5, 2, 5), (5, None, 5), (None, 5, 5)]
    )
    async def test_engaging_again_raises_the_epoch_and_never_lowers_it(
        self, stage: KillSwitchStage, own: int | None, given: int | None, after: int
    ) -> None:
        before = await stage.switch.engage(an_engagement("ann"), latch_epoch=own)
        change = await stage.switch.engage(an_engagement("bob"), latch_epoch=given)
        assert change.state == evolve(before.state, latch_epoch=after)
        assert not change.changed
        assert await stage.switch.read() == change.state

    async def test_engaging_an_active_state_keeps_the_larger_epoch(
        self, stage: KillSwitchStage
    ) -> None:
        await stage.switch.disengage(a_disengagement(), latch_epoch=7)
        change = await stage.switch.engage(an_engagement(), latch_epoch=3)
        assert change.state.latch_epoch == 7

    async def test_engaging_without_an_epoch_leaves_it_unknown(
        self, stage: KillSwitchStage
    ) -> None:
        await stage.put_text(FOREIGN_STATE)
        change = await stage.switch.engage(an_engagement(), latch_epoch=None)
        assert change.state.latch_epoch is None
        assert await stage.switch.read() == change.state

    @pytest.mark.parametrize(
        "details",
        [{1: "a", "1": "b"}, {"x": float("nan")}, {"x": object()}, {"x": "y" * 100_000}],
    )
    async def test_details_that_cannot_be_kept_do_not_stop_an_engage(
        self, stage: KillSwitchStage, details: dict[str, Any]
    ) -> None:
        change = await stage.switch.engage(an_engagement(details=details), latch_epoch=1)
        assert change.changed
        assert change.state.engagement_details is not None
        assert set(change.state.engagement_details) == {"omitted"}
        assert await stage.switch.read() == change.state

    @pytest.mark.parametrize("text", ['é 😀 \u0000 \\ " \n', "half a pair \ud800"])
    async def test_any_text_can_be_the_reason(self, stage: KillSwitchStage, text: str) -> None:
        change = await stage.switch.engage(
            an_engagement(text, text, details={"text": text}), latch_epoch=1
        )
        kept = text.replace("\ud800", "?")
        assert change.state.engagement_reason == kept
        assert change.state.engagement_details == {"text": kept}
        assert await stage.switch.read() == change.state
        entry = (await stage.switch.history(limit=1))[0]
        assert (entry.operator, entry.reason, entry.details) == (kept, kept, {"text": kept})

    # Counting

    async def test_engagements_of_a_day_are_counted(self, stage: KillSwitchStage) -> None:
        counts = []
        for number in range(3):
            at = NOW + timedelta(minutes=number)
            change = await stage.switch.engage(an_engagement(at=at), latch_epoch=number)
            counts.append(change.state.engagement_count_today)
            await stage.switch.disengage(a_disengagement(at=at), latch_epoch=number)
        assert counts == [1, 2, 3]

    async def test_the_count_begins_anew_with_the_day_in_utc(self, stage: KillSwitchStage) -> None:
        late = datetime(2026, 3, 2, 23, 59, 59, tzinfo=UTC)
        await stage.switch.engage(an_engagement(at=late), latch_epoch=1)
        await stage.switch.disengage(a_disengagement(at=late), latch_epoch=1)
        after = late + timedelta(seconds=2)
        change = await stage.switch.engage(an_engagement(at=after), latch_epoch=2)
        assert change.state.engagement_count_today == 1

    # Disengaging

    async def test_disengaging_says_who_and_when_and_keeps_what_was_engaged(
        self, stage: KillSwitchStage
    ) -> None:
        engaged = await stage.switch.engage(an_engagement(details={"a": 1}), latch_epoch=2)
        change = await stage.switch.disengage(a_disengagement(), latch_epoch=2)
        assert change.changed
        assert change.state == evolve(
            engaged.state,
            state=SwitchState.ACTIVE,
            disengaged_at=NOW_TEXT,
            disengaged_by="bob",
            disengagement_notes="all clear",
        )
        assert await stage.another.read() == change.state

    async def test_engaging_clears_who_disengaged_before(self, stage: KillSwitchStage) -> None:
        await stage.switch.disengage(a_disengagement(), latch_epoch=1)
        change = await stage.switch.engage(an_engagement(), latch_epoch=2)
        assert change.state.disengaged_at is None
        assert change.state.disengaged_by is None
        assert change.state.disengagement_notes is None

    @pytest.mark.parametrize("text", [None, *NO_STATES, FOREIGN_STATE])
    async def test_disengaging_works_whatever_stands_there(
        self, stage: KillSwitchStage, text: str | None
    ) -> None:
        await stage.put_text(text)
        change = await stage.switch.disengage(a_disengagement(), latch_epoch=4)
        assert change.changed
        assert change.state.state is SwitchState.ACTIVE
        assert (change.state.latch_epoch, change.state.disengaged_by) == (4, "bob")
        assert await stage.switch.read() == change.state

    async def test_disengaging_what_stands_active_at_that_epoch_changes_nothing(
        self, stage: KillSwitchStage
    ) -> None:
        first = await stage.switch.disengage(a_disengagement("ann"), latch_epoch=4)
        second = await stage.switch.disengage(a_disengagement("bob"), latch_epoch=4)
        assert not second.changed
        assert second.state == first.state
        assert len(await stage.switch.history(limit=10)) == 1

    @pytest.mark.parametrize("is_engaged", [True, False])
    async def test_disengaging_leaves_a_state_of_a_later_epoch(
        self, stage: KillSwitchStage, *, is_engaged: bool
    ) -> None:
        if is_engaged:
            before = await stage.switch.engage(an_engagement(), latch_epoch=5)
        else:
            before = await stage.switch.disengage(a_disengagement("ann"), latch_epoch=5)
        change = await stage.switch.disengage(a_disengagement("bob"), latch_epoch=4)
        assert not change.changed
        assert change.state == before.state
        assert await stage.switch.read() == before.state

    async def test_creating_only_leaves_an_engaged_state(self, stage: KillSwitchStage) -> None:
        before = await stage.switch.engage(an_engagement(), latch_epoch=2)
        change = await stage.switch.disengage(a_disengagement(), latch_epoch=2, only_create=True)
        assert (change.changed, change.state) == (False, before.state)

    @pytest.mark.parametrize("text", [None, "garbage", FOREIGN_STATE])
    async def test_creating_only_replaces_what_is_not_engaged(
        self, stage: KillSwitchStage, text: str | None
    ) -> None:
        await stage.put_text(text)
        change = await stage.switch.disengage(a_disengagement(), latch_epoch=2, only_create=True)
        assert change.changed
        assert await stage.switch.read() == change.state

    # Fields of others

    async def test_fields_of_other_services_are_kept_exactly(self, stage: KillSwitchStage) -> None:
        await stage.put_text(FOREIGN_STATE[:-1] + "," + FOREIGN_FIELDS + "}")
        change = await stage.switch.engage(an_engagement(), latch_epoch=1)
        await stage.switch.stamp(change.state, latch_epoch=2)
        await stage.switch.disengage(a_disengagement(), latch_epoch=2)
        text = await stage.get_text()
        assert text is not None
        foreign = json.loads("{" + FOREIGN_FIELDS + "}")
        kept = json.loads(text)
        assert {name: kept[name] for name in foreign} == foreign
        assert [type(kept[name]) for name in foreign] == [type(v) for v in foreign.values()]

    async def test_fields_of_others_survive_a_state_that_is_none(
        self, stage: KillSwitchStage
    ) -> None:
        await stage.put_text('{"state":"PAUSED","engaged_by":7,"owner":"risk"}')
        await stage.switch.engage(an_engagement(), latch_epoch=1)
        text = await stage.get_text()
        assert text is not None
        assert json.loads(text)["owner"] == "risk"

    # Stamping

    async def test_stamping_changes_the_epoch_alone(self, stage: KillSwitchStage) -> None:
        await stage.put_text(FOREIGN_STATE)
        before = await stage.switch.read()
        assert before is not None
        assert await stage.switch.stamp(before, latch_epoch=9)
        assert await stage.switch.read() == evolve(before, latch_epoch=9)
        assert list(await stage.switch.history(limit=10)) == []

    async def test_stamping_finds_its_own_work_done(self, stage: KillSwitchStage) -> None:
        await stage.put_text(FOREIGN_STATE)
        before = await stage.switch.read()
        assert before is not None
        assert await stage.switch.stamp(before, latch_epoch=9)
        assert await stage.switch.stamp(before, latch_epoch=9)

    async def test_stamping_what_changed_meanwhile_changes_nothing(
        self, stage: KillSwitchStage
    ) -> None:
        await stage.put_text(FOREIGN_STATE)
        before = await stage.switch.read()
        assert before is not None
        after = await stage.switch.engage(an_engagement(), latch_epoch=2)
        assert not await stage.switch.stamp(before, latch_epoch=9)
        assert await stage.switch.read() == after.state

    @pytest.mark.parametrize("text", [None, "garbage"])
    async def test_stamping_what_is_gone_or_no_state_changes_nothing(
        self, stage: KillSwitchStage, text: str | None
    ) -> None:
        await stage.put_text(text)
        assert not await stage.switch.stamp(KillSwitchState(SwitchState.ACTIVE), latch_epoch=1)
        assert await stage.get_text() == text

    # History

    async def test_the_history_holds_each_change_newest_first(self, stage: KillSwitchStage) -> None:
        await stage.switch.engage(an_engagement(details={"a": []}), latch_epoch=2)
        await stage.switch.disengage(a_disengagement(), latch_epoch=2)
        await stage.switch.engage(an_engagement("cat", "again"), latch_epoch=3)
        newest, middle, oldest = await stage.another.history(limit=10)
        assert (newest.event, newest.operator) == (SwitchEvent.ENGAGED, "cat")
        assert (middle.event, middle.operator) == (SwitchEvent.DISENGAGED, "bob")
        assert (middle.notes, middle.reason, middle.timestamp) == ("all clear", None, NOW_TEXT)
        assert (oldest.event, oldest.reason, oldest.notes) == (
            SwitchEvent.ENGAGED,
            "drawdown",
            None,
        )
        assert oldest.details == {"a": []}

    async def test_the_history_gives_no_more_than_asked_for(self, stage: KillSwitchStage) -> None:
        for epoch in range(4):
            await stage.switch.engage(an_engagement(f"e{epoch}"), latch_epoch=epoch)
            await stage.switch.disengage(a_disengagement(f"d{epoch}"), latch_epoch=epoch)
        assert [entry.operator for entry in await stage.switch.history(limit=3)] == [
            "d3",
            "e3",
            "d2",
        ]
        assert len(await stage.switch.history(limit=100)) == 8
        assert list(await stage.switch.history(limit=0)) == []
        assert list(await stage.switch.history(limit=-1)) == []

    async def test_the_history_keeps_the_last_thousand(self, stage: KillSwitchStage) -> None:
        for epoch in range(502):
            await stage.switch.engage(an_engagement(f"e{epoch}"), latch_epoch=epoch)
            await stage.switch.disengage(a_disengagement(f"d{epoch}"), latch_epoch=epoch)
        kept = await stage.switch.history(limit=2000)
        assert len(kept) == 1000
        assert (kept[0].operator, kept[-1].operator) == ("d501", "e2")

    # At once

    async def test_of_two_engages_at_once_one_changes_and_the_other_is_told(
        self, stage: KillSwitchStage
    ) -> None:
        await stage.put_text(FOREIGN_STATE)
        changes = await all_at_once(
            [
                lambda: stage.switch.engage(an_engagement("ann"), latch_epoch=2),
                lambda: stage.another.engage(an_engagement("bob"), latch_epoch=3),
            ]
        )
        assert sorted(change.changed for change in changes) == [False, True]
        assert len({change.state.engaged_by for change in changes}) == 1
        state = await stage.switch.read()
        assert state is not None
        assert state.latch_epoch == 3
        assert state.engagement_count_today == 1
        assert len(await stage.switch.history(limit=10)) == 1

    async def test_many_changes_at_once_are_each_made_whole(self, stage: KillSwitchStage) -> None:
        calls = [
            call
            for number in range(6)
            for call in (
                lambda n=number: stage.switch.engage(an_engagement(f"e{n}"), latch_epoch=1),
                lambda n=number: stage.another.disengage(a_disengagement(f"d{n}"), latch_epoch=1),
            )
        ]
        changes = await all_at_once(calls)
        history = await stage.switch.history(limit=100)
        assert len(history) == sum(change.changed for change in changes)
        events = [entry.event for entry in history]
        assert all(first is not second for first, second in pairwise(events))
        state = await stage.switch.read()
        assert state is not None
        last = SwitchState.ENGAGED if events[0] is SwitchEvent.ENGAGED else SwitchState.ACTIVE
        assert state.state is last

    async def test_of_two_stamps_at_once_one_wins(self, stage: KillSwitchStage) -> None:
        await stage.put_text(FOREIGN_STATE)
        before = await stage.switch.read()
        assert before is not None
        won = await all_at_once(
            [
                lambda: stage.switch.stamp(before, latch_epoch=2),
                lambda: stage.another.stamp(before, latch_epoch=3),
            ]
        )
        assert sorted(won) == [False, True]
        state = await stage.switch.read()
        assert state == evolve(before, latch_epoch=3 if won[1] else 2)
