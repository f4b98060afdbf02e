import json
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator_adapters import kill_switch_changes as changes
from orchestrator_adapters.shared_closes import Close, decode_close, encode_close, references_in
from orchestrator_adapters.shared_keys import (
    decode_breaker,
    decode_entry,
    decode_price,
    decode_state,
    encode_entry,
    encode_price,
    parse_object,
    storable_details,
    utc_text,
)
from orchestrator_core.errors import MalformedReply
from orchestrator_core.identifiers import Symbol
from orchestrator_core.kill_switch import (
    Disengagement,
    Engagement,
    HistoryEntry,
    KillSwitchState,
    SwitchEvent,
    SwitchState,
)
from orchestrator_core.model import NoQuote, Quote
from orchestrator_core.ports import Breaker
from tests.unit.builders import NOW

AAPL = Symbol("AAPL")

any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    [
        *("state", "engaged_at", "engaged_by", "engagement_details", "engagement_count_today"),
        *("latch_epoch", "disengaged_by", "event", "timestamp", "operator", "reason", "details"),
        *("symbol", "mid", "close", "date", "trip_reason", "other"),
    ]
)
words = st.sampled_from(["ACTIVE", "ENGAGED", "OPEN", "TRIPPED", "DISENGAGED", "AAPL", "1.5"])
near_misses = st.dictionaries(names, words | any_json).map(json.dumps)
texts = st.text() | near_misses
anything = texts | st.binary() | texts.map(lambda text: text.encode("utf-8", "surrogatepass"))


@given(anything)
@example("[" * 100_000)
@example('{"a":1e999}')
@example('{"a":' + "9" * 5000 + "}")
@example('{"a":1e99999999999999999999}')
def test_any_text_is_a_known_value_or_a_refusal(text: str | bytes) -> None:
    for decode in (decode_state, decode_breaker, decode_entry):
        with suppress(MalformedReply):
            assert isinstance(decode(text), KillSwitchState | Breaker | HistoryEntry)
    assert isinstance(decode_price(AAPL, text, source="test"), Quote | NoQuote)
    references_in([(AAPL, text)], before=NOW.date())


@given(anything | st.none(), st.dictionaries(st.text(), any_json), st.text(), st.text())
def test_whatever_stands_there_a_change_leaves_a_state_that_reads_back(
    found: str | bytes | None, details: dict[str, object], operator: str, reason: str
) -> None:
    engagement = Engagement(operator, reason, NOW, details)
    engaged = changes.engage(found, engagement, latch_epoch=3)
    if engaged.text is not None:
        assert decode_state(engaged.text) == engaged.answer.state
        assert engaged.text.isascii()
    assert engaged.answer.state.state is SwitchState.ENGAGED
    released = changes.disengage(
        found, Disengagement(operator, NOW, reason), latch_epoch=2**20, only_create=False
    )
    assert released.text is None or decode_state(released.text) == released.answer.state
    for change in (engaged, released):
        assert (change.entry is not None) is change.answer.changed
        assert change.entry is None or decode_entry(change.entry).timestamp == utc_text(NOW)


@given(
    st.decimals(
        min_value="1e-30", max_value="1e15", allow_nan=False, allow_infinity=False, places=9
    ).filter(lambda price: price > 0),
    st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_a_price_reads_back_as_it_was_written(price: Decimal, as_of: datetime) -> None:
    quote = Quote(AAPL, price, as_of, source="test")
    assert decode_price(AAPL, encode_price(quote), source="test") == quote


@given(
    st.decimals(min_value="1e-9", max_value="1e15", places=9).filter(lambda price: price > 0),
    st.dates(),
)
def test_a_close_reads_back_as_it_was_written(price: Decimal, day: date) -> None:
    close = Close(AAPL, price, day)
    assert decode_close(AAPL, encode_close(close)) == close


@pytest.mark.parametrize(
    "entry",
    [
        HistoryEntry(SwitchEvent.ENGAGED, "t", "ann", reason="r", details={"a": [{}]}),
        HistoryEntry(SwitchEvent.DISENGAGED, "t", "bob", notes="n"),
        HistoryEntry(SwitchEvent.DISENGAGED, "t", "bob"),
    ],
)
def test_a_history_line_reads_back_as_it_was_written(entry: HistoryEntry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"event":"PAUSED","timestamp":"t","operator":"ann"}',
        '{"event":"ENGAGED","operator":"ann"}',
        '{"event":"ENGAGED","timestamp":"t"}',
        '{"event":"ENGAGED","timestamp":"t","operator":"ann","reason":1}',
        '{"event":"ENGAGED","timestamp":"t","operator":"ann","details":[]}',
    ],
)
def test_what_is_no_history_line_is_malformed(text: str) -> None:
    with pytest.raises(MalformedReply) as raised:
        decode_entry(text)
    assert (raised.value.port, raised.value.operation) == ("kill_switch", "history")


def test_a_time_is_written_in_utc_with_a_z() -> None:
    there = datetime(2026, 3, 2, 17, 0, tzinfo=timezone(timedelta(hours=2)))
    assert utc_text(there) == "2026-03-02T15:00:00.000000Z"


def test_numbers_are_read_exactly_where_asked() -> None:
    assert parse_object('{"a":0.1234567890123456789}', exact_numbers=True) == {
        "a": Decimal("0.1234567890123456789")
    }


def test_details_nested_too_deeply_are_left_out() -> None:
    details: dict[str, object] = {}
    for _ in range(100_000):
        details = {"a": details}
    assert storable_details(details) == {"omitted": "the details are not JSON"}
    while details:
        # Freed from the outside in: the interpreter's own way down would be as deep.
        details = details.pop("a")  # type: ignore[assignment]
