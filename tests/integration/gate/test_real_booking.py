"""Settings and the customer's way against the real booking service on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.barberpro.platform.plugins.modules import settings

from tests.integration.gate.conftest import forward_to
from tests.integration.services import postgres
from tests.integration.services.conftest import Process, migrate_all
from tests.support import modules
from tests.support.api_stand_in import StandIn
from tests.unit.services.factory import document

ADMIN = {"namespace": "ns", "selector": "app=booking"}


@pytest.fixture
def service(tenant: postgres.Tenant, api: StandIn, tmp_path: Path) -> Iterator[Process]:
    """The booking service, its admin API behind the stand-in's port-forward."""
    asyncio.run(migrate_all(tenant))
    process = Process("barberpro_booking", tenant, tmp_path / "booking.log", revision="r3")
    try:
        process.wait_ready()
        api.pods = forward_to(process.management)
        yield process
    finally:
        process.stop()


def test_settings_then_a_customer(service: Process, api: StandIn, tenant: postgres.Tenant, check: Callable[..., str]) -> None:
    wanted = document()
    asked = {"kubeconfig": api.kubeconfig, **ADMIN, "settings": wanted}
    first = modules.call(settings, asked)
    assert first["changed"], first
    assert first["before"] == {}
    assert not modules.call(settings, asked)["changed"]
    assert check("settings", **ADMIN, expected=wanted) == f"passed: {len(wanted)} settings of booking-1 equal the inventory"
    refused = modules.call(settings, {**asked, "settings": document(timezone="Mars/Base")})
    assert refused["failed"]
    assert "settings of ns/booking-1 are refused: " in refused["msg"]
    assert "timezone" in refused["msg"]

    found = check("booking_flow", url=service.url, run_id="gate-1", revision="r3", **ADMIN)
    assert found.startswith("passed: booked corte with ")
    assert found.endswith("a second booking was refused, cancelled, free again; 1 test booking removed")
    assert tenant.sql("SELECT count(*) FROM bookings") == [(0,)]
    assert "is answered by revision r3 instead of r4" in check("booking_flow", url=service.url, run_id="gate-2", revision="r4", **ADMIN)
    closed = document(opening_hours={day: [] for day in wanted["opening_hours"]})
    assert modules.call(settings, {**asked, "settings": closed})["changed"]
    assert "no free slot in the next 89 days; check opening hours" in check("booking_flow", url=service.url, run_id="gate-3", **ADMIN)
