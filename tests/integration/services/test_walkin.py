"""The walk-in queue beside the booking service, both real."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from datetime import timedelta

import httpx
import pytest

from barberpro_booking import application as booking_application
from barberpro_walkin import application as walkin_application
from barberpro_walkin import upstream
from tests.integration.services.conftest import ADMIN, NOW, shop_of

API = "/walkin/api/v1"
OPEN = NOW + timedelta(hours=2)  # 10:00


class Switch(httpx.AsyncBaseTransport):
    """The network to the booking service, with a switch."""

    def __init__(self, app) -> None:
        self.inner = httpx.ASGITransport(app=app)
        self.up = True

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self.up:
            raise httpx.ConnectError("switched off")
        return await self.inner.handle_async_request(request)


@contextlib.asynccontextmanager
async def both(tenant, now=OPEN):
    async with shop_of(booking_application.application, tenant, NOW) as booking:
        await booking.load()
        switch = Switch(booking.built.public)
        async with shop_of(walkin_application.application, tenant, now, transport=switch) as walkin:
            walkin.switch, walkin.booking = switch, booking
            yield walkin


@pytest.fixture
def no_cache(monkeypatch):
    for name in ("BUSINESS_FRESH_SECONDS", "BUSY_FRESH_SECONDS", "PAUSE_SECONDS"):
        monkeypatch.setattr(upstream, name, 0.0)


@pytest.fixture
async def walkin(tenant, monkeypatch, no_cache):
    monkeypatch.setenv("BOOKING_URL", "http://booking-r3:8080")
    async with both(tenant) as shop:
        yield shop


async def take(shop, service="corte", name=None, **headers):
    return await shop.http.post(f"{API}/tickets", json={"service": service, "name": name}, headers=headers)


async def act(shop, ticket, action, headers=ADMIN):
    return await shop.http.post(f"{API}/tickets/{ticket['id']}/{action}", headers=headers)


async def test_a_customer_takes_a_number_and_sees_the_wait(walkin):
    first = await take(walkin, name="Leo")
    assert first.status_code == 201
    assert first.json() == {
        "id": first.json()["id"], "number": 1, "status": "waiting", "service": "corte", "service_name": "Corte", "position": 1,
        "estimated_wait_minutes": 0, "estimated_start": "2027-03-01T10:00-03:00", "estimate_excludes_bookings": False, "note": None,
    }
    waits = [(await take(walkin)).json()["estimated_wait_minutes"] for _turn in range(3)]
    assert waits == [0, 30, 30]
    assert (await walkin.http.get(f"{API}/tickets/{first.json()['id']}")).json() == first.json()
    assert (await walkin.http.get(f"{API}/version")).json() == {"tenant": "palermo", "revision": "r3", "service": "walkin_queue"}


async def test_booked_slots_take_chairs(walkin):
    for staff in ("juan", "sofia"):
        assert (await walkin.booking.book("2027-03-01T10:15:00-03:00", staff=staff)).status_code == 201
    assert (await take(walkin)).json()["estimated_wait_minutes"] == 45


async def test_a_chair_without_somebody_behind_it_seats_nobody(walkin):
    assert (await walkin.booking.load(chairs=5)).status_code == 200
    assert [(await take(walkin)).json()["estimated_wait_minutes"] for _turn in range(3)] == [0, 0, 30]
    alone = [{"id": "juan", "name": "Juan", "services": ["corte", "barba"]}]
    assert (await walkin.booking.load(chairs=5, staff=alone)).status_code == 200
    assert (await take(walkin)).json()["estimated_wait_minutes"] == 90


async def test_from_waiting_to_finished(walkin):
    ticket = (await take(walkin, name="Leo")).json()
    for action, status in (("call", "called"), ("call", "called"), ("serve", "serving"), ("finish", "finished"), ("finish", "finished")):
        answer = await act(walkin, ticket, action)
        assert (answer.status_code, answer.json()["status"]) == (200, status)
    back = await act(walkin, ticket, "call")
    assert (back.status_code, back.json()) == (409, {"detail": "El número 1 está terminado; para esto tiene que estar en espera.", "code": "wrong_state"})
    text = (await walkin.management.get("/metrics")).text
    assert 'barberpro_walkin_actions_total{action="call"} 1.0' in text
    assert 'barberpro_walkin_tickets_total{test="false"} 1.0' in text


async def test_who_sits_in_a_chair_is_waited_for(walkin):
    tickets = [(await take(walkin)).json() for _turn in range(3)]
    for ticket in tickets[:2]:
        await act(walkin, ticket, "call")
        await act(walkin, ticket, "serve")
    walkin.clock["now"] = OPEN + timedelta(minutes=10)
    assert (await walkin.http.get(f"{API}/tickets/{tickets[2]['id']}")).json()["estimated_wait_minutes"] == 20


async def test_calling_is_the_staffs_leaving_the_customers(walkin):
    ticket = (await take(walkin, name="Leo")).json()
    for action in ("call", "serve", "finish"):
        assert (await act(walkin, ticket, action, {})).status_code == 401
    left = await act(walkin, ticket, "leave", {})
    assert (left.status_code, left.json()["status"]) == (200, "left")
    unknown = await walkin.http.post(f"{API}/tickets/{uuid.uuid4()}/leave")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "ticket_not_found")


async def test_the_public_queue_has_no_names_and_no_ids(walkin):
    ticket = (await take(walkin, name="Leonardo")).json()
    public = await walkin.http.get(f"{API}/queue")
    assert public.json()["waiting"] == 1
    assert public.json()["open"] is True
    assert "Leonardo" not in public.text
    assert ticket["id"] not in public.text
    staff = (await walkin.http.get(f"{API}/queue", headers=ADMIN)).json()["tickets"][0]
    assert (staff["id"], staff["name"]) == (ticket["id"], "Leonardo")
    assert (await walkin.http.get(f"{API}/queue", headers={"Authorization": "Bearer no"})).status_code == 401


async def test_numbers_are_unique_and_start_again_each_day(walkin, tenant):
    answers = await asyncio.gather(*(take(walkin, **{"X-Test-Run": "run"}) for _turn in range(20)))
    assert sorted(answer.json()["number"] for answer in answers) == list(range(1, 21))
    walkin.clock["now"] = OPEN + timedelta(days=1)
    assert (await take(walkin)).json()["number"] == 1
    assert (await walkin.http.get(f"{API}/queue")).json()["waiting"] == 1
    removed = await walkin.management.delete("/admin/test-tickets/run", headers=ADMIN)
    assert removed.json() == {"removed": 20}
    assert tenant.sql("SELECT count(*) FROM walkin_tickets") == [(1,)]


async def test_a_repeated_request_gets_the_same_number(walkin):
    answers = await asyncio.gather(*(take(walkin, **{"Idempotency-Key": "the-same-key"}) for _turn in range(5)))
    assert {answer.json()["id"] for answer in answers} == {answers[0].json()["id"]}
    again = await take(walkin, **{"Idempotency-Key": "the-same-key"})
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    other = await take(walkin, service="barba", **{"Idempotency-Key": "the-same-key"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (await take(walkin)).json()["number"] == 2


@pytest.mark.parametrize(("hours", "code"), [(11.5, "no_time_left"), (13, "closed")])
async def test_who_got_the_last_place_gets_it_again_after_a_lost_answer(walkin, hours, code):
    walkin.clock["now"] = NOW + timedelta(hours=11.5)
    taken = [await take(walkin, **{"Idempotency-Key": f"the-key-of-chair-{chair}"}) for chair in (1, 2)]
    assert [answer.status_code for answer in taken] == [201, 201]
    walkin.clock["now"] = NOW + timedelta(hours=hours)
    assert (await take(walkin)).json()["code"] == code
    again = await take(walkin, **{"Idempotency-Key": "the-key-of-chair-2"})
    assert (again.status_code, again.json()["id"]) == (201, taken[1].json()["id"])


@pytest.mark.parametrize(
    ("hours", "code", "detail"),
    [
        (-2, "closed", "El local está cerrado. Abrimos hoy a las 09:00."),
        (13, "closed", "El local está cerrado. Hoy ya no atendemos por orden de llegada."),
        (11.75, "no_time_left", "Hoy ya no queda tiempo para Corte: está todo ocupado hasta el cierre."),
    ],
)
async def test_nobody_waits_for_a_closed_shop(walkin, hours, code, detail):
    walkin.clock["now"] = NOW + timedelta(hours=hours)
    answer = await take(walkin)
    assert (answer.status_code, answer.json()) == (422, {"detail": detail, "code": code})
    # Deployments happen at night too; their tests are let in.
    assert (await take(walkin, **{"X-Test-Run": "run"})).status_code == 201


async def test_an_unknown_service_is_named(walkin):
    answer = await take(walkin, service="tattoo")
    assert (answer.status_code, answer.json()["detail"]) == (422, "El servicio 'tattoo' no existe; los servicios son: corte, barba.")


async def test_without_booking_the_queue_goes_on_and_says_what_it_leaves_out(walkin):
    await walkin.booking.book("2027-03-01T10:15:00-03:00")
    await take(walkin)
    walkin.switch.up = False
    answer = (await take(walkin)).json()
    assert answer["estimate_excludes_bookings"] is True
    assert answer["note"] == "La espera estimada no incluye los turnos reservados: el sistema de reservas no responde."
    assert answer["estimated_wait_minutes"] == 0
    assert (await walkin.management.get("/healthz/ready")).status_code == 200
    assert (await walkin.http.get("/walkin")).status_code == 200
    assert "barberpro_walkin_booking_failures_total 0.0" not in (await walkin.management.get("/metrics")).text
    walkin.switch.up = True
    assert (await take(walkin)).json()["estimate_excludes_bookings"] is False


async def test_a_queue_that_never_reached_booking_serves_too(tenant, monkeypatch, no_cache):
    monkeypatch.setenv("BOOKING_URL", "http://booking-r3:8080")
    async with both(tenant) as shop:
        shop.switch.up = False
        assert (await take(shop, service="corte")).status_code == 201
        queue = (await shop.http.get(f"{API}/queue")).json()
        assert (queue["open"], queue["chairs"], queue["waiting"]) == (None, None, 1)
        for page in ("/walkin", "/walkin/staff", "/walkin/theme.css"):
            assert (await shop.http.get(page)).status_code == 200


async def test_pages_and_files(walkin):
    page = await walkin.http.get("/walkin")
    assert "Barbería Palermo" in page.text
    assert "Corte (30 min)" in page.text
    assert "--brand: #7a1f1f" in (await walkin.http.get("/walkin/theme.css")).text
    for name in ("queue.js", "staff.js", "common.js", "walkin.css", "base.css", "icon.svg"):
        assert (await walkin.http.get(f"/walkin/static/{name}")).status_code == 200
    assert "Clave del local" in (await walkin.http.get("/walkin/staff")).text


async def test_tickets_are_counted_by_day(walkin, tenant):
    await take(walkin, name="Leo")
    await take(walkin, name="Mora")
    await walkin.built.walkin.tidy()
    assert tenant.sql("SELECT day, measure, amount FROM shared.usage WHERE tenant = %s", tenant.schema) == [(OPEN.date(), "walk_ins", 2)]


PERSON = "SELECT count(customer_name), count(key_hash), count(request_hash) FROM walkin_tickets"


async def test_names_are_forgotten(walkin, tenant):
    done = (await take(walkin, name="Leo", **{"Idempotency-Key": "the-key-of-leo"})).json()
    assert tenant.sql(PERSON) == [(1, 1, 1)]
    await act(walkin, done, "leave", {})
    # Nothing is left that could be compared with names.
    assert tenant.sql(PERSON) == [(0, 0, 0)]
    await take(walkin, name="Mora", **{"Idempotency-Key": "the-key-of-mora"})
    walkin.clock["now"] = OPEN + timedelta(days=3)
    await walkin.built.walkin.tidy()
    assert tenant.sql(PERSON) == [(0, 0, 0)]


async def test_a_request_without_a_key_leaves_no_fingerprint(walkin, tenant):
    await take(walkin, name="Leo")
    assert tenant.sql(PERSON) == [(1, 0, 0)]


async def test_what_an_older_revision_has_left_of_people_goes(walkin, tenant):
    """It kept a fingerprint of every request, for ever."""
    waiting, gone = [(await take(walkin, name=name, **{"Idempotency-Key": f"key-of-{name}"})).json()["id"] for name in ("Leo", "Mora")]
    keyless = (await take(walkin, name="Ana")).json()["id"]
    tenant.sql("UPDATE walkin_tickets SET request_hash = 'fingerprint' WHERE id = %s", keyless)
    tenant.sql("UPDATE walkin_tickets SET status = 'finished', customer_name = NULL WHERE id = %s", gone)
    await walkin.built.walkin.tidy()
    rows = tenant.sql("SELECT id::text, customer_name, key_hash IS NOT NULL, request_hash IS NOT NULL FROM walkin_tickets ORDER BY number")
    assert rows == [(waiting, "Leo", True, True), (gone, None, False, False), (keyless, "Ana", False, False)]
