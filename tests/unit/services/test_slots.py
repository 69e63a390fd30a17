"""Availability: opening hours, durations, clock changes, existing bookings and now."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barberpro_booking import business, slots
from barberpro_service import hours
from tests.unit.services.factory import document

PALERMO = business.validate(document())
CORTE = PALERMO.service("corte")
MONDAY = date(2027, 3, 1)
EARLY = datetime(2027, 3, 1, 5, tzinfo=UTC)  # 02:00 in Buenos Aires


def at(text: str, shop: business.Business = PALERMO) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=shop.zone).astimezone(UTC)


def shop_in(zone: str, intervals: list[tuple[str, str]]) -> business.Business:
    always = [{"from": opens, "to": closes} for opens, closes in intervals]
    return business.validate(document(timezone=zone, opening_hours=dict.fromkeys(hours.WEEKDAYS, always)))


def texts(found: list[slots.Slot], shop: business.Business = PALERMO) -> list[str]:
    return [f"{slot.start.astimezone(shop.zone):%H:%M} {slot.staff}" for slot in found]


def test_slots_begin_on_the_grid_and_end_before_closing():
    found = texts(slots.available(PALERMO, CORTE, MONDAY, EARLY, {}, "juan"))
    assert found[:3] == ["09:00 juan", "09:15 juan", "09:30 juan"]
    assert "12:30 juan" in found
    assert "12:45 juan" not in found
    assert "15:00 juan" in found
    assert found[-1] == "19:30 juan"


def test_everybody_who_offers_the_service_is_asked():
    assert texts(slots.available(PALERMO, CORTE, MONDAY, EARLY, {}))[:2] == ["09:00 juan", "09:00 sofia"]
    assert {slot.staff for slot in slots.available(PALERMO, PALERMO.service("barba"), MONDAY, EARLY, {})} == {"juan"}


def test_bookings_block_what_they_overlap_and_nothing_else():
    busy = {"juan": [(at("2027-03-01T09:30"), at("2027-03-01T10:00"))]}
    found = texts(slots.available(PALERMO, CORTE, MONDAY, EARLY, busy))
    assert [text for text in found if text.endswith("juan")][:3] == ["09:00 juan", "10:00 juan", "10:15 juan"]
    assert "09:30 sofia" in found


def test_the_past_is_not_offered():
    now = at("2027-03-01T19:15")
    assert texts(slots.available(PALERMO, CORTE, MONDAY, now, {}, "juan")) == ["19:30 juan"]
    assert slots.available(PALERMO, CORTE, MONDAY - timedelta(days=3), now, {}) == []


def test_closed_days_and_days_beyond_the_horizon_are_empty():
    assert slots.available(PALERMO, CORTE, date(2027, 3, 7), EARLY, {}) == []
    assert slots.available(PALERMO, CORTE, date(2027, 7, 5), EARLY, {}) == []


def test_a_skipped_hour_is_not_offered_twice_and_not_at_all():
    # Madrid, 28 March 2027: 02:00 becomes 03:00.
    shop = shop_in("Europe/Madrid", [("00:00", "06:00")])
    found = slots.available(shop, shop.service("corte"), date(2027, 3, 28), EARLY, {}, "juan")
    shown = texts(found, shop)
    assert not [text for text in shown if text.startswith("02:")]
    assert shown[shown.index("01:45 juan") + 1] == "03:00 juan"
    assert len(found) == 5 * 4 - 1


def test_a_repeated_hour_gives_twice_the_slots_each_a_different_instant():
    # Madrid, 31 October 2027: 03:00 becomes 02:00.
    shop = shop_in("Europe/Madrid", [("00:00", "06:00")])
    now = datetime(2027, 10, 30, tzinfo=UTC)
    found = slots.available(shop, shop.service("corte"), date(2027, 10, 31), now, {}, "juan")
    assert texts(found, shop).count("02:15 juan") == 2
    assert len({slot.start for slot in found}) == len(found) == 7 * 4 - 1


def test_an_opening_time_that_the_clock_skips_is_the_instant_after():
    shop = shop_in("Europe/Madrid", [("02:30", "05:00")])
    assert texts(slots.available(shop, CORTE, date(2027, 3, 28), EARLY, {}, "juan"), shop)[0] == "03:30 juan"


@pytest.mark.parametrize(("day", "length"), [(date(2027, 3, 28), 23), (date(2027, 10, 31), 25), (date(2027, 5, 5), 24)])
def test_days_have_as_many_hours_as_the_clock_says(day, length):
    start, end = hours.day_bounds(shop_in("Europe/Madrid", []).zone, day)
    assert end - start == timedelta(hours=length)


def test_adjoining_periods_are_one():
    shop = shop_in("America/Argentina/Buenos_Aires", [("13:00", "20:00"), ("09:00", "13:00")])
    assert "12:45 juan" in texts(slots.available(shop, CORTE, MONDAY, EARLY, {}, "juan"))


@pytest.mark.parametrize(
    ("start", "code", "detail"),
    [
        ("2027-03-01T01:59", "in_the_past", "El turno del 01/03/2027 a las 01:59 ya pasó; elegí uno futuro."),
        ("2027-03-01T08:45", "outside_hours", "Corte (30 min) el 01/03/2027 a las 08:45 queda fuera del horario de atención."),
        ("2027-03-01T12:45", "outside_hours", "Corte (30 min) el 01/03/2027 a las 12:45 queda fuera del horario de atención."),
        ("2027-03-07T12:00", "outside_hours", "Corte (30 min) el 07/03/2027 a las 12:00 queda fuera del horario de atención."),
        ("2027-03-01T09:05", "not_a_slot", "Los turnos empiezan cada 15 minutos; las 09:05 no es un inicio posible."),
        ("2027-09-01T10:00", "too_far_ahead", "Solo se puede reservar con hasta 90 días de anticipación."),
    ],
)
def test_refusals_say_why(start, code, detail):
    assert slots.refusal(PALERMO, CORTE, at(start), EARLY) == (code, detail)


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(["America/Argentina/Buenos_Aires", "Europe/Madrid", "America/Santiago", "Australia/Lord_Howe"]),
    day=st.dates(date(2027, 1, 1), date(2028, 12, 31)),
    opens=st.integers(0, 20),
    length=st.integers(1, 4),
    duration=st.sampled_from([5, 30, 45, 90]),
    ahead=st.integers(0, 60),
)
def test_what_is_offered_can_be_booked_and_lies_within_the_hours(zone, day, opens, length, duration, ahead):
    shop = shop_in(zone, [(f"{opens:02}:00", f"{opens + length:02}:00")])
    service = business.Service(id="x", name="X", duration_minutes=duration, price=1)
    now = hours.day_bounds(shop.zone, day)[0] - timedelta(days=ahead, minutes=1)
    shop = shop.model_copy(update={"staff": [business.Staff(id="juan", name="Juan", services=["x"])]})
    for slot in slots.available(shop, service, day, now, {}):
        assert slots.refusal(shop, service, slot.start, now) is None
        assert any(a <= slot.start and slot.start + timedelta(minutes=duration) <= b for a, b in slots.opening_periods(shop, day))
