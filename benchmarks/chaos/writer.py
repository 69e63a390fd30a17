"""A customer who never stops booking, and remembers what was confirmed."""

from __future__ import annotations

import http.client
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone

from tests.support import cluster

ZONE = timezone(timedelta(hours=-3))  # Buenos Aires, which has no summer time
STAFF = ("ana", "beto")
_A_DAY = 94  # quarters of an hour, but the first and the last
TIMEOUT = 10.0


@dataclass(frozen=True)
class Failure:
    """A request that was not answered as it should: when (epoch) and why."""

    moment: float
    reason: str


def slot(first: date, number: int) -> tuple[str, str]:
    """Return start and staff of the number-th booking: no two overlap. ``first`` is the day of the first."""
    quarter, member = divmod(number, len(STAFF))
    day, place = divmod(quarter, _A_DAY)
    start = datetime(first.year, first.month, first.day, tzinfo=ZONE) + timedelta(days=day, minutes=15 * (place + 1))
    return start.isoformat(), STAFF[member]


class Writer(threading.Thread):
    """Books one slot after the other through the gateway, each over a new connection; what fails is counted and not tried again."""

    def __init__(self, tenant: str, pause: float) -> None:
        super().__init__(daemon=True, name=f"writer of {tenant}")
        self.tenant, self.pause = tenant, pause
        self.first = (datetime.now(UTC) + timedelta(days=2)).astimezone(ZONE).date()
        self.acknowledged: dict[str, str] = {}
        self.failures: list[Failure] = []
        self._end = threading.Event()

    def run(self) -> None:
        """Book until told to stop."""
        number = 0
        while not self._end.is_set():
            start, staff = slot(self.first, number)
            moment = time.time()
            try:
                self._book(start, staff)
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                self.failures.append(Failure(moment, str(error) or type(error).__name__))
            number += 1
            self._end.wait(self.pause)

    def _book(self, start: str, staff: str) -> None:
        body = {"service": "corte", "staff": staff, "start": start, "customer": {"name": "Cliente sin pausa", "phone": "+541155550000"}}
        key = uuid.uuid4().hex
        answer = cluster.ask(self.tenant, "/api/v1/bookings", method="POST", body=body, timeout=TIMEOUT, Idempotency_Key=key)
        if answer.status == 409:  # of an earlier run on this tenant
            return
        if answer.status != 201:
            raise ValueError(f"HTTP {answer.status} {answer.body[:120]}")
        document = answer.json()
        self.acknowledged[document["id"]] = document["token"]

    def stop(self) -> None:
        """Stop after the request that is under way."""
        self._end.set()
        self.join(timeout=2 * TIMEOUT)

    def lost(self, stored: set[str]) -> list[str]:
        """Return the confirmed bookings that are not in the tables, or that their customer cannot read."""
        return [booking for booking, token in self.acknowledged.items() if booking not in stored or not self._readable(booking, token)]

    def _readable(self, booking: str, token: str) -> bool:
        for _attempt in range(3):
            try:
                answer = cluster.ask(self.tenant, f"/api/v1/bookings/{booking}", timeout=TIMEOUT, X_Booking_Token=token)
            except (OSError, http.client.HTTPException):
                continue
            return answer.status == 200 and answer.json()["status"] == "confirmed"
        return False
