"""Everything that the service asks of the database, each function on a connection whose transaction the caller ends."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from barberpro_booking.tables import BOOKINGS, BUSINESS_SETTINGS, IDEMPOTENCY_KEYS, PERSONAL
from barberpro_service.hours import Period

NOBODY = dict.fromkeys((*PERSONAL, *(f"{name}_sealed" for name in PERSONAL)))


@dataclass(frozen=True)
class StoredSettings:
    """The settings document with its etag."""

    document: dict[str, Any]
    etag: str


def etag_of(document: dict[str, Any]) -> str:
    """Equal documents have equal etags, whatever the order of their keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


async def read_settings(connection: AsyncConnection, lock: bool = False) -> StoredSettings | None:
    """The settings in force; None before the first ones were loaded. `lock` holds the row until the transaction ends."""
    query = select(BUSINESS_SETTINGS.c.document, BUSINESS_SETTINGS.c.etag)
    row = (await connection.execute(query.with_for_update() if lock else query)).first()
    return StoredSettings(row.document, row.etag) if row else None


async def write_settings(connection: AsyncConnection, document: dict[str, Any]) -> bool:
    """Store a document; returns whether that changed anything."""
    etag = etag_of(document)
    statement = upsert(BUSINESS_SETTINGS).values(id=1, document=document, etag=etag)
    statement = statement.on_conflict_do_update(
        index_elements=["id"],
        set_={"document": document, "etag": etag, "updated_at": func.now()},
        where=BUSINESS_SETTINGS.c.etag != etag,
    )
    result = await connection.execute(statement.returning(BUSINESS_SETTINGS.c.id))
    return result.first() is not None


async def busy_periods(
    connection: AsyncConnection, start: datetime, end: datetime, staff: Sequence[str] | None = None
) -> dict[str, list[Period]]:
    """Confirmed bookings that overlap [start, end), by staff id."""
    query = select(BOOKINGS.c.staff_id, BOOKINGS.c.starts_at, BOOKINGS.c.ends_at).where(
        BOOKINGS.c.status == "confirmed", BOOKINGS.c.starts_at < end, BOOKINGS.c.ends_at > start
    )
    if staff is not None:
        query = query.where(BOOKINGS.c.staff_id.in_(staff))
    busy: dict[str, list[Period]] = defaultdict(list)
    for row in await connection.execute(query.order_by(BOOKINGS.c.starts_at)):
        busy[row.staff_id].append((row.starts_at, row.ends_at))
    return dict(busy)


async def starts_after(connection: AsyncConnection, moment: datetime) -> list[datetime]:
    """When the confirmed bookings of customers begin that are still to come, in order."""
    query = select(BOOKINGS.c.starts_at).where(BOOKINGS.c.status == "confirmed", BOOKINGS.c.test_run.is_(None), BOOKINGS.c.starts_at > moment)
    return list((await connection.execute(query.order_by(BOOKINGS.c.starts_at))).scalars())


async def claim_key(connection: AsyncConnection, key_hash: bytes, request_hash: bytes) -> Row[Any] | None:
    """Claim an idempotency key: None when it is ours now, else the row of who used it first.

    A concurrent request with the same key waits here until the first one's transaction has ended.
    """
    statement = upsert(IDEMPOTENCY_KEYS).values(key_hash=key_hash, request_hash=request_hash)
    claimed = await connection.execute(statement.on_conflict_do_nothing().returning(IDEMPOTENCY_KEYS.c.key_hash))
    if claimed.first() is not None:
        return None
    query = select(IDEMPOTENCY_KEYS).where(IDEMPOTENCY_KEYS.c.key_hash == key_hash)
    return (await connection.execute(query)).one()


async def settle_key(connection: AsyncConnection, key_hash: bytes, **values: Any) -> None:
    """Record the answer (`status`, `answer`, `sealed_token`, `booking_id`) that a repeated request will get."""
    await connection.execute(update(IDEMPOTENCY_KEYS).where(IDEMPOTENCY_KEYS.c.key_hash == key_hash).values(**values))


async def insert_booking(connection: AsyncConnection, values: dict[str, Any]) -> bool:
    """Insert a booking; False when the exclusion constraint says that the staff member is taken.

    ON CONFLICT makes PostgreSQL check before it keeps the row, so that rivals for a slot do not deadlock.
    """
    statement = upsert(BOOKINGS).values(**values, status="confirmed").on_conflict_do_nothing().returning(BOOKINGS.c.id)
    return (await connection.execute(statement)).first() is not None


async def read_booking(connection: AsyncConnection, booking_id: uuid.UUID, lock: bool = False) -> Row[Any] | None:
    """One booking."""
    query = select(BOOKINGS).where(BOOKINGS.c.id == booking_id)
    return (await connection.execute(query.with_for_update() if lock else query)).first()


async def cancel_booking(connection: AsyncConnection, booking_id: uuid.UUID) -> None:
    """Cancel: the slot is free again, and who booked it is nobody's business any more."""
    await connection.execute(
        update(BOOKINGS)
        .where(BOOKINGS.c.id == booking_id)
        .values(status="cancelled", cancelled_at=func.now(), **NOBODY)
    )


async def made_by_day(connection: AsyncConnection, zone: str, since: datetime) -> dict[date, int]:
    """How many bookings customers made on each day of a time zone, cancelled ones too; days without any are left out."""
    day = func.date(func.timezone(zone, BOOKINGS.c.created_at)).label("day")
    query = select(day, func.count()).where(BOOKINGS.c.test_run.is_(None), BOOKINGS.c.created_at >= since).group_by(day)
    return {row[0]: row[1] for row in await connection.execute(query)}


async def purge_test_run(connection: AsyncConnection, run_id: str) -> int:
    """Delete what a test run booked, cancelled or not; returns how many bookings that were."""
    result = await connection.execute(delete(BOOKINGS).where(BOOKINGS.c.test_run == run_id).returning(BOOKINGS.c.id))
    return len(result.all())


async def purge_stale(connection: AsyncConnection, keys_before: datetime, tests_before: datetime) -> tuple[int, int]:
    """Forget old idempotency keys and bookings of test runs that never cleaned up; returns how many of each."""
    tests = await connection.execute(
        delete(BOOKINGS)
        .where(BOOKINGS.c.test_run.is_not(None), BOOKINGS.c.created_at < tests_before)
        .returning(BOOKINGS.c.id)
    )
    keys = await connection.execute(
        delete(IDEMPOTENCY_KEYS)
        .where(IDEMPOTENCY_KEYS.c.created_at < keys_before)
        .returning(IDEMPOTENCY_KEYS.c.key_hash)
    )
    return len(keys.all()), len(tests.all())
