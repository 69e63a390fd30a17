"""The names of who waits, under the tenant's own key: what the disk holds, what the staff reads, tickets of before, the export."""

from __future__ import annotations

import contextlib
import json
import uuid

import httpx
import pytest

from barberpro_booking import application as booking_application
from barberpro_walkin import application as walkin_application
from tests.integration.services.conftest import ADMIN, shop_of

API = "/walkin/api/v1"
CANARY = "Leonor Ñandubay"


@pytest.fixture(autouse=True)
def alone(monkeypatch) -> None:
    """Booking does not answer, so the queue is open at any hour."""
    monkeypatch.setenv("BOOKING_URL", "http://booking-r3:8080")


@contextlib.asynccontextmanager
async def queue_of(factory, tenant):
    async with shop_of(factory, tenant, transport=httpx.MockTransport(lambda _request: httpx.Response(503))) as shop:
        yield shop


@pytest.fixture
async def sealed(tenant, transit, encrypting):
    async with queue_of(encrypting(walkin_application.application), tenant) as shop:
        yield shop


async def take(shop, name=None, **headers):
    return await shop.http.post(f"{API}/tickets", json={"service": "corte", "name": name}, headers=headers)


async def names(shop) -> list:
    queue = await shop.http.get(f"{API}/queue", headers=ADMIN)
    assert queue.status_code == 200
    return [ticket["name"] for ticket in queue.json()["tickets"]]


async def exported(shop) -> list[dict]:
    answer = await shop.management.get("/admin/export", headers=ADMIN)
    return [json.loads(line) for line in answer.text.splitlines()]


async def encryption(shop, method="GET") -> dict:
    return (await shop.management.request(method, "/admin/encryption", headers=ADMIN)).json()


async def test_the_disk_holds_no_name_and_the_staff_reads_it(sealed, tenant, pg):
    name, control = f"Canaria {uuid.uuid4().hex}", f"control-{uuid.uuid4().hex}"
    assert (await take(sealed, name, **{"X-Test-Run": control})).status_code == 201
    assert (await take(sealed)).status_code == 201
    tenant.sql("CHECKPOINT")
    assert not pg.on_disk(name)
    # The same row has a field that is not encrypted: the search finds it, so it would have found the name.
    assert pg.on_disk(control)
    assert await names(sealed) == [name, None]
    rows = sorted(await exported(sealed), key=lambda row: row["number"])
    assert [row["customer_name"] for row in rows] == [name, None]
    assert not {"customer_name_sealed", "key_hash", "request_hash"} & set(rows[0])
    assert await encryption(sealed) == {"encrypting": True, "plain": 0, "sealed": 1, "data_keys": 1, "versions": [1]}


async def test_without_a_key_the_disk_holds_the_name(tenant, pg):
    name = f"Plain {uuid.uuid4().hex[:8]}"
    async with queue_of(walkin_application.application, tenant) as shop:
        await take(shop, name)
        tenant.sql("CHECKPOINT")
        assert pg.on_disk(name)
        assert await encryption(shop) == {"encrypting": False, "plain": 1, "sealed": 0, "data_keys": 0, "versions": []}


async def test_tickets_of_before_are_read_and_then_sealed(tenant, transit, encrypting):
    key = {"Idempotency-Key": "an-earlier-key"}
    async with queue_of(walkin_application.application, tenant) as older:
        first = (await take(older, CANARY, **key)).json()
    async with queue_of(encrypting(walkin_application.application), tenant) as shop:
        assert await names(shop) == [CANARY]
        await shop.built.walkin.tidy()
        assert tenant.sql("SELECT customer_name, customer_name_sealed IS NULL FROM walkin_tickets") == [(None, False)]
        assert await names(shop) == [CANARY]
        # A request of before that comes again gets the ticket of before; another with the same key is refused.
        again = await take(shop, CANARY, **key)
        assert (again.status_code, again.json()["id"], again.headers["Idempotent-Replayed"]) == (201, first["id"], "true")
        assert (await take(shop, "Leo", **key)).json()["code"] == "idempotency_key_reused"
        # Who leaves is forgotten, sealed or not.
        assert (await shop.http.post(f"{API}/tickets/{first['id']}/leave")).status_code == 200
        assert tenant.sql("SELECT customer_name, customer_name_sealed, key_hash, request_hash FROM walkin_tickets") == [(None,) * 4]


async def test_repeated_requests_are_known_by_their_blind_index(sealed, tenant):
    key = {"Idempotency-Key": "the-same-key-twice"}
    first = (await take(sealed, CANARY, **key)).json()
    assert (await take(sealed, CANARY, **key)).json()["id"] == first["id"]
    assert (await take(sealed, "Leo", **key)).json()["code"] == "idempotency_key_reused"
    assert tenant.sql("SELECT count(DISTINCT purpose) FROM data_keys") == [(2,)]


async def test_both_services_use_one_table_of_keys_and_a_rotation_of_one_is_the_other_s(sealed, tenant, transit, encrypting):
    await take(sealed, CANARY)
    async with shop_of(encrypting(booking_application.application), tenant) as booking:
        await booking.load()
        assert (await booking.book()).status_code == 201
        transit.latest = 2
        status = (await booking.management.put("/admin/encryption", headers=ADMIN)).json()
        transit.oldest = 2
        assert status["versions"] == [2]
    async with queue_of(encrypting(walkin_application.application), tenant) as fresh:
        assert await names(fresh) == [CANARY]
        assert (await encryption(fresh))["versions"] == [2]


async def test_a_pod_that_has_no_key_yet_stores_no_name_plain(tenant, transit, encrypting):
    transit.away = True
    async with queue_of(encrypting(walkin_application.application), tenant) as shop:
        refused = await take(shop, CANARY)
        assert (refused.status_code, refused.json()["code"]) == (503, "keys_unavailable")
        # Who gives no name needs no key.
        assert (await take(shop)).status_code == 201
        ready = await shop.management.get("/healthz/ready")
        assert (ready.status_code, ready.json()["checks"]["key"]["passed"]) == (503, False)
    assert tenant.sql("SELECT customer_name, customer_name_sealed FROM walkin_tickets") == [(None, None)]


async def test_a_pod_without_a_key_does_not_take_over_a_queue_that_is_sealed(sealed, tenant):
    await take(sealed, CANARY)
    async with queue_of(walkin_application.application, tenant) as plain:
        ready = await plain.management.get("/healthz/ready")
        assert ready.status_code == 503
        assert ready.json()["checks"]["key"]["evidence"].startswith("this tenant's customers are sealed (data_keys has 1 rows), and no key is mounted")
        # One that was ready before goes on, and shows the staff numbers without names.
        assert await names(plain) == [None]


async def test_a_name_that_cannot_be_read_does_not_take_the_queue_away(sealed, tenant, transit, encrypting):
    ticket = (await take(sealed, CANARY)).json()
    await take(sealed, "Leo")
    tenant.sql("UPDATE walkin_tickets SET customer_name_sealed = 'damaged' WHERE id = %s", ticket["id"])
    assert await names(sealed) == [None, "Leo"]
    assert (await sealed.http.post(f"{API}/tickets/{ticket['id']}/serve", headers=ADMIN)).status_code == 200
    transit.away = True
    async with queue_of(encrypting(walkin_application.application), tenant) as fresh:
        assert await names(fresh) == [None, None]
