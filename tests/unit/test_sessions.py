"""The exchange's calendar, held to days that were, and to the time zone database."""

from datetime import UTC, date, datetime, time, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.sessions import (
    CLOSED_FOR_ONCE,
    Session,
    holidays,
    is_open,
    next_opening,
    session_of,
)

NEW_YORK = ZoneInfo("America/New_York")
SECOND = timedelta(seconds=1)


def traded_days() -> list[date]:
    """Days of three years that have closing prices, the pandemic's first among them."""
    text = (
        files("orchestrator_entrypoints.data") / "us-large-caps-daily-2020-2022.csv"
    ).read_text()
    return [date.fromisoformat(line.partition(",")[0]) for line in text.splitlines()[1:]]


def test_the_days_with_a_session_are_those_with_prices() -> None:
    traded = traded_days()
    span = range((traded[-1] - traded[0]).days + 1)
    days = [traded[0] + timedelta(days=n) for n in span]
    assert len(traded) > 700
    assert [day for day in days if session_of(day) is not None] == traded


# As the exchange published them.
HOLIDAYS = {
    2013: "01-01 01-21 02-18 03-29 05-27 07-04 09-02 11-28 12-25",
    2018: "01-01 01-15 02-19 03-30 05-28 07-04 09-03 11-22 12-25",
    2021: "01-01 01-18 02-15 04-02 05-31 07-05 09-06 11-25 12-24",
    2022: "01-17 02-21 04-15 05-30 06-20 07-04 09-05 11-24 12-26",
    2023: "01-02 01-16 02-20 04-07 05-29 06-19 07-04 09-04 11-23 12-25",
    2024: "01-01 01-15 02-19 03-29 05-27 06-19 07-04 09-02 11-28 12-25",
    2025: "01-01 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25",
    2026: "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25",
    2027: "01-01 01-18 02-15 03-26 05-31 06-18 07-05 09-06 11-25 12-24",
}


@pytest.mark.parametrize("year", HOLIDAYS)
def test_the_holidays_are_those_published(year: int) -> None:
    found = sorted(day for day in holidays(year) if day.weekday() < 5)
    assert [f"{day:%m-%d}" for day in found] == HOLIDAYS[year].split()


EARLY = {
    2018: "07-03 11-23 12-24",
    2020: "11-27 12-24",
    2021: "11-26",
    2022: "11-25",
    2023: "07-03 11-24",
    2024: "07-03 11-29 12-24",
    2025: "07-03 11-28 12-24",
    2026: "11-27 12-24",
    2027: "11-26",
}


@pytest.mark.parametrize("year", EARLY)
def test_the_early_closes_are_those_published(year: int) -> None:
    days = (date(year, 1, 1) + timedelta(days=n) for n in range(365))
    sessions = [(day, session_of(day)) for day in days]
    early = [
        f"{day:%m-%d}"
        for day, session in sessions
        if session is not None and session.closes - session.opens < timedelta(hours=6)
    ]
    assert early == EARLY[year].split()


@given(st.dates(date(2013, 1, 1), date(2099, 12, 31)))
def test_a_session_is_from_half_past_nine_in_new_york(day: date) -> None:
    session = session_of(day)
    if session is None:
        return
    assert session.opens.astimezone(NEW_YORK) == datetime.combine(day, time(9, 30), NEW_YORK)
    closes = session.closes.astimezone(NEW_YORK)
    assert closes.date() == day
    assert closes.time() in {time(13), time(16)}


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        ("2026-03-02", "14:30", "21:00"),
        ("2026-03-09", "13:30", "20:00"),
        ("2026-10-30", "13:30", "20:00"),
        ("2026-11-02", "14:30", "21:00"),
        ("2026-11-27", "14:30", "18:00"),
    ],
)
def test_it_is_open_from_its_opening_until_just_before_its_close(
    day: str, opens: str, closes: str
) -> None:
    opening = datetime.fromisoformat(f"{day}T{opens}:00+00:00")
    close = datetime.fromisoformat(f"{day}T{closes}:00+00:00")
    assert session_of(date.fromisoformat(day)) == Session(opening, close)
    edges = [opening - SECOND, opening, opening + SECOND, close - SECOND, close, close + SECOND]
    assert [is_open(at) for at in edges] == [False, True, True, True, False, False]
    assert is_open(opening.astimezone(NEW_YORK))


def test_there_is_no_session_on_a_day_of_mourning() -> None:
    for day in CLOSED_FOR_ONCE:
        assert day.weekday() < 5
        assert session_of(day) is None


def test_the_next_opening_is_beyond_weekends_and_holidays() -> None:
    thanksgiving = datetime(2026, 11, 26, 15, tzinfo=UTC)
    assert next_opening(thanksgiving) == datetime(2026, 11, 27, 14, 30, tzinfo=UTC)
    opening = datetime(2026, 12, 24, 14, 30, tzinfo=UTC)
    assert next_opening(opening - SECOND) == opening
    assert next_opening(opening) == datetime(2026, 12, 28, 14, 30, tzinfo=UTC)


@given(st.datetimes(datetime(2013, 1, 1), datetime(2098, 12, 31)))  # noqa: DTZ001 - made aware
def test_the_next_opening_is_when_it_opens(naive: datetime) -> None:
    at = naive.replace(tzinfo=UTC)
    opening = next_opening(at)
    assert at < opening < at + timedelta(days=8)
    assert is_open(opening)
    assert not is_open(opening - timedelta(microseconds=1))
