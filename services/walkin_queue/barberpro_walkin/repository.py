"""Everything that the queue asks of the database, each function on a connection whose transaction the caller ends."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from barberpro_walkin.tables import DAYS, TICKETS

ACTIVE = ("serving", "called", "waiting")


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
    """Delete test tickets that no run cleaned up, and forget the names of past days; returns how many of each."""
    tests = await connection.execute(
        delete(TICKETS).where(TICKETS.c.test_run.is_not(None), TICKETS.c.created_at < tests_before).returning(TICKETS.c.id)
    )
    names = await connection.execute(
        update(TICKETS).where(TICKETS.c.customer_name.is_not(None), TICKETS.c.day < day_before).values(customer_name=None).returning(TICKETS.c.id)
    )
    return len(tests.all()), len(names.all())
