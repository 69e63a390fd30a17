"""`python -m barberpro_booking.rehearse`: whether this code works on a schema that a newer image has migrated."""

from __future__ import annotations

import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from barberpro_booking import repository
from barberpro_booking.migrations import MIGRATIONS
from barberpro_booking.tables import BOOKINGS, METADATA, PERSONAL
from barberpro_service.personal.rehearse import SAMPLE, personal_queries
from barberpro_service.rehearsal import OneConnection, Rehearsal, expect, main

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
END = START + timedelta(minutes=30)
# What the constraints of the tables want; every other column gets any value of its type.
SAMPLES: dict[str, dict[str, Any]] = {
    "bookings": {"status": "confirmed", "starts_at": START, "ends_at": END, "test_run": None, "cancelled_at": None},
    "idempotency_keys": {"booking_id": None},
    "data_keys": SAMPLE,
}


async def queries(connection: AsyncConnection) -> None:
    """Every query of the service, with rows to find."""
    await repository.read_settings(connection)
    await repository.write_settings(connection, {"name": "rehearsal"})
    await repository.read_settings(connection, lock=True)
    booked = await _bookings(connection)
    await _keys(connection, booked)
    await repository.busy_periods(connection, START, END)
    await repository.busy_periods(connection, START, END, ["another"])
    await repository.starts_after(connection, START)
    await repository.read_booking(connection, booked)
    await repository.read_booking(connection, booked, lock=True)
    await repository.cancel_booking(connection, booked)
    await repository.made_by_day(connection, "UTC", START)
    await personal_queries(OneConnection(connection), BOOKINGS, PERSONAL)
    await repository.purge_test_run(connection, "rehearsal")
    await repository.purge_stale(connection, END, END)


async def _bookings(connection: AsyncConnection) -> uuid.UUID:
    """Book whatever may be booked beside each other, so that everything repeats which this code lets repeat; returns a booking of a test run.

    Beside the row that is there: the same staff member, service and customer at another time; the same time with somebody else; and a
    slot anew that was cancelled.
    """
    row = REHEARSAL.row(BOOKINGS)
    beside = {**row, "starts_at": END, "ends_at": END + (END - START)}
    taken = {**row, "staff_id": "another", "test_run": "rehearsal"}
    await _book(connection, 2, beside)
    await _book(connection, 3, taken)
    await repository.cancel_booking(connection, uuid.UUID(int=3))
    return await _book(connection, 4, taken)


async def _book(connection: AsyncConnection, number: int, row: dict[str, Any]) -> uuid.UUID:
    """Insert one booking, whose id, token and sealed values are never those of another; returns its id."""
    own: dict[str, Any] = {"id": uuid.UUID(int=number)}
    own |= {name: f"{name} {number}".encode() for name in ("token_hash", "customer_name_sealed", "customer_phone_sealed")}
    values = {name: value for name, value in (row | own).items() if name != "status"}
    expect(
        await repository.insert_booking(connection, values), "insert_booking",
        f"a booking of {row['staff_id']} at {row['starts_at']:%H:%M} is taken for a double booking, which it is not",
    )
    return uuid.UUID(int=number)


async def _keys(connection: AsyncConnection, booking: uuid.UUID) -> None:
    """Claim one key twice, and another for the same request; answer both alike."""
    for key in (b"key", b"key", b"another"):
        await repository.claim_key(connection, key, b"request")
    for key, booked in ((b"key", booking), (b"another", uuid.UUID(int=2))):
        await repository.settle_key(connection, key, status=201, answer={"id": str(booking)}, sealed_token=key, booking_id=booked)


REHEARSAL = Rehearsal("booking", MIGRATIONS, METADATA, SAMPLES, queries)

if __name__ == "__main__":
    sys.exit(main(REHEARSAL))
