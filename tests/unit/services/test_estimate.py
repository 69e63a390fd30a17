"""Estimated waits: chairs, bookings, who is ahead, closing time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from barberpro_walkin import estimate

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
HALF = timedelta(minutes=30)


def after(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


def minutes(found: list[datetime | None]) -> list[float | None]:
    return [None if item is None else (item - NOW).total_seconds() / 60 for item in found]


def test_an_empty_shop_seats_at_once_as_many_as_it_has_chairs():
    assert minutes(estimate.waits(NOW, 2, [], [HALF, HALF, HALF])) == [0, 0, 30]


def test_customers_in_chairs_and_bookings_are_waited_for():
    occupied = [(NOW, after(10)), (NOW, after(20))]
    assert minutes(estimate.waits(NOW, 2, occupied, [HALF, HALF])) == [10, 20]
    # One chair, free until a booking in 20 minutes: half an hour does not fit before it.
    assert minutes(estimate.waits(NOW, 1, [(after(20), after(50))], [HALF])) == [50]


def test_a_short_service_fits_before_a_booking_but_nobody_overtakes():
    booked = [(after(20), after(50))]
    assert minutes(estimate.waits(NOW, 1, booked, [timedelta(minutes=15)])) == [0]
    assert minutes(estimate.waits(NOW, 1, booked, [HALF, timedelta(minutes=15)])) == [50, 80]


def test_where_the_day_is_too_short_there_is_no_estimate():
    assert minutes(estimate.waits(NOW, 1, [], [HALF, HALF, HALF], [(NOW, after(65))])) == [0, 30, None]


def test_before_opening_the_wait_counts_from_then():
    assert minutes(estimate.waits(NOW, 1, [], [HALF, HALF], [(after(40), after(120))])) == [40, 70]


def test_who_sits_longer_than_planned_is_still_there():
    assert estimate.occupies(after(-60), HALF, NOW) == (NOW, NOW + estimate.OVERRUN)
    assert estimate.occupies(after(-10), HALF, NOW) == (NOW, after(20))


@settings(max_examples=80, deadline=None)
@given(
    chairs=st.integers(1, 4),
    booked=st.lists(st.tuples(st.integers(0, 200), st.integers(5, 60)), max_size=8),
    queue=st.lists(st.integers(5, 90), max_size=8),
)
def test_chairs_are_never_more_than_full_and_order_is_kept(chairs, booked, queue):
    occupied = [(after(start), after(start + length)) for start, length in booked]
    lengths = [timedelta(minutes=length) for length in queue]
    found = estimate.waits(NOW, chairs, occupied, lengths)
    assert found == sorted(found)
    for at in range(0, 900, 5):
        walkins = sum(start <= after(at) < start + length for start, length in zip(found, lengths, strict=True))
        bookings = sum(start <= after(at) < end for start, end in occupied)
        assert walkins == 0 or walkins + bookings <= max(chairs, bookings)
