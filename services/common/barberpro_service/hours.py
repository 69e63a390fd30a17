"""Opening hours as instants: pure functions of weekday intervals, a time zone and a day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, get_args
from zoneinfo import ZoneInfo

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)

# From an instant to another, both aware and in UTC.
Period = tuple[datetime, datetime]


def minutes(clock: str) -> int:
    """Minutes since midnight of "HH:MM"."""
    return int(clock[:2]) * 60 + int(clock[3:])


def instant(zone: ZoneInfo, day: date, clock: str) -> datetime:
    """The instant (UTC) of a wall-clock time, "24:00" being the end of the day.

    A time that the clock change skips becomes the instant after it; one that it repeats is the first of the two.
    """
    total = minutes(clock)
    midnight = datetime.combine(day + timedelta(days=total // 1440), time.min)
    return (midnight + timedelta(minutes=total % 1440)).replace(tzinfo=zone).astimezone(UTC)


def opening_periods(zone: ZoneInfo, day: date, intervals: Iterable[tuple[str, str]]) -> list[Period]:
    """The periods in which a shop with these ("HH:MM", "HH:MM") intervals is open that day, in order, adjoining ones merged."""
    merged: list[Period] = []
    for opens, closes in sorted(intervals, key=lambda item: minutes(item[0])):
        start, end = instant(zone, day, opens), instant(zone, day, closes)
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        elif start < end:
            merged.append((start, end))
    return merged


def day_bounds(zone: ZoneInfo, day: date) -> Period:
    """First instant of a local day and of the next (23 to 25 hours apart)."""
    return instant(zone, day, "00:00"), instant(zone, day, "24:00")
