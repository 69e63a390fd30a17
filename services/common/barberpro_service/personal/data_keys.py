"""The tenant's wrapped data keys: the table that all its services share, and how a pod comes to use them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Column, DateTime, MetaData, String, Table, Uuid, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from barberpro_service.config import Environment
from barberpro_service.logs import logger

if TYPE_CHECKING:
    from barberpro_service.encryption import DataKeys, StoredKey

LOG = logger(__name__)

DATA_KEYS = Table(
    "data_keys",
    MetaData(),
    Column("id", Uuid, primary_key=True),
    Column("purpose", String, nullable=False),
    Column("wrapped", String, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

# What the services' migrations execute. Whichever comes first makes the table; it is one for all, so that a rotation and a restore know one.
CREATE = (
    """
    CREATE TABLE IF NOT EXISTS data_keys (
        id uuid PRIMARY KEY,
        purpose text NOT NULL CHECK (purpose IN ('fields', 'index')),
        wrapped text NOT NULL,
        created_at timestamptz NOT NULL
    )
    """,
    # The key of the blind indexes never changes: what was indexed with it could not be found again.
    "CREATE UNIQUE INDEX IF NOT EXISTS data_keys_one_index ON data_keys (purpose) WHERE purpose = 'index'",
)


class KeyTable:
    """The table of wrapped data keys, as the encryption library wants it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def all(self) -> Sequence[StoredKey]:
        """Every key, oldest first."""
        from barberpro_service.encryption import StoredKey

        async with self.engine.connect() as connection:
            rows = await connection.execute(select(DATA_KEYS).order_by(DATA_KEYS.c.created_at, DATA_KEYS.c.id))
            return [StoredKey(row.id, row.purpose, row.wrapped, row.created_at) for row in rows]

    @asynccontextmanager
    async def making(self) -> AsyncIterator[Callable[[StoredKey], Awaitable[None]]]:
        """Held while a key is made; what it gives keeps the key. A second one for indexes is dropped."""
        async with self.engine.begin() as connection:
            await connection.execute(text(f"LOCK TABLE {DATA_KEYS.name} IN ROW EXCLUSIVE MODE"))

            async def keep(key: StoredKey) -> None:
                values = {"id": key.id, "purpose": key.purpose, "wrapped": key.wrapped, "created_at": key.created_at}
                await connection.execute(upsert(DATA_KEYS).values(values).on_conflict_do_nothing())

            yield keep

    async def made(self) -> None:
        """Wait for every key that is being made."""
        async with self.engine.begin() as connection:
            await connection.execute(text(f"LOCK TABLE {DATA_KEYS.name} IN SHARE MODE"))

    async def replace(self, key_id: uuid.UUID, old: str, new: str) -> None:
        """Put another wrapping in the place of `old`."""
        async with self.engine.begin() as connection:
            await connection.execute(update(DATA_KEYS).where(DATA_KEYS.c.id == key_id, DATA_KEYS.c.wrapped == old).values(wrapped=new))


@asynccontextmanager
async def data_keys(environment: Environment, engine: AsyncEngine) -> AsyncIterator[DataKeys | None]:
    """The tenant's data keys, let go at the end; None where no key is mounted. Raises ConfigError for a key that is mounted badly."""
    if not environment.encryption_dir.is_dir():
        LOG.warning("customers are stored as they come: no key is mounted", path=str(environment.encryption_dir))
        yield None
        return
    from barberpro_service import encryption

    transit = encryption.transit_from(environment.encryption_dir)
    if transit is None:
        yield None
        return
    try:
        yield encryption.DataKeys(environment.tenant, KeyTable(engine), transit)
    finally:
        await transit.close()
