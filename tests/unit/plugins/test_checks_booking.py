"""The way of a customer, against a small booking service that can be made to misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.barberpro.platform.plugins.module_utils._checks import CHECKS
from ansible_collections.barberpro.platform.plugins.module_utils._gate import plan_checks

from tests.support import loopback
from tests.support.api_stand_in import StandIn, ready_pod, secret
from tests.support.loopback import Reply, Request, Web

Check = Callable[..., str]


class Bookings:
    """A booking service with one slot a day; ``faults`` names what it does wrong."""

    def __init__(self) -> None:
        self.taken: dict[str, str] = {}
        self.tests: dict[str, list[str]] = {}
        self.faults: set[str] = set()
        self.services = [{"id": "corte"}]

    def __call__(self, request: Request) -> Reply:
        assert request.headers["x-test-run"] == "gate-1"
        reply = self.answer(request, urlsplit(request.path).path.removeprefix("/shop"))
        reply.headers.setdefault("X-Barberpro-Revision", "r2" if "revision" in self.faults else "r3")
        return reply

    def answer(self, request: Request, path: str) -> Reply:
        if path == "/api/v1/business":
            return Reply(503, "sorry") if "down" in self.faults else Reply(200, {"services": self.services})
        if path == "/api/v1/availability":
            return Reply(200, {"slots": self.slots(parse_qs(urlsplit(request.path).query)["date"][0])})
        if request.method == "POST":
            return self.book(request)
        return self.cancel(path.rsplit("/", 1)[-1], request)

    def slots(self, date: str) -> list[dict[str, str]]:
        start = f"{date}T10:00:00-03:00"
        free = "full" not in self.faults and (start not in self.taken or "offers taken" in self.faults)
        return [{"start": start, "staff": "juan"}] if free else []

    def book(self, request: Request) -> Reply:
        start = request.body["start"]
        assert len(request.headers["idempotency-key"]) >= 8
        if start in self.taken and "double" not in self.faults:
            return Reply(409, {"code": "other" if "code" in self.faults else "slot_taken"})
        self.taken[start] = "b1"
        self.tests.setdefault(request.headers["x-test-run"], []).append("b1")
        return Reply(201, {"id": "b1", "token": "t", "status": "pending" if "pending" in self.faults else "confirmed"})

    def cancel(self, _id: str, request: Request) -> Reply:
        assert request.headers["x-booking-token"] == "t"
        if "keeps" not in self.faults:
            self.taken.clear()
        return Reply(200, {"status": "confirmed" if "cancel" in self.faults else "cancelled"})

    def admin(self, request: Request) -> Reply:
        assert request.method == "DELETE"
        run = request.path.removeprefix("/admin/test-bookings/")
        return Reply(500, "no") if "purge" in self.faults else Reply(200, {"removed": len(self.tests.pop(run, []))})


@pytest.fixture
def bookings(api: StandIn) -> Bookings:
    found = Bookings()
    api.items("/api/v1/namespaces/ns/pods", ready_pod("booking-1"))
    api.answers["GET /api/v1/namespaces/ns/secrets/booking-admin"] = secret("ns", "booking-admin", token="t")
    api.pods = found.admin
    return found


@pytest.fixture
def server(bookings: Bookings) -> Iterator[Web]:
    with loopback.web(bookings) as found:
        yield found


@pytest.fixture
def flow(server: Web, check: Check) -> Check:
    def run(**more: Any) -> str:
        asked = {"url": "http://palermo.test/shop/", "address": server.address, "run_id": "gate-1", "revision": "r3", "namespace": "ns", "selector": "a=b"}
        return check("booking_flow", **{**asked, **more})

    return run


def test_a_customer_is_served_and_nothing_is_left(bookings: Bookings, flow: Check) -> None:
    found = flow(days=3)
    assert found.startswith("passed: booked corte with juan at ")
    assert found.endswith("T10:00:00-03:00, a second booking was refused, cancelled, free again; 1 test booking removed")
    assert bookings.tests == {}
    assert bookings.taken == {}
    assert flow(namespace=None, selector=None).endswith("free again")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("down", "GET /api/v1/business of http://palermo.test at 127.0.0.1:"),
        ("full", "no free slot in the next 89 days; check opening hours and staff in the inventory"),
        ("revision", "is answered by revision r2 instead of r3; check the preview route"),
        ("pending", "came back as 'pending', not confirmed"),
        ("offers taken", "of juan is still offered after it was booked"),
        ("double", "POST /api/v1/bookings of http://palermo.test at 127.0.0.1:"),
        ("code", "is refused as 'other' instead of slot_taken"),
        ("cancel", "a cancelled booking is 'confirmed'"),
        ("keeps", "of juan is not free again after it was cancelled"),
        ("purge", "test bookings of run gate-1 cannot be removed: HTTP 500 no; look at the log of the booking pods"),
    ],
)
def test_what_a_customer_would_suffer_is_said(bookings: Bookings, flow: Check, fault: str, words: str) -> None:
    bookings.faults.add(fault)
    found = flow()
    assert found.startswith("failed: ")
    assert words in found
    assert bookings.tests == {} or fault == "purge"


def test_no_service_and_a_wrong_run(bookings: Bookings, flow: Check, api: StandIn) -> None:
    bookings.services = []
    assert flow() == "failed: the business offers no service; give it services in the inventory"
    assert "run_id 'a b' is not 1 to 64 letters" in flow(run_id="a b")
    api.answers.clear()
    bookings.faults.add("down")
    assert "answers HTTP 503 instead of 200: sorry" in flow()


def test_it_writes_so_check_mode_skips_it() -> None:
    planned = plan_checks([{"check": "booking_flow", "url": "http://x", "run_id": "x"}], CHECKS, 5, check_mode=True)
    assert planned[0].skip_reason == "check mode"
