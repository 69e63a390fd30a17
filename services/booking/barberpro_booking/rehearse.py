"""`python -m barberpro_booking.rehearse`: whether this code works on a schema that a newer image has migrated."""

from __future__ import annotations

import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from barberpro_booking import repository
from barberpro_booking.migrations import MIGRATIONS
from barberpro_booking.tables import BOOKINGS, METADATA
from barberpro_service.rehearsal import Rehearsal, main

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
END = START + timedelta(minutes=30)
# What the constraints of the tables want; every other column gets any value of its type.
SAMPLES: dict[str, dict[str, Any]] = {
    "bookings": {"status": "confirmed", "starts_at": START, "ends_at": END, "test_run": None, "cancelled_at": None},
    "idempotency_keys": {"booking_id": None},
}


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
    await repository.purge_test_run(connection, "rehearsal")
    await repository.purge_stale(connection, END, END)


REHEARSAL = Rehearsal("booking", MIGRATIONS, METADATA, SAMPLES, queries)

if __name__ == "__main__":
    sys.exit(main(REHEARSAL))
