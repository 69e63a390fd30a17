"""The ledger of what a tenant has used: amounts by day and measure, in a table that all tenants share.

Rows carry no tenant here: the server writes it from who has logged in, and shows each tenant its own rows alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

from sqlalchemy import BigInteger, Column, Date, FetchedValue, MetaData, String, Table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

LOOK_BACK = timedelta(days=35)
"""How far back amounts are counted anew: a service that was away for a month has missed nothing."""

USAGE = Table(
    "usage",
    MetaData(),
    Column("tenant", String, primary_key=True, server_default=FetchedValue()),
    Column("day", Date, primary_key=True),
    Column("measure", String, primary_key=True),
    Column("amount", BigInteger, nullable=False),
    schema="shared",
)


async def record(connection: AsyncConnection, measure: str, amounts: Mapping[date, int]) -> int:
    """Enter the amount of each day, which replaces what was there; returns how many rows that changed."""
    if not amounts:
        return 0
    statement = insert(USAGE).values([{"day": day, "measure": measure, "amount": amount} for day, amount in amounts.items()])
    statement = statement.on_conflict_do_update(
        index_elements=["tenant", "day", "measure"],
        set_={"amount": statement.excluded.amount},
        where=USAGE.c.amount != statement.excluded.amount,
    )
    return len((await connection.execute(statement.returning(USAGE.c.day))).all())
