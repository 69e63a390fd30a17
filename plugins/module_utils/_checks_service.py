# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of a running service: its settings, one answer, and the way of a customer from a free slot to a cancelled booking."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ansible_collections.barberpro.platform.plugins.module_utils._access import Answer, admin_sender
from ansible_collections.barberpro.platform.plugins.module_utils._checks_common import (
    CheckFailed,
    Clients,
    Param,
    check,
    listed,
    plural,
    subject,
    writing_check,
)
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._settings import differences, read_settings
from ansible_collections.barberpro.platform.plugins.module_utils._web import SITE, Site

LOG = "look at the log of the booking pods"
TIDY_SECONDS = 2.0  # kept of the deadline for the removal of the test bookings
REVISION_HEADER = "x-barberpro-revision"
ADMIN: dict[str, Param] = {
    "port": Param("Management port.", type="int", default=9090),
    "token_secret": Param("Secret with the token of the admin API.", default="booking-admin"),
}


@check(
    "settings",
    subject("{namespace}"),
    namespace=Param("Namespace.", required=True),
    selector=Param("Label selector of the service's pods.", required=True),
    expected=Param("The settings of the inventory.", type="dict", required=True),
    **ADMIN,
)
def settings(params: Mapping[str, Any], clients: Clients) -> str:
    """The service has the settings of the inventory, read back through its admin API over a port-forward."""
    pod, send = admin_sender(clients.client, params["namespace"], params["selector"], params["port"], params["token_secret"])
    seen = read_settings(send, f"{params['namespace']}/{pod}")
    different = differences(params["expected"], seen)
    if different:
        raise CheckFailed(f"settings of {pod} differ from the inventory in {listed(different)}", "run the configuration stage again")
    return f"{plural(len(params['expected']), 'setting')} of {pod} equal the inventory"


@check(
    "http",
    subject("{url}"),
    method=Param("Method.", default="GET"),
    expect_status=Param("Status of a good answer.", type="int", default=200),
    expect_headers=Param("Headers of a good answer.", type="dict", default={}),
    expect_body=Param("Text that the body contains."),
    expect_failure=Param("That no answer, or one with another status, comes is the success.", type="bool", default=False),
    **SITE,
)
def http(params: Mapping[str, Any], clients: Clients) -> str:  # noqa: ARG001 - all checks have one signature
    """An address answers as expected, or, with C(expect_failure), does not."""
    site = Site(params)
    line = f"{params['method']} {params['url']}"
    try:
        answer = site.send(params["method"])
    except CheckFailed as error:
        if params["expect_failure"]:
            return f"{line} gets no answer, as it should"
        raise error
    good = answer.status == params["expect_status"]
    if params["expect_failure"]:
        if good:
            raise CheckFailed(f"{line} answers HTTP {answer.status}, and should not be reachable", "look at the network policies and routes")
        return f"{line} is refused with HTTP {answer.status}, as it should"
    if not good:
        reason = f"{line} answers HTTP {answer.status} instead of {params['expect_status']}: {answer.text(120)}"
        raise CheckFailed(reason, "check the route and the service's log")
    for name, value in params["expect_headers"].items():
        if answer.headers.get(name.lower()) != str(value):
            got = answer.headers.get(name.lower(), "nothing")
            raise CheckFailed(f"{line}: header {name} is {got} instead of {value}", "check which revision the route leads to")
    if params["expect_body"] and params["expect_body"] not in answer.body.decode("utf-8", "replace"):
        raise CheckFailed(f"{line}: the page does not contain {params['expect_body']!r}", "check the service's settings")
    return f"{line} answers HTTP {answer.status} ({len(answer.body)} bytes)"


@dataclass
class _Booking:
    """What the customer of the test has in hand."""

    service: str
    start: str
    staff: str
    id: str = ""
    token: str = ""


class _Customer:
    """The customer of the test: one site, one test run."""

    def __init__(self, params: Mapping[str, Any], clients: Clients) -> None:
        self.clients = clients
        self.site = Site({**params, "headers": {**params["headers"], "X-Test-Run": params["run_id"]}})
        self.root = self.site.url.path.rstrip("/")
        self.revision: str = params["revision"] or ""

    def ask(self, method: str, path: str, status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request and return its answer. Raises CheckFailed unless status and revision are as expected."""
        self.clients.leave_time(TIDY_SECONDS)
        answer = self.site.send(method, f"{self.root}{path}", body, headers)
        shown = f"{method} {path.partition('?')[0]} of {self.site.where}"
        if answer.status != status:
            raise CheckFailed(f"{shown} answers HTTP {answer.status} instead of {status}: {answer.text(160)}", LOG)
        got = answer.headers.get(REVISION_HEADER, "nothing")
        if self.revision and got != self.revision:
            raise CheckFailed(f"{shown} is answered by revision {got} instead of {self.revision}", "check the preview route")
        return answer

    def find_slot(self, service: str | None, days: int) -> _Booking:
        """Return a free slot within the next ``days`` days, of ``service`` or of any."""
        business = self.ask("GET", "/api/v1/business", 200).json()
        offered = [str(item["id"]) for item in business.get("services") or []]
        wanted = [service] if service else offered
        if not wanted:
            raise CheckFailed("the business offers no service", "give it services in the inventory", final=True)
        today = datetime.datetime.now(datetime.UTC).date()
        # The last days first, so that the test meets as few real customers as possible.
        for offset in range(days, 0, -1):
            for name in wanted:
                query = urlencode({"service": name, "date": (today + datetime.timedelta(days=offset)).isoformat()})
                slots = self.ask("GET", f"/api/v1/availability?{query}", 200).json().get("slots") or []
                if slots:
                    return _Booking(name, str(slots[-1]["start"]), str(slots[-1]["staff"]))
        raise CheckFailed(f"no free slot in the next {days} days", "check opening hours and staff in the inventory", final=True)

    def book(self, slot: _Booking, status: int) -> Answer:
        """Ask for a slot with a new idempotency key."""
        body = {
            "service": slot.service,
            "staff": slot.staff,
            "start": slot.start,
            "customer": {"name": "Prueba de despliegue", "phone": "+541100000000"},
        }
        return self.ask("POST", "/api/v1/bookings", status, body, {"Idempotency-Key": str(uuid.uuid4())})

    def is_free(self, slot: _Booking) -> bool:
        """Return whether a slot is offered."""
        query = urlencode({"service": slot.service, "date": slot.start[:10], "staff": slot.staff})
        slots = self.ask("GET", f"/api/v1/availability?{query}", 200).json().get("slots") or []
        return any(str(item["start"]) == slot.start and str(item["staff"]) == slot.staff for item in slots)


@writing_check(
    "booking_flow",
    subject("{url}"),
    run_id=Param("Marks what the test books.", required=True),
    revision=Param("What X-Barberpro-Revision must say (C(r4))."),
    service=Param("The service to book (default the first of the business that has a free slot)."),
    days=Param("How far to look for a free slot. The service takes bookings for 90 days, from the business's today on.", type="int", default=89),
    namespace=Param("Namespace of the service; with C(selector) it leads to the admin API that removes the test bookings."),
    selector=Param("Label selector of the service's pods."),
    **ADMIN,
    **SITE,
)
def booking_flow(params: Mapping[str, Any], clients: Clients) -> str:
    """A customer finds a free slot, books, cannot book it twice, cancels, and all is removed after."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", params["run_id"]):
        raise CheckFailed(f"run_id {params['run_id']!r} is not 1 to 64 letters, digits, dots, dashes or underscores", final=True)
    customer = _Customer(params, clients)
    try:
        evidence = _flow(customer, params)
    except CheckFailed as error:
        _purge_quietly(params, clients)
        raise error
    removed = _purge(params, clients)
    return f"{evidence}; {removed}" if removed else evidence


def _flow(customer: _Customer, params: Mapping[str, Any]) -> str:
    """Go the customer's way and return what was seen."""
    slot = customer.find_slot(params["service"], params["days"])
    booked = customer.book(slot, 201).json()
    slot.id, slot.token = str(booked.get("id", "")), str(booked.get("token", ""))
    if booked.get("status") != "confirmed" or not slot.id or not slot.token:
        raise CheckFailed(f"a booking of {slot.service} at {slot.start} came back as {booked.get('status')!r}, not confirmed", LOG)
    if customer.is_free(slot):
        raise CheckFailed(f"slot {slot.start} of {slot.staff} is still offered after it was booked", LOG)
    refusal = customer.book(slot, 409).json()
    if refusal.get("code") != "slot_taken":
        raise CheckFailed(f"a second booking of {slot.start} is refused as {refusal.get('code')!r} instead of slot_taken", LOG)
    cancelled = customer.ask("DELETE", f"/api/v1/bookings/{slot.id}", 200, headers={"X-Booking-Token": slot.token}).json()
    if cancelled.get("status") != "cancelled":
        raise CheckFailed(f"a cancelled booking is {cancelled.get('status')!r}", LOG)
    if not customer.is_free(slot):
        raise CheckFailed(f"slot {slot.start} of {slot.staff} is not free again after it was cancelled", LOG)
    return f"booked {slot.service} with {slot.staff} at {slot.start}, a second booking was refused, cancelled, free again"


def _purge(params: Mapping[str, Any], clients: Clients) -> str:
    """Remove what the test booked and return what was removed. Raises CheckFailed."""
    if not params["namespace"] or not params["selector"]:
        return ""
    _pod, send = admin_sender(clients.client, params["namespace"], params["selector"], params["port"], params["token_secret"])
    answer = send("DELETE", f"/admin/test-bookings/{params['run_id']}", None)
    if answer.status != 200:
        raise CheckFailed(f"test bookings of run {params['run_id']} cannot be removed: HTTP {answer.status} {answer.text(120)}", LOG)
    return f"{plural(int(answer.json().get('removed', 0)), 'test booking')} removed"


def _purge_quietly(params: Mapping[str, Any], clients: Clients) -> None:
    """Remove what the test booked after a failure; that failure is worth more than one of the tidying."""
    try:
        _purge(params, clients)
    except (CheckFailed, PlatformError):
        return
