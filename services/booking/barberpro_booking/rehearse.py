"""`python -m barberpro_booking.rehearse`: whether this code works on a schema that a newer image has migrated."""

from __future__ import annotations

import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from sqlalchemy.ext.asyncio import AsyncConnection

from barberpro_booking import repository
from barberpro_booking.customers import BookingKeys, Customers
from barberpro_booking.migrations import MIGRATIONS
from barberpro_booking.tables import BOOKINGS, METADATA
from barberpro_service.rehearsal import OneConnection, Rehearsal, main

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
END = START + timedelta(minutes=30)
# What the constraints of the tables want; every other column gets any value of its type.
SAMPLES: dict[str, dict[str, Any]] = {
    "bookings": {"status": "confirmed", "starts_at": START, "ends_at": END, "test_run": None, "cancelled_at": None},
    "idempotency_keys": {"booking_id": None},
    "data_keys": {"purpose": "fields", "wrapped": "vault:v1:rehearsal"},
}


class Seals:
    """Stands in for the tenant's keys: what is sealed does not matter here, only where it goes."""

    async def current(self) -> None:
        """There is a key."""

    async def seal(self, *_value: str) -> bytes:
        """A sealed value."""
        return b"sealed"

    async def open(self, *_value: object) -> str:
        """An opened one."""
        return "opened"


async def queries(connection: AsyncConnection) -> None:
    """Every query of the service, with rows to find."""
    await repository.read_settings(connection)
    await repository.write_settings(connection, {"name": "rehearsal"})
    await repository.read_settings(connection, lock=True)
    await repository.claim_key(connection, b"key", b"request")
    await repository.claim_key(connection, b"key", b"request")
    booking = uuid.UUID(int=2)
    row = REHEARSAL.row(BOOKINGS) | {"id": booking, "staff_id": "another", "test_run": "rehearsal"}
    await repository.insert_booking(connection, {name: value for name, value in row.items() if name != "status"})
    await repository.settle_key(connection, b"key", status=201, answer={"id": str(booking)}, sealed_token=b"token", booking_id=booking)
    await repository.busy_periods(connection, START, END)
    await repository.busy_periods(connection, START, END, ["another"])
    await repository.read_booking(connection, booking)
    await repository.read_booking(connection, booking, lock=True)
    await repository.cancel_booking(connection, booking)
    await repository.made_by_day(connection, "UTC", START)
    await _customers(OneConnection(connection))
    await repository.purge_test_run(connection, "rehearsal")
    await repository.purge_stale(connection, END, END)


async def _customers(engine: OneConnection) -> None:
    """What the service does with customers' data and the wrapped keys, through the code that does it."""
    from barberpro_service.encryption import StoredKey

    keys = BookingKeys(cast(Any, engine))
    await keys.add(StoredKey(uuid.UUID(int=3), "fields", "vault:v1:another", START))
    await keys.all()
    await keys.replace(uuid.UUID(int=3), "vault:v1:another", "vault:v2:another")
    customers = Customers(cast(Any, engine), cast(Any, Seals()))
    await customers.status()
    await customers.seal_plain()
    async for _line in customers.exported():
        pass


REHEARSAL = Rehearsal("booking", MIGRATIONS, METADATA, SAMPLES, queries)

if __name__ == "__main__":
    sys.exit(main(REHEARSAL))
