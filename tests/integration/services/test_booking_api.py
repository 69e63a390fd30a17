"""Booking over HTTP against real PostgreSQL: what customers and the deployment's tests do."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta

import pytest

from tests.integration.services.conftest import ADMIN, NOW, shop_of
from tests.unit.services.factory import document


async def test_version_and_business(booking):
    answer = await booking.http.get("/api/v1/version")
    assert answer.json() == {"tenant": "palermo", "revision": "r3", "service": "booking"}
    assert answer.headers["x-barberpro-revision"] == "r3"
    assert (await booking.http.get("/api/v1/business")).json() == document(forget_customers_after_days=30)


async def test_a_slot_is_booked_cannot_be_booked_again_and_is_free_after_cancelling(booking):
    query = {"service": "corte", "date": "2027-03-01", "staff": "juan"}
    before = (await booking.http.get("/api/v1/availability", params=query)).json()["slots"]
    assert before[0] == {"start": "2027-03-01T09:00:00-03:00", "staff": "juan"}
    booked = await booking.book(before[0]["start"])
    assert booked.status_code == 201
    body = booked.json()
    token = body.pop("token")
    assert body == {
        "id": body["id"], "status": "confirmed", "service": "corte", "service_name": "Corte", "staff": "juan", "staff_name": "Juan",
        "start": "2027-03-01T09:00:00-03:00", "end": "2027-03-01T09:30:00-03:00", "price": 9500.0, "currency": "ARS",
    }
    again = await booking.book(before[0]["start"])
    assert (again.status_code, again.json()) == (409, {"detail": "Ese turno ya fue reservado; elegí otro horario.", "code": "slot_taken"})
    assert (await booking.book("2027-03-01T09:15:00-03:00")).status_code == 409
    between = (await booking.http.get("/api/v1/availability", params=query)).json()["slots"]
    assert between[0]["start"] == "2027-03-01T09:30:00-03:00"
    url, headers = f"/api/v1/bookings/{body['id']}", {"X-Booking-Token": token}
    assert (await booking.http.get(url, headers=headers)).json() == body
    cancelled = await booking.http.delete(url, headers=headers)
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert (await booking.http.delete(url, headers=headers)).status_code == 200
    assert (await booking.http.get("/api/v1/availability", params=query)).json()["slots"] == before
    assert (await booking.book(before[0]["start"])).status_code == 201


async def test_a_booking_is_its_holders_alone(booking):
    body = (await booking.book()).json()
    url = f"/api/v1/bookings/{body['id']}"
    for method in ("GET", "DELETE"):
        missing = await booking.http.request(method, url)
        assert (missing.status_code, missing.json()["code"]) == (401, "token_required")
        wrong = await booking.http.request(method, url, headers={"X-Booking-Token": "0" * 64})
        unknown = await booking.http.request(method, f"/api/v1/bookings/{uuid.uuid4()}", headers={"X-Booking-Token": body["token"]})
        assert (wrong.status_code, wrong.json()) == (unknown.status_code, unknown.json()) == (404, wrong.json())
    assert (await booking.http.get("/api/v1/bookings/no-id", headers={"X-Booking-Token": "x"})).status_code == 422


async def test_anybody_is_whoever_is_free_and_least_booked(booking):
    assert (await booking.book(staff=None)).json()["staff"] == "juan"
    assert (await booking.book(staff=None)).json()["staff"] == "sofia"
    assert (await booking.book(staff=None)).json()["code"] == "slot_taken"
    assert (await booking.book("2027-03-01T15:00:00-03:00", staff=None)).status_code == 201


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"service": "tattoo"}, "unknown_service", "El servicio 'tattoo' no existe; los servicios son: corte, barba."),
        ({"staff": "pedro"}, "unknown_staff", "'pedro' no atiende en este local; para Corte elegí entre: juan, sofia."),
        ({"service": "barba", "staff": "sofia"}, "staff_without_service", "Sofía no ofrece Barba; elegí otra persona."),
        ({"start": "2027-02-26T09:00:00-03:00"}, "in_the_past", "ya pasó"),
        ({"start": "2027-03-01T13:00:00-03:00"}, "outside_hours", "fuera del horario de atención"),
        ({"start": "2027-03-01T09:05:00-03:00"}, "not_a_slot", "cada 15 minutos"),
        ({"start": "2028-03-01T09:00:00-03:00"}, "too_far_ahead", "90 días"),
        ({"start": "mañana"}, "invalid_request", "start:"),
        ({"start": "0001-01-01T00:00:00Z"}, "invalid_request", "start: el año tiene que estar entre 2000 y 2199"),
        ({"start": "9999-12-31T23:59:59-03:00"}, "invalid_request", "start: el año tiene que estar entre 2000 y 2199"),
        ({"customer": {"name": "", "phone": "x"}}, "invalid_request", "customer.phone: el teléfono solo puede tener números"),
        ({"extra": 1}, "invalid_request", "extra:"),
    ],
)
async def test_what_cannot_be_booked_says_why(booking, change, code, words):
    answer = await booking.book(**change)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert words in answer.json()["detail"]
    assert (await booking.http.get("/api/v1/busy", params={"date": "2027-03-01"})).json()["busy"] == []


async def test_a_write_needs_an_idempotency_key(booking):
    body = {"service": "corte", "start": "2027-03-01T09:00:00-03:00", "customer": {"name": "Ana", "phone": "1155551234"}}
    answer = await booking.http.post("/api/v1/bookings", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"path": "Idempotency-Key", "message": "Field required"}]


async def test_a_repeated_request_gets_the_same_answer(booking, tenant):
    first, second = [await booking.book(key="same-key-1") for _turn in range(2)]
    assert first.content == second.content
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["idempotent-replayed"] == "true"
    assert tenant.sql("SELECT count(*) FROM bookings") == [(1,)]
    refused, refused_again = [await booking.book(key="same-key-2") for _turn in range(2)]
    assert (refused.status_code, refused.content) == (409, refused_again.content)
    reused = await booking.book("2027-03-01T10:00:00-03:00", key="same-key-1")
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    # The same instant written otherwise is the same request.
    assert (await booking.book("2027-03-01T12:00:00Z", key="same-key-1")).content == first.content


async def test_what_was_refused_as_invalid_may_be_tried_again_with_the_same_key(booking):
    assert (await booking.book("2027-03-01T08:00:00-03:00", key="same-key-1")).status_code == 422
    assert (await booking.book("2027-03-01T09:00:00-03:00", key="same-key-1")).status_code == 201


async def test_a_booking_that_has_begun_cannot_be_cancelled(booking):
    body = (await booking.book()).json()
    booking.clock["now"] = NOW + timedelta(hours=1, minutes=5)
    answer = await booking.http.delete(f"/api/v1/bookings/{body['id']}", headers={"X-Booking-Token": body["token"]})
    assert (answer.status_code, answer.json()["code"]) == (409, "already_started")


async def test_busy_periods_have_no_word_of_anybody(booking):
    await booking.book()
    await booking.book("2027-03-01T10:00:00-03:00", staff="sofia")
    answer = await booking.http.get("/api/v1/busy")
    assert answer.json() == {
        "date": "2027-03-01",
        "timezone": "America/Argentina/Buenos_Aires",
        "busy": [
            {"start": "2027-03-01T09:00:00-03:00", "end": "2027-03-01T09:30:00-03:00"},
            {"start": "2027-03-01T10:00:00-03:00", "end": "2027-03-01T10:30:00-03:00"},
        ],
    }


async def test_personal_data_is_minimal(booking, tenant):
    body = (await booking.book()).json()
    stored = tenant.sql("SELECT b::text || k::text FROM bookings b, idempotency_keys k")[0][0]
    assert "1155551234" in stored
    assert body["token"] not in stored
    await booking.http.delete(f"/api/v1/bookings/{body['id']}", headers={"X-Booking-Token": body["token"]})
    assert tenant.sql("SELECT customer_name, customer_phone FROM bookings") == [(None, None)]


async def test_before_any_settings_customers_are_told(tenant):
    from barberpro_booking.application import application

    async with shop_of(application, tenant) as shop:
        assert (await shop.management.get("/healthz/ready")).status_code == 200
        answer = await shop.http.get("/api/v1/business")
        assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "not_configured", "5")
        page = await shop.http.get("/")
        assert (page.status_code, "todavía no está configurado" in page.text) == (503, True)
        assert (await shop.http.get("/theme.css")).text == ""
        assert (await shop.management.get("/admin/settings", headers=ADMIN)).json() == {"settings": None, "etag": None}


async def test_the_page_and_its_files(booking):
    page = await booking.http.get("/")
    assert page.status_code == 200
    assert "Barbería Palermo" in page.text
    assert "Cerrado ahora, abrimos hoy a las 09:00" in page.text
    assert "$ 6.500,50" in page.text
    assert " style=" not in page.text
    assert "<script>" not in page.text
    theme = await booking.http.get("/theme.css")
    assert "--brand: #7a1f1f" in theme.text
    assert (await booking.http.get("/theme.css", headers={"If-None-Match": theme.headers["etag"]})).status_code == 304
    for path in ("/static/app.js", "/static/booking.css", "/static/base.css", "/static/icon.svg"):
        answer = await booking.http.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    assert (await booking.http.get("/static/../secrets.py")).status_code == 404


async def test_markup_in_the_settings_stays_text(booking):
    await booking.load(name="<script>alert(1)</script>")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in (await booking.http.get("/")).text


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/v1/availability?service=corte&date=9999-12-31", "date: Input should be less than or equal to 2199-12-31"),
        ("/api/v1/availability?service=corte&date=0001-01-01", "date: Input should be greater than or equal to 2000-01-01"),
        ("/api/v1/availability?service=corte&date=2027-02-30", "date:"),
        ("/api/v1/availability?service=tattoo&date=2027-03-01", "El servicio 'tattoo' no existe"),
        ("/api/v1/availability?service=corte&date=2027-03-01&staff=pedro", "'pedro' no atiende en este local"),
        ("/api/v1/availability?date=2027-03-01", "service: Field required"),
        ("/api/v1/busy?date=9999-12-31", "date:"),
    ],
)
async def test_bad_questions_are_refused_with_the_field(booking, path, words):
    answer = await booking.http.get(path)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


async def test_half_a_character_is_no_name(booking):
    """A lone surrogate is valid JSON, but no text that could be stored."""
    body = b'{"service":"corte","start":"2027-03-01T09:00:00-03:00","customer":{"name":"A\\ud800","phone":"1155551234"}}'
    headers = {"Idempotency-Key": "some-key-1", "Content-Type": "application/json"}
    answer = await booking.http.post("/api/v1/bookings", content=body, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "customer.name")
    body = json.dumps(document(name="X")).replace('"X"', '"X\\ud800"').encode()
    answer = await booking.management.put("/admin/settings", content=body, headers={**ADMIN, "Content-Type": "application/json"})
    assert (answer.status_code, [item["path"] for item in answer.json()["errors"]]) == (422, ["name"])
