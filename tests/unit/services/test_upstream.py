"""The queue's client of the booking service: cached, bounded, and useful when booking is away."""

from __future__ import annotations

from datetime import UTC, date, datetime

import httpx
import pytest

from barberpro_walkin import upstream
from barberpro_walkin.upstream import BookingClient
from tests.unit.services.factory import document

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
BUSY = {"date": "2027-03-01", "busy": [{"start": "2027-03-01T09:00:00-03:00", "end": "2027-03-01T09:30:00-03:00"}], "future": 1}


class Booking:
    """A booking service that can be switched off."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.up = True
        self.business = document()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url.copy_with(scheme="http", host="b")).removeprefix("http://b"))
        if not self.up:
            raise httpx.ConnectTimeout("away")
        return httpx.Response(200, json=self.business if request.url.path.endswith("business") else BUSY)


@pytest.fixture
def booking(monkeypatch):
    clock = {"now": 100.0}
    monkeypatch.setattr(upstream.time, "monotonic", lambda: clock["now"])
    service = Booking()
    service.clock = clock
    return service


def client_of(booking: Booking) -> tuple[BookingClient, list[int]]:
    failures: list[int] = []
    http = httpx.AsyncClient(base_url="http://b", transport=httpx.MockTransport(booking))
    return BookingClient(http, lambda: failures.append(1)), failures


async def test_answers_are_reused_while_fresh(booking):
    client, _requests = client_of(booking)
    seen = await client.now(NOW)
    assert seen.business.chairs == 2
    assert seen.business.periods(date(2027, 3, 1))[0][0] == datetime(2027, 3, 1, 12, tzinfo=UTC)
    assert seen.busy == [(datetime(2027, 3, 1, 12, tzinfo=UTC), datetime(2027, 3, 1, 12, 30, tzinfo=UTC))]
    await client.now(NOW)
    assert booking.asked == ["/api/v1/business", "/api/v1/busy?date=2027-03-01"]
    booking.clock["now"] += 6
    await client.now(NOW)
    assert booking.asked[2:] == ["/api/v1/busy?date=2027-03-01"]


async def test_a_new_day_is_asked_for_at_once(booking):
    client, _requests = client_of(booking)
    await client.now(NOW)
    await client.now(NOW.replace(day=2))
    assert booking.asked[-1] == "/api/v1/busy?date=2027-03-02"


async def test_when_booking_goes_away_the_business_stays_and_the_bookings_do_not(booking):
    client, failures = client_of(booking)
    await client.now(NOW)
    booking.up = False
    booking.clock["now"] += 20
    seen = await client.now(NOW)
    assert seen.business.name == "Barbería Palermo"
    assert seen.busy is None
    assert len(failures) == 2
    # Nobody waits for the next time-out during the pause.
    asked = len(booking.asked)
    assert (await client.now(NOW)).busy is None
    assert len(booking.asked) == asked
    booking.up = True
    booking.clock["now"] += 6
    assert (await client.now(NOW)).busy is not None


async def test_a_booking_that_was_never_reached(booking):
    booking.up = False
    client, _requests = client_of(booking)
    seen = await client.now(NOW)
    assert (seen.business, seen.busy) == (None, None)


async def test_an_answer_that_makes_no_sense_counts_as_none(booking):
    booking.business = {"name": "x"}
    client, failures = client_of(booking)
    assert (await client.now(NOW)).business is None
    assert failures == [1]
