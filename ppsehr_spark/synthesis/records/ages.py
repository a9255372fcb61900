"""Ages and birthdays: completed years, and the birth dates that an age on a day allows.

Knows: the calendar. Must not know: patients.
"""

from __future__ import annotations

from datetime import date, timedelta


def count_years(birth: date, day: date) -> int:
    """Completed years of age on a day."""
    return day.year - birth.year - ((day.month, day.day) < (birth.month, birth.day))


def find_births(age_years: int, day: date) -> tuple[date, date]:
    """First and last birth date of somebody who is ``age_years`` old on that day."""
    return _same_day(day, day.year - age_years - 1) + timedelta(days=1), _same_day(day, day.year - age_years)


def _same_day(day: date, year: int) -> date:
    """The same day of another year; 29 February becomes 28 February where there is none."""
    is_leap_day = (day.month, day.day) == (2, 29)
    has_leap_day = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day.replace(year=year, day=28) if is_leap_day and not has_leap_day else day.replace(year=year)
