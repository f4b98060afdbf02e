"""When the New York Stock Exchange is open, by its rules.

Regular sessions are 09:30 to 16:00 in New York on weekdays that are no holiday; some days before or
after a holiday end at 13:00. A holiday on a Sunday is kept on Monday, one on a Saturday on Friday;
New Year's Day alone is not kept on the last day of the old year. The rules are those in force since
2013, Juneteenth since 2022; New York's clock is that of the law of 2007. What no rule foresees is
`CLOSED_FOR_ONCE`: a new day of mourning is not in it until it is written there.
"""

from datetime import UTC, date, datetime, time, timedelta

from attrs import frozen

DAY = timedelta(days=1)
MONDAY, THURSDAY, FRIDAY, SATURDAY, SUNDAY = 0, 3, 4, 5, 6

OPENS, CLOSES, CLOSES_EARLY = time(9, 30), time(16, 0), time(13, 0)
JUNETEENTH_SINCE = 2022

CLOSED_FOR_ONCE = frozenset(
    {
        date(2018, 12, 5),  # day of mourning, George H. W. Bush
        date(2025, 1, 9),  # day of mourning, Jimmy Carter
    }
)


@frozen
class Session:
    """One day's trading: open from `opens`, no longer at `closes`; both in UTC."""

    opens: datetime
    closes: datetime


def session_of(day: date) -> Session | None:
    """Return the session of a day in New York; None on a day without one."""
    if day.weekday() >= SATURDAY or day in holidays(day.year) or day in CLOSED_FOR_ONCE:
        return None
    closes = CLOSES_EARLY if ends_early(day) else CLOSES
    return Session(_to_utc(day, OPENS), _to_utc(day, closes))


def is_open(at: datetime) -> bool:
    """Return whether the exchange is in its regular session at a time."""
    # A session is within one day of UTC, too.
    session = session_of(at.astimezone(UTC).date())
    return session is not None and session.opens <= at < session.closes


def next_opening(at: datetime) -> datetime:
    """Return when the next session opens, after a time."""
    day = at.astimezone(UTC).date()
    while True:
        session = session_of(day)
        if session is not None and session.opens > at:
            return session.opens
        day += DAY


def holidays(year: int) -> frozenset[date]:
    """Return the weekdays of a year on which the exchange is closed by rule."""
    new_year = date(year, 1, 1)
    days = {
        new_year + DAY if new_year.weekday() == SUNDAY else new_year,
        nth_weekday(year, 1, MONDAY, 3),  # Martin Luther King, Jr.
        nth_weekday(year, 2, MONDAY, 3),  # Washington's Birthday
        easter(year) - 2 * DAY,  # Good Friday
        nth_weekday(year, 6, MONDAY, 1) - 7 * DAY,  # Memorial Day, the last Monday of May
        _kept(date(year, 7, 4)),
        nth_weekday(year, 9, MONDAY, 1),  # Labor Day
        thanksgiving(year),
        _kept(date(year, 12, 25)),
    }
    if year >= JUNETEENTH_SINCE:
        days.add(_kept(date(year, 6, 19)))
    return frozenset(days)


def ends_early(day: date) -> bool:
    """Return whether a day with a session ends it at 13:00."""
    is_eve = (day.month, day.day) in {(7, 3), (12, 24)} and day.weekday() <= THURSDAY
    return is_eve or day == thanksgiving(day.year) + DAY


def thanksgiving(year: int) -> date:
    """Return the fourth Thursday of November."""
    return nth_weekday(year, 11, THURSDAY, 4)


def nth_weekday(year: int, month: int, weekday: int, n: int) -> date:
    """Return the n-th such weekday of a month; Monday is 0."""
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def easter(year: int) -> date:
    """Return Easter Sunday, by the anonymous Gregorian computus."""
    golden, (century, of_century) = year % 19, divmod(year, 100)
    leaps, century_rest = divmod(century, 4)
    moon = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - leaps - moon + 15) % 30
    four_years, rest = divmod(of_century, 4)
    to_sunday = (32 + 2 * century_rest + 2 * four_years - epact - rest) % 7
    late = (golden + 11 * epact + 22 * to_sunday) // 451
    month, day = divmod(epact + to_sunday - 7 * late + 114, 31)
    return date(year, month, day + 1)


def _kept(holiday: date) -> date:
    if holiday.weekday() == SATURDAY:
        return holiday - DAY
    return holiday + DAY if holiday.weekday() == SUNDAY else holiday


def _to_utc(day: date, local: time) -> datetime:
    """Return a time of a day in New York by UTC; right for any time but 01:00 to 03:00."""
    begins = nth_weekday(day.year, 3, SUNDAY, 2)
    ends = nth_weekday(day.year, 11, SUNDAY, 1)
    behind = timedelta(hours=4 if begins <= day < ends else 5)
    return datetime.combine(day, local, UTC) + behind
