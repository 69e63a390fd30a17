"""Many at once: the database decides, not luck."""

from __future__ import annotations

import asyncio
import uuid

import psycopg
import pytest

from tests.integration.services.conftest import NOW


async def test_fifty_rivals_for_one_slot_give_one_booking(booking, tenant):
    answers = await asyncio.gather(*(booking.book(customer={"name": f"C{number}", "phone": "1155551234"}) for number in range(50)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201] + [409] * 49
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"slot_taken"}
    assert tenant.sql("SELECT count(*) FROM bookings WHERE status = 'confirmed'") == [(1,)]


async def test_rivals_that_overlap_in_part_do_not_deadlock(booking, tenant):
    starts = [f"2027-03-01T09:{minute:02}:00-03:00" for minute in (0, 15, 30, 45)]
    answers = await asyncio.gather(*(booking.book(starts[number % 4]) for number in range(32)))
    assert {answer.status_code for answer in answers} == {201, 409}
    overlaps = (
        "SELECT count(*) FROM bookings a JOIN bookings b ON a.id < b.id AND a.staff_id = b.staff_id "
        "WHERE tstzrange(a.starts_at, a.ends_at) && tstzrange(b.starts_at, b.ends_at)"
    )
    assert tenant.sql(overlaps) == [(0,)]


async def test_anybody_is_shared_out_until_nobody_is_free(booking):
    answers = await asyncio.gather(*(booking.book(staff=None) for _turn in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201, 201] + [409] * 8


async def test_one_request_sent_many_times_books_once(booking, tenant):
    answers = await asyncio.gather(*(booking.book(key="the-same-key") for _turn in range(12)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert tenant.sql("SELECT count(*) FROM bookings") == [(1,)]


async def test_one_key_for_different_requests_at_once_books_one(booking, tenant):
    starts = ["2027-03-01T09:00:00-03:00", "2027-03-01T10:00:00-03:00"]
    answers = await asyncio.gather(*(booking.book(start, key="the-same-key") for start in starts))
    assert sorted(answer.status_code for answer in answers) == [201, 422]
    assert tenant.sql("SELECT count(*) FROM bookings") == [(1,)]


def test_nobody_gets_round_the_constraint(tenant):
    """Also not a hand at psql with the app's role, nor one as superuser."""
    insert = (
        "INSERT INTO bookings (id, service_id, service_name, price, staff_id, staff_name, starts_at, ends_at, token_hash) "
        "VALUES (%s, 'corte', 'Corte', 1, %s, 'X', %s, %s::timestamptz + interval '30 minutes', '')"
    )

    def book(staff: str) -> None:
        tenant.sql(insert, uuid.uuid4(), staff, NOW, NOW)

    book("juan")
    book("juana")
    book("jua")
    with pytest.raises(psycopg.errors.ExclusionViolation):
        book("juan")
    tenant.sql("UPDATE bookings SET status = 'cancelled' WHERE staff_id = 'juan'")
    book("juan")
    with pytest.raises(psycopg.errors.ExclusionViolation):
        tenant.sql("UPDATE bookings SET status = 'confirmed'")
