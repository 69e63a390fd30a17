"""What a rehearsal asks of personal fields and wrapped keys, through the code that does it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Table

from barberpro_service.personal.data_keys import KeyTable
from barberpro_service.personal.fields import Personal
from barberpro_service.rehearsal import OneConnection

# What the constraint of the table wants.
SAMPLE = {"purpose": "fields", "wrapped": "vault:v1:rehearsal"}


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


async def personal_queries(engine: OneConnection, table: Table, names: tuple[str, ...]) -> None:
    """Every query about the personal columns of a table and about the tenant's data keys, with rows to find."""
    from barberpro_service.encryption import StoredKey

    keys = KeyTable(cast(Any, engine))
    async with keys.making() as keep:
        await keep(StoredKey(uuid.UUID(int=3), "fields", "vault:v1:another", datetime(2026, 1, 1, tzinfo=UTC)))
    await keys.made()
    await keys.all()
    await keys.replace(uuid.UUID(int=3), "vault:v1:another", "vault:v2:another")
    personal = Personal(cast(Any, engine), cast(Any, Seals()), table, names)
    await personal.status()
    await personal.seal_plain()
    async for _line in personal.exported():
        pass
    await personal.forget(table.c.created_at < datetime(2027, 1, 1, tzinfo=UTC))
