"""Everything that the queue asks of the database, each function on a connection whose transaction the caller ends."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from barberpro_walkin.tables import DAYS, TICKETS

ACTIVE = ("serving", "called", "waiting")
# What a ticket has of a person. The fingerprint of the request is one of the name as well: whoever tries names finds it.
NOBODY = dict.fromkeys(("customer_name", "customer_name_sealed", "key_hash", "request_hash"))


async def next_number(connection: AsyncConnection, day: date) -> int:
    """Take the day's next number; who comes at the same moment waits for this transaction, so none is given twice."""
    statement = insert(DAYS).values(day=day, last_number=1)
    statement = statement.on_conflict_do_update(index_elements=["day"], set_={"last_number": DAYS.c.last_number + 1})
    return int((await connection.execute(statement.returning(DAYS.c.last_number))).scalar_one())


async def insert_ticket(connection: AsyncConnection, values: dict[str, Any]) -> bool:
    """Insert a ticket; False when its idempotency key was used before."""
    statement = insert(TICKETS).values(**values, status="waiting").on_conflict_do_nothing(index_elements=["key_hash"])
    return (await connection.execute(statement.returning(TICKETS.c.id))).first() is not None


async def by_key(connection: AsyncConnection, key_hash: bytes) -> Row[Any] | None:
    """The ticket that was made with an idempotency key."""
    return (await connection.execute(select(TICKETS).where(TICKETS.c.key_hash == key_hash))).first()


async def read(connection: AsyncConnection, ticket_id: uuid.UUID, lock: bool = False) -> Row[Any] | None:
    """One ticket."""
    query = select(TICKETS).where(TICKETS.c.id == ticket_id)
    return (await connection.execute(query.with_for_update() if lock else query)).first()


async def active(connection: AsyncConnection, day: date) -> Sequence[Row[Any]]:
    """The day's tickets that are not done, by number."""
    query = select(TICKETS).where(TICKETS.c.day == day, TICKETS.c.status.in_(ACTIVE)).order_by(TICKETS.c.number)
    return (await connection.execute(query)).all()


async def change(connection: AsyncConnection, ticket_id: uuid.UUID, **values: Any) -> None:
    """Change a ticket."""
    await connection.execute(update(TICKETS).where(TICKETS.c.id == ticket_id).values(**values))


async def purge_test_run(connection: AsyncConnection, run_id: str) -> int:
    """Delete a test run's tickets; returns how many there were."""
    result = await connection.execute(delete(TICKETS).where(TICKETS.c.test_run == run_id).returning(TICKETS.c.id))
    return len(result.all())


async def drawn_by_day(connection: AsyncConnection, since: date) -> dict[date, int]:
    """How many tickets customers took on each day; days without any are left out."""
    query = select(TICKETS.c.day, func.count()).where(TICKETS.c.test_run.is_(None), TICKETS.c.day >= since).group_by(TICKETS.c.day)
    return {row[0]: row[1] for row in await connection.execute(query)}


async def purge_stale(connection: AsyncConnection, tests_before: datetime, day_before: date) -> tuple[int, int]:
    """Delete test tickets that no run cleaned up, and forget who had the others; returns how many of each.

    That is whoever came on a past day or has gone, and a fingerprint without a key, of no use to anybody: an older revision leaves them.
    """
    tests = await connection.execute(
        delete(TICKETS).where(TICKETS.c.test_run.is_not(None), TICKETS.c.created_at < tests_before).returning(TICKETS.c.id)
    )
    gone = or_(TICKETS.c.day < day_before, TICKETS.c.status.not_in(ACTIVE))
    kept = or_(*(TICKETS.c[name].is_not(None) for name in NOBODY))
    keyless = and_(TICKETS.c.key_hash.is_(None), TICKETS.c.request_hash.is_not(None))
    names = await connection.execute(update(TICKETS).where(and_(gone, kept)).values(**NOBODY).returning(TICKETS.c.id))
    await connection.execute(update(TICKETS).where(keyless).values(request_hash=None))
    return len(tests.all()), len(names.all())
