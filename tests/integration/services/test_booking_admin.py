"""The operator's side: settings, test runs, metrics, privacy of the logs."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pytest

from tests.integration.services import postgres
from tests.integration.services.conftest import ADMIN, NOW
from tests.unit.services.factory import document


async def test_settings_are_loaded_once_and_read_back_equal(booking):
    read = await booking.management.get("/admin/settings", headers=ADMIN)
    assert read.json()["settings"] == document()
    again = await booking.load()
    assert (again.status_code, again.json()) == (200, {"changed": False, "etag": read.json()["etag"]})
    changed = await booking.load(chairs=5)
    assert changed.json()["changed"] is True
    assert (await booking.http.get("/api/v1/business")).json()["chairs"] == 5


async def test_bad_settings_change_nothing_and_list_every_field(booking):
    answer = await booking.load(chairs=0, currency="pesos")
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_settings"
    assert [item["path"] for item in answer.json()["errors"]] == ["currency", "chairs"]
    assert answer.json()["detail"].startswith("settings refused: currency: ")
    assert (await booking.management.get("/admin/settings", headers=ADMIN)).json()["settings"] == document()
    no_json = await booking.management.put("/admin/settings", content=b"{", headers={**ADMIN, "Content-Type": "application/json"})
    assert no_json.status_code == 422


async def test_if_match_keeps_two_operators_apart(booking):
    etag = (await booking.management.get("/admin/settings", headers=ADMIN)).json()["etag"]
    first = await booking.management.put("/admin/settings", json=document(chairs=4), headers={**ADMIN, "If-Match": etag})
    second = await booking.management.put("/admin/settings", json=document(chairs=6), headers={**ADMIN, "If-Match": etag})
    assert (first.status_code, second.status_code) == (200, 412)
    assert second.json()["code"] == "settings_changed"


async def test_another_time_zone_moves_no_customer_unless_that_is_said(booking, tenant):
    await booking.book("2027-03-01T10:00:00-03:00", headers={"X-Test-Run": "run"})
    assert (await booking.load(timezone="Europe/Rome")).status_code == 200
    assert (await booking.load()).status_code == 200
    for start in ("2027-03-01T09:00:00-03:00", "2027-03-02T09:00:00-03:00"):
        assert (await booking.book(start)).status_code == 201
    rule = (
        "'Europe/Rome' would move 2 future bookings, the last of 2027-03-02 09:00, whose customers were told a time in 'America/Argentina/Buenos_Aires'; "
        "keep that until then, or tell them and send the settings with PUT /admin/settings?move_bookings=true"
    )
    refused = await booking.load(timezone="Europe/Rome", chairs=5)
    assert (refused.status_code, refused.json()) == (
        422, {"detail": f"settings refused: timezone: {rule}", "code": "bookings_would_move", "errors": [{"path": "timezone", "message": rule}]},
    )
    assert (await booking.management.get("/admin/settings", headers=ADMIN)).json()["settings"] == document()
    # A zone with the same clock moves nobody, nor does any once they have been.
    assert (await booking.load(timezone="America/Argentina/Cordoba")).status_code == 200
    booking.clock["now"] += timedelta(hours=2)
    assert "would move 1 future booking, the last of" in (await booking.load(timezone="Europe/Rome")).json()["detail"]
    url = "/admin/settings?move_bookings=true"
    assert (await booking.management.put(url, json=document(timezone="Europe/Rome"), headers=ADMIN)).status_code == 200
    assert (await booking.http.get("/api/v1/business")).json()["timezone"] == "Europe/Rome"


async def test_unusable_settings_are_mended_whatever_their_time_zone(booking, tenant):
    await booking.book()
    tenant.sql("UPDATE business_settings SET document = %s::jsonb", json.dumps(document(timezone="Mars/Olympus")))
    assert (await booking.load(timezone="Europe/Rome")).status_code == 200


async def test_admin_is_closed_without_the_token_and_not_public(booking):
    assert (await booking.management.get("/admin/settings")).status_code == 401
    assert (await booking.http.get("/admin/settings", headers=ADMIN)).status_code == 404
    assert (await booking.http.get("/metrics")).status_code == 404


async def test_what_a_test_run_booked_is_removed_and_nothing_else(booking, tenant):
    run = {"headers": {"X-Test-Run": "run-7"}}
    first = (await booking.book(key="key-of-run", **run)).json()
    await booking.http.delete(f"/api/v1/bookings/{first['id']}", headers={"X-Booking-Token": first["token"]})
    await booking.book("2027-03-01T10:00:00-03:00", **run)
    await booking.book("2027-03-01T11:00:00-03:00")
    url = "/admin/test-bookings/run-7"
    assert (await booking.management.delete(url, headers=ADMIN)).json() == {"removed": 2}
    assert (await booking.management.delete(url, headers=ADMIN)).json() == {"removed": 0}
    assert tenant.sql("SELECT count(*) FROM bookings") == [(1,)]
    assert tenant.sql("SELECT count(*) FROM idempotency_keys") == [(1,)]
    # The run may come again with the same key.
    assert (await booking.book(key="key-of-run", **run)).status_code == 201
    assert (await booking.management.delete("/admin/test-bookings/bad%20id", headers=ADMIN)).status_code == 422


async def test_leftovers_of_test_runs_and_old_keys_go_by_themselves(booking, tenant):
    await booking.book(headers={"X-Test-Run": "killed"})
    await booking.book("2027-03-01T10:00:00-03:00")
    booking.clock["now"] = datetime.now(UTC) + timedelta(minutes=59)
    await booking.built.booking.tidy()
    assert tenant.sql("SELECT count(*) FROM bookings") == [(2,)]
    booking.clock["now"] = datetime.now(UTC) + timedelta(minutes=61)
    await booking.built.booking.tidy()
    assert tenant.sql("SELECT count(*), count(test_run) FROM bookings") == [(1, 0)]
    booking.clock["now"] = datetime.now(UTC) + timedelta(hours=25)
    await booking.built.booking.tidy()
    assert tenant.sql("SELECT (SELECT count(*) FROM bookings), (SELECT count(*) FROM idempotency_keys)") == [(1, 0)]


@pytest.mark.parametrize(("changes", "days"), [({}, 30), ({"forget_customers_after_days": 2}, 2)])
async def test_whom_a_booking_was_for_is_forgotten_some_days_after_the_appointment(booking, tenant, changes, days):
    assert (await booking.load(**changes)).status_code == 200
    past = (await booking.book("2027-03-01T09:00:00-03:00")).json()
    await booking.book("2027-03-01T10:00:00-03:00")
    known = "SELECT count(customer_name), count(customer_phone), count(*) FROM bookings"
    ended = datetime.fromisoformat(past["end"])
    ledger = "SELECT sum(amount) FROM shared.usage WHERE tenant = %s"
    for after, left in ((timedelta(0), 2), (timedelta(minutes=1), 1), (timedelta(hours=2), 0)):
        booking.clock["now"] = ended + timedelta(days=days) + after
        # What was booked a moment ago, by a clock that the service does not go by.
        tenant.sql("UPDATE bookings SET created_at = %s", booking.clock["now"])
        await booking.built.booking.tidy()
        assert tenant.sql(known) == [(left, left, 2)]
    assert tenant.sql(ledger, tenant.schema) == [(2,)]
    # The customer still sees what it was.
    seen = await booking.http.get(f"/api/v1/bookings/{past['id']}", headers={"X-Booking-Token": past["token"]})
    assert (seen.status_code, seen.json()["start"]) == (200, past["start"])


async def test_bookings_are_counted_by_the_day_they_were_made(booking, tenant, pg, tmp_path):
    """In the business's zone, cancelled ones too, tests not; another tenant's rows stay as they are."""
    other = postgres.create_tenant(pg, tmp_path / "other")
    other.sql("INSERT INTO shared.usage VALUES (%s, '2026-01-01', 'bookings', 4)", other.schema)
    ledger = "SELECT day, measure, amount FROM shared.usage WHERE tenant = %s ORDER BY day"
    made = (await booking.book()).json()
    await booking.book("2027-03-01T10:00:00-03:00")
    await booking.book("2027-03-01T11:00:00-03:00", headers={"X-Test-Run": "run"})
    await booking.http.delete(f"/api/v1/bookings/{made['id']}", headers={"X-Booking-Token": made["token"]})
    # Two in the morning of the second in Buenos Aires, and half past eleven in the evening before.
    tenant.sql("UPDATE bookings SET created_at = '2026-11-02T02:30:00Z' WHERE id = %s", made["id"])
    tenant.sql("UPDATE bookings SET created_at = '2026-11-02T05:00:00Z' WHERE id <> %s", made["id"])
    booking.clock["now"] = datetime(2026, 11, 3, tzinfo=UTC)
    for _again in range(2):
        await booking.built.booking.tidy()
        assert tenant.sql(ledger, tenant.schema) == [(date(2026, 11, 1), "bookings", 1), (date(2026, 11, 2), "bookings", 1)]
    # What was counted stays when it is too old to be counted again.
    booking.clock["now"] = datetime(2027, 1, 3, tzinfo=UTC)
    await booking.built.booking.tidy()
    assert len(tenant.sql(ledger, tenant.schema)) == 2
    assert tenant.sql(ledger, other.schema) == [(date(2026, 1, 1), "bookings", 4)]


async def test_metrics_count_what_happened(booking):
    made = (await booking.book(headers={"X-Test-Run": "run"})).json()
    await booking.book()
    await booking.book("2027-03-01T08:30:00-03:00")
    await booking.http.delete(f"/api/v1/bookings/{made['id']}", headers={"X-Booking-Token": made["token"]})
    await booking.http.delete(f"/api/v1/bookings/{made['id']}", headers={"X-Booking-Token": made["token"]})
    text = (await booking.management.get("/metrics")).text
    for line in (
        'barberpro_bookings_created_total{test="true"} 1.0',
        'barberpro_bookings_created_total{test="false"} 0.0',
        'barberpro_bookings_refused_total{code="slot_taken"} 1.0',
        'barberpro_bookings_refused_total{code="outside_hours"} 1.0',
        "barberpro_bookings_cancelled_total 1.0",
        'barberpro_http_request_duration_seconds_count{method="POST",route="/api/v1/bookings",status="409"} 1.0',
        'route="/api/v1/bookings/{booking_id}",status="200"} 2.0',
        'barberpro_database_pool_connections{state="limit"} 5.0',
        "barberpro_draining 0.0",
    ):
        assert line in text
    assert made["id"] not in text


def test_no_personal_data_and_no_token_reaches_the_log(tenant, start):
    import httpx

    shop = start("barberpro_booking", tenant)
    shop.wait_ready()
    everyday = {day: [{"from": "00:00", "to": "24:00"}] for day in document()["opening_hours"]}
    loaded = httpx.put(shop.management + "/admin/settings", json=document(opening_hours=everyday), headers=ADMIN)
    assert loaded.status_code == 200
    day = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    slot = httpx.get(shop.url + "/api/v1/availability", params={"service": "corte", "date": day}).json()["slots"][0]
    secret = {"name": "Canaria Amarilla", "phone": "+54 9 11 7777-3333"}
    key = "key-canary-123456"
    booked = httpx.post(shop.url + "/api/v1/bookings", json={"service": "corte", **slot, "customer": secret}, headers={"Idempotency-Key": key})
    assert booked.status_code == 201
    token = booked.json()["token"]
    # A database error while a customer is written: PostgreSQL quotes the row in its message.
    tenant.sql("ALTER TABLE bookings ADD CONSTRAINT sabotage CHECK (false) NOT VALID")
    slot["start"] = f"{day}T12:00:00-03:00"
    failed = httpx.post(shop.url + "/api/v1/bookings", json={"service": "corte", **slot, "customer": secret}, headers={"Idempotency-Key": "another-key-1"})
    assert (failed.status_code, failed.json()["code"]) == (500, "internal_error")
    httpx.get(f"{shop.url}/api/v1/bookings/{booked.json()['id']}", headers={"X-Booking-Token": token})
    assert shop.stop() == 0
    log = shop.log.read_text()
    for canary in ("Canaria", "77773333", "7777-3333", token, key, "operator-token", tenant.read("app", "password")):
        assert canary not in log
        assert canary not in failed.text
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["tenant"] for line in lines} == {"palermo"}
    assert [line["sqlstate"] for line in lines if line["event"] == "request failed"] == ["23514"]
    assert [line["event"] for line in lines if line["logger"] != "request"][-2:] == ["draining", "stopped"]


async def test_what_was_stored_under_wider_bounds_serves_on(booking, tenant):
    """An upgrade whose rules are stricter must not take a business away from its customers."""
    older = document(chairs=150, name="x" * 100)
    older["opening_hours"]["holiday"] = []
    assert (await booking.load(**older)).status_code == 422
    tenant.sql("UPDATE business_settings SET document = %s::jsonb", json.dumps(older))
    assert (await booking.http.get("/api/v1/business")).json()["chairs"] == 150
    assert (await booking.http.get("/")).status_code == 200
    assert (await booking.book()).status_code == 201


@pytest.mark.parametrize("stored", [{"name": "x"}, {"chairs": "many"}])
async def test_settings_that_this_revision_cannot_use_are_told_not_guessed(booking, tenant, stored):
    tenant.sql("UPDATE business_settings SET document = %s::jsonb", json.dumps(stored))
    answer = await booking.http.get("/api/v1/business")
    assert (answer.status_code, answer.json()["code"]) == (503, "settings_unusable")
    assert (await booking.load()).status_code == 200
    assert booking.clock["now"] == NOW
