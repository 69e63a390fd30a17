"""`python -m barberpro_walkin.rehearse`: whether this code works on a schema that a newer image has migrated."""

from __future__ import annotations

import sys
import uuid
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from barberpro_service.personal.rehearse import SAMPLE, personal_queries
from barberpro_service.rehearsal import OneConnection, Rehearsal, expect, main
from barberpro_walkin import repository
from barberpro_walkin.migrations import MIGRATIONS
from barberpro_walkin.tables import METADATA, PERSONAL, TICKETS

DAY = date(2026, 1, 2)
# What the constraints of the tables want; every other column gets any value of its type.
SAMPLES: dict[str, dict[str, Any]] = {"walkin_tickets": {"status": "waiting", "test_run": None}, "data_keys": SAMPLE}


async def queries(connection: AsyncConnection) -> None:
    """Every query of the service, with rows to find."""
    # Beside the row that is there: the same number on another day, and two tickets of one day.
    await _take(connection, 2, {"test_run": "rehearsal"})
    ticket = await _take(connection, 3, {"test_run": "rehearsal", "key_hash": b"key"})
    await _take(connection, 4, {"test_run": None})
    await repository.by_key(connection, b"key")
    await repository.read(connection, ticket)
    await repository.read(connection, ticket, lock=True)
    await repository.active(connection, DAY)
    await repository.drawn_by_day(connection, DAY)
    await personal_queries(OneConnection(connection), TICKETS, PERSONAL)
    await repository.change(connection, ticket, status="finished", ended_at=datetime(2026, 1, 2, tzinfo=UTC))
    await repository.purge_test_run(connection, "rehearsal")
    await repository.purge_stale(connection, datetime(2026, 1, 3, tzinfo=UTC), date(2026, 1, 3))


async def _take(connection: AsyncConnection, ticket: int, more: dict[str, Any]) -> uuid.UUID:
    """Take the day's next number; everything else is as in the other tickets, without a key unless `more` has one. Returns its id."""
    number = await repository.next_number(connection, DAY)
    row = REHEARSAL.row(TICKETS) | {"id": uuid.UUID(int=ticket), "day": DAY, "number": number, "key_hash": None} | more
    # A sealed value is never that of another ticket.
    row["customer_name_sealed"] = f"sealed {ticket}".encode()
    created = await repository.insert_ticket(connection, {name: value for name, value in row.items() if name != "status"})
    expect(created, "insert_ticket", f"ticket {number} is taken for one that was given before, which it is not")
    return uuid.UUID(int=ticket)


REHEARSAL = Rehearsal("walkin", MIGRATIONS, METADATA, SAMPLES, queries)

if __name__ == "__main__":
    sys.exit(main(REHEARSAL))
