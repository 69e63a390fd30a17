"""Customers under the tenant's own key: what the disk holds, rows of before, rotation under load, the export."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import UTC, datetime

import pytest

from barberpro_booking import application as booking_application
from barberpro_booking.tables import BOOKINGS
from barberpro_service.encryption.keys import FIELDS
from barberpro_service.errors import KeysUnavailable
from tests.integration.services.conftest import ADMIN, shop_of

CANARY = {"name": "Zulema Quetzalcoatl", "phone": "+549115550917"}
HOURS = ("09:00", "09:30", "10:00", "10:30", "11:00", "11:30", "12:00", "12:30")


@pytest.fixture
async def sealed(tenant, transit, encrypting):
    async with shop_of(encrypting(booking_application.application), tenant) as shop:
        assert (await shop.load()).status_code == 200
        yield shop


async def exported(shop) -> list[dict]:
    answer = await shop.management.get("/admin/export", headers=ADMIN)
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_the_disk_holds_no_customer_and_the_search_would_find_one(sealed, tenant, pg):
    control = f"control-{uuid.uuid4().hex}"
    answer = await sealed.book(customer=CANARY, headers={"X-Test-Run": control})
    assert answer.status_code == 201
    tenant.sql("CHECKPOINT")
    assert [pg.on_disk(text) for text in (CANARY["name"], CANARY["phone"])] == [False, False]
    # The same row has a field that is not encrypted: the search finds it, so it would have found the others.
    assert pg.on_disk(control)
    assert [(row["customer_name"], row["customer_phone"]) for row in await exported(sealed)] == [tuple(CANARY.values())]


async def test_without_a_key_the_disk_holds_the_customer(booking, tenant, pg):
    name = f"Plain {uuid.uuid4().hex[:8]}"
    await booking.book(customer={"name": name, "phone": "11 5555-1234"})
    tenant.sql("CHECKPOINT")
    assert pg.on_disk(name)
    assert (await booking.management.get("/admin/encryption", headers=ADMIN)).json() == {
        "encrypting": False, "plain": 1, "sealed": 0, "data_keys": 0, "versions": [],
    }


async def test_rows_of_before_are_read_and_then_sealed(tenant, transit, encrypting):
    async with shop_of(booking_application.application, tenant) as older:
        await older.load()
        first = (await older.book("2027-03-01T09:00:00-03:00", key="an-earlier-key")).json()
        gone = (await older.book("2027-03-01T10:00:00-03:00")).json()
        await older.http.delete(f"/api/v1/bookings/{gone['id']}", headers={"X-Booking-Token": gone["token"]})
    async with shop_of(encrypting(booking_application.application), tenant) as shop:
        assert sorted(str(row["customer_name"]) for row in await exported(shop)) == ["Ana López", "None"]
        status = (await shop.management.put("/admin/encryption", headers=ADMIN)).json()
        assert (status["newly_sealed"], status["plain"], status["sealed"]) == (1, 0, 1)
        assert tenant.sql("SELECT count(*) FROM bookings WHERE customer_name IS NOT NULL OR customer_phone IS NOT NULL") == [(0,)]
        assert sorted(str(row["customer_name"]) for row in await exported(shop)) == ["Ana López", "None"]
        # A request of before that comes again gets the answer of before.
        again = await shop.book("2027-03-01T09:00:00-03:00", key="an-earlier-key")
        assert (again.status_code, again.json()["id"], again.headers["Idempotent-Replayed"]) == (201, first["id"], "true")
        # Cancelling forgets the customer, sealed or not.
        await shop.http.delete(f"/api/v1/bookings/{first['id']}", headers={"X-Booking-Token": first["token"]})
        assert [row["customer_name"] for row in await exported(shop)] == [None, None]
        assert (await shop.management.get("/admin/encryption", headers=ADMIN)).json()["sealed"] == 0


async def test_sealed_customers_are_forgotten_in_batches_even_while_vault_is_away(sealed, tenant, transit):
    for hour in HOURS[:3]:
        assert (await sealed.book(f"2027-03-01T{hour}:00-03:00", customer=CANARY)).status_code == 201
    assert (await sealed.book("2027-03-02T09:00:00-03:00", customer=CANARY)).status_code == 201
    transit.away = True
    past = BOOKINGS.c.starts_at < datetime(2027, 3, 2, tzinfo=UTC)
    assert await sealed.built.booking.customers.forget(past, batch=2) == 3
    assert await sealed.built.booking.customers.forget(past) == 0
    assert tenant.sql("SELECT count(*), count(customer_name_sealed), count(customer_phone_sealed) FROM bookings") == [(4, 1, 1)]


async def test_repeated_requests_are_known_by_their_blind_index(sealed):
    first = await sealed.book(key="the-same-key-twice")
    again = await sealed.book(key="the-same-key-twice")
    assert (again.status_code, again.json()) == (201, first.json())
    other = await sealed.book(key="the-same-key-twice", customer=CANARY)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_the_key_is_rotated_under_load_and_no_request_fails(sealed, tenant, transit):
    answers = []

    async def customers(day: int) -> None:
        answers.extend([await sealed.book(f"2027-03-{day:02}T{hour}:00-03:00", customer=CANARY) for hour in HOURS])

    async def operator() -> dict:
        for _round in range(4):
            transit.latest += 1
            status = (await sealed.management.put("/admin/encryption", headers=ADMIN)).json()
            transit.oldest = transit.latest
        return status

    *_customers, status = await asyncio.gather(*(customers(day) for day in (1, 2, 3, 4, 5, 8)), operator())
    assert [answer.status_code for answer in answers] == [201] * 48
    assert status["versions"] == [5]
    rows = await exported(sealed)
    assert {(row["customer_name"], row["customer_phone"]) for row in rows} == {tuple(CANARY.values())}
    assert len(rows) == 48


async def test_a_rotation_waits_for_a_key_that_another_pod_had_wrapped_before_it(sealed, tenant, transit, encrypting, monkeypatch):
    wrapped, go = asyncio.Event(), asyncio.Event()
    async with shop_of(encrypting(booking_application.application), tenant) as other:
        keys = other.built.booking.customers.keys
        generate = transit.generate

        async def slowly():
            made = await generate()
            wrapped.set()
            await go.wait()
            return made

        monkeypatch.setattr(transit, "generate", slowly)
        making = asyncio.create_task(keys._new(FIELDS))
        await wrapped.wait()
        transit.latest = 2
        renewing = asyncio.create_task(sealed.management.put("/admin/encryption", headers=ADMIN))
        await asyncio.sleep(1)
        assert not renewing.done()
        go.set()
        made, status = await making, (await renewing).json()
    assert status["versions"] == [2]
    transit.oldest = 2
    async with shop_of(encrypting(booking_application.application), tenant) as fresh:
        assert await fresh.built.booking.customers.keys.by_id(made.id) == made


async def test_a_pod_that_has_no_key_yet_says_so_and_books_nothing_plain(tenant, transit, encrypting):
    transit.away = True
    async with shop_of(encrypting(booking_application.application), tenant) as shop:
        await shop.load()
        answer = await shop.book()
        assert (answer.status_code, answer.json()["code"]) == (503, "keys_unavailable")
        ready = await shop.management.get("/healthz/ready")
        assert ready.status_code == 503
        assert "does not answer: connection refused" in ready.json()["checks"]["key"]["evidence"]
    assert tenant.sql("SELECT count(*) FROM bookings") == [(0,)]


async def test_a_pod_without_a_key_does_not_take_over_a_tenant_whose_customers_are_sealed(tenant, transit, encrypting):
    remedy = (
        "no key is mounted; set platform_vault in the inventory, run deploy_platform.yml, see that the workload says encryption: true, then deploy the tenant "
        "again (deploy_vertical.yml)"
    )
    async with shop_of(booking_application.application, tenant) as older:
        # A deploy that turns encryption on: this revision serves on beside the new one, which makes data keys.
        assert (await older.management.get("/healthz/ready")).status_code == 200
        async with shop_of(encrypting(booking_application.application), tenant) as shop:
            await shop.load()
            booked = (await shop.book()).json()["id"]
        older.built.lifecycle._checked = -1e9
        assert (await older.management.get("/healthz/ready")).status_code == 200
    async with shop_of(booking_application.application, tenant) as plain:
        ready = await plain.management.get("/healthz/ready")
        assert ready.status_code == 503
        assert ready.json()["checks"]["key"]["evidence"] == f"this tenant's customers are sealed (data_keys has 2 rows), and {remedy}"
        # Nor does it hand out a booking as one of nobody's.
        with pytest.raises(KeysUnavailable) as refused:
            assert [line async for line in plain.built.booking.customers.exported()]
        assert str(refused.value) == f"row {booked} of bookings is sealed, and {remedy}"
