from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_adapters.http.retries import RetryPolicy, parse_retry_after

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
POLICY = RetryPolicy(attempts=4, first_seconds=0.1, longest_seconds=0.3)


@pytest.mark.parametrize(
    ("tries", "jitter", "pause"),
    [(1, 1.0, 0.1), (2, 1.0, 0.2), (3, 1.0, 0.3), (3, 0.5, 0.15), (1, 0.0, 0.0), (4, 1.0, None)],
)
def test_pauses_double_up_to_the_longest_and_end_with_the_attempts(
    tries: int, jitter: float, pause: float | None
) -> None:
    got = POLICY.pause_after(tries, jitter=jitter, retry_after=None, seconds_left=9.0)
    assert got == (None if pause is None else pytest.approx(pause))


@pytest.mark.parametrize(
    ("retry_after", "seconds_left", "pause"),
    [(1.5, 9.0, 1.5), (0.0, 9.0, 0.0), (9.0, 9.0, None), (30.0, 9.0, None)],
)
def test_what_the_peer_asks_for_is_kept_whole_or_the_read_given_up(
    retry_after: float, seconds_left: float, pause: float | None
) -> None:
    got = POLICY.pause_after(1, jitter=1.0, retry_after=retry_after, seconds_left=seconds_left)
    assert got == pause


@given(
    tries=st.integers(1, 100),
    jitter=st.floats(0, 1),
    retry_after=st.none() | st.floats(0, 1e6),
    seconds_left=st.floats(-10, 100),
)
def test_a_pause_always_fits_into_the_time_left(
    tries: int, jitter: float, retry_after: float | None, seconds_left: float
) -> None:
    pause = POLICY.pause_after(
        tries, jitter=jitter, retry_after=retry_after, seconds_left=seconds_left
    )
    assert pause is None or 0 <= pause < seconds_left


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("120", 120.0),
        ("999999999999999999999", 86_400.0),
        ("Mon, 02 Mar 2026 15:00:30 GMT", 30.0),
        ("Mon, 02 Mar 2026 14:00:00 GMT", 0.0),
        ("Mon, 02 Mar 2026 16:00:30 +0100", 30.0),
        ("Mon, 02 Mar 2026 15:00:30 -0000", 30.0),
        ("Mon, 02 Mar 9999 15:00:30 GMT", 86_400.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("Mon, 99 Mar 2026 15:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, now=NOW) == seconds


@given(st.text(max_size=60))
def test_no_retry_after_raises(text: str) -> None:
    seconds = parse_retry_after(text, now=NOW)
    assert seconds is None or 0 <= seconds <= 86_400
