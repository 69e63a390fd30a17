"""How long will a walk-in customer wait? Pure: places (chairs with somebody behind them), what occupies them, who is ahead; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from barberpro_service.hours import Period

# Somebody in the chair for longer than planned is still there: assume this much more.
OVERRUN = timedelta(minutes=5)


def occupies(since: datetime, length: timedelta, now: datetime) -> Period:
    """The period from now on in which a customer in a chair keeps it."""
    return now, max(since + length, now + OVERRUN)


def _fits(periods: Sequence[Period], places: int, start: datetime, end: datetime) -> bool:
    """Is a place free during all of [start, end)? Usage only rises where a period begins, so those instants suffice."""
    overlapping = [period for period in periods if period[0] < end and period[1] > start]
    instants = [start, *(begin for begin, _ in overlapping if begin > start)]
    return all(sum(begin <= instant < stop for begin, stop in overlapping) < places for instant in instants)


def waits(
    now: datetime,
    places: int,
    occupied: Sequence[Period],
    queue: Sequence[timedelta],
    open_periods: Sequence[Period] | None = None,
) -> list[datetime | None]:
    """When each of the queue (lengths in order of arrival) gets a place; None where the day is too short.

    Booked slots and customers in chairs are `occupied`. Nobody overtakes: a ticket starts no earlier than the one
    before it. `open_periods` None means unknown hours, taken as always open.
    """
    taken = list(occupied)
    found: list[datetime | None] = []
    earliest = now
    for length in queue:
        candidates = sorted({earliest, *(end for _, end in taken if end > earliest), *(begin for begin, _ in open_periods or [] if begin > earliest)})
        start = next((at for at in candidates if _open(open_periods, at, at + length) and _fits(taken, places, at, at + length)), None)
        found.append(start)
        if start is not None:
            taken.append((start, start + length))
            earliest = start
    return found


def _open(periods: Sequence[Period] | None, start: datetime, end: datetime) -> bool:
    return periods is None or any(opens <= start and end <= closes for opens, closes in periods)
