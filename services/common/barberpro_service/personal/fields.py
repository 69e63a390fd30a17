"""The personal fields of one table: each is a text column and, beside it, NAME_sealed for the same under the tenant's key."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, LargeBinary, Row, Table, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from barberpro_service.errors import KeysUnavailable
from barberpro_service.lifecycle import Check, once
from barberpro_service.personal.data_keys import DATA_KEYS

if TYPE_CHECKING:
    from barberpro_service.encryption import DataKeys

MISSING = (
    "no key is mounted; set platform_vault in the inventory, run deploy_platform.yml, see that the workload says encryption: true, then deploy the tenant "
    "again (deploy_vertical.yml)"
)
BATCH = 200


@dataclass(frozen=True)
class Personal:
    """What a service does with the personal columns `names` of `table`, whose rows have an `id`; without `keys` they are stored as they come."""

    engine: AsyncEngine
    keys: DataKeys | None
    table: Table
    names: tuple[str, ...]

    async def columns(self, record: uuid.UUID, **values: str | None) -> dict[str, Any]:
        """The columns of a row for its personal values, by name. Asks Vault at most once an hour; raises KeysUnavailable."""
        if self.keys is None:
            return values
        return {f"{name}_sealed": await self.keys.seal(str(record), self._field(name), value) for name, value in values.items() if value is not None}

    async def digests(self, plain: bytes) -> tuple[bytes, ...]:
        """Fingerprints of a request by which a repeated one is known, the one to store first. Raises KeysUnavailable.

        With a key it is a blind index: nobody can find the values by trying all. The unkeyed one is what an older revision stored.
        """
        return (plain,) if self.keys is None else (await self.keys.index(self._field("request"), plain.hex()), plain)

    async def opened(self, row: Row[Any]) -> dict[str, str | None]:
        """The personal values of a row by name, from whichever columns hold them. Raises KeysUnavailable and SealError."""
        values: dict[str, str | None] = {}
        for name in self.names:
            sealed = getattr(row, f"{name}_sealed")
            if sealed is not None and self.keys is None:
                raise KeysUnavailable(f"row {row.id} of {self.table.name} is sealed, and {MISSING}")
            values[name] = getattr(row, name) if sealed is None or self.keys is None else await self.keys.open(str(row.id), self._field(name), sealed)
        return values

    def readiness(self) -> Check:
        """Readiness check: fields are stored as this tenant's are.

        A pod without a key is not asked again once it has passed: while a deploy turns encryption on, the new revision makes the first data
        key and the one before, which has none, serves on beside it.
        """
        return self.keys.check if self.keys is not None else once(self._nothing_sealed)

    async def _nothing_sealed(self) -> str:
        async with self.engine.connect() as connection:
            made = await connection.scalar(select(func.count()).select_from(DATA_KEYS))
        if made:
            raise KeysUnavailable(f"this tenant's customers are sealed (data_keys has {made} rows), and {MISSING}")
        return "customers are stored as they come: the tenant has no data keys"

    async def seal_plain(self, batch: int = BATCH) -> int:
        """Seal what an older revision, or one without a key, has written plain; returns how many rows that were.

        In batches, each a transaction that passes over rows in use, so that no customer waits.
        """
        sealed = 0
        while self.keys is not None and (done := await self._seal_batch(batch)) > 0:
            sealed += done
        return sealed

    async def _seal_batch(self, batch: int) -> int:
        assert self.keys is not None
        await self.keys.current()
        async with self.engine.begin() as connection:
            query = select(self.table).where(self._plain()).limit(batch).with_for_update(skip_locked=True)
            rows = (await connection.execute(query)).all()
            for row in rows:
                values = await self.columns(row.id, **{name: getattr(row, name) for name in self.names})
                await connection.execute(update(self.table).where(self.table.c.id == row.id).values(**dict.fromkeys(self.names), **values))
            return len(rows)

    async def forget(self, past: ColumnElement[bool], batch: int = BATCH) -> int:
        """Empty the personal columns, plain and sealed, of the rows that are `past`; returns how many rows that were.

        In batches, each a transaction that passes over rows in use, as `seal_plain` does. Asks no key.
        """
        forgotten = 0
        while (done := await self._forget_batch(past, batch)) > 0:
            forgotten += done
        return forgotten

    async def _forget_batch(self, past: ColumnElement[bool], batch: int) -> int:
        ids = self.table.c.id
        known = or_(self._plain(), self._sealed())
        some = select(ids).where(past, known).limit(batch).with_for_update(skip_locked=True)
        nobody = dict.fromkeys((*self.names, *(f"{name}_sealed" for name in self.names)))
        async with self.engine.begin() as connection:
            return len((await connection.execute(update(self.table).where(ids.in_(some)).values(**nobody).returning(ids))).all())

    async def status(self) -> dict[str, Any]:
        """How many rows are sealed and how many plain, and by which versions of the tenant's key data keys are wrapped."""
        async with self.engine.connect() as connection:
            plain = await connection.scalar(select(func.count()).select_from(self.table).where(self._plain()))
            sealed = await connection.scalar(select(func.count()).select_from(self.table).where(self._sealed()))
            wrapped = (await connection.execute(select(DATA_KEYS.c.wrapped))).scalars().all()
        versions = sorted({int(wrapping.split(":", 2)[1].removeprefix("v")) for wrapping in wrapped})
        return {"encrypting": self.keys is not None, "plain": plain, "sealed": sealed, "data_keys": len(wrapped), "versions": versions}

    async def exported(self, batch: int = BATCH) -> AsyncIterator[bytes]:
        """Every row, one JSON object a line, personal values in the clear; in the order of their ids. Raises KeysUnavailable and SealError.

        Columns of bytes are left out: what is sealed, and fingerprints.
        """
        last: uuid.UUID | None = None
        ids = self.table.c.id
        while True:
            query = select(self.table).order_by(ids).limit(batch)
            async with self.engine.connect() as connection:
                rows = (await connection.execute(query if last is None else query.where(ids > last))).all()
            for row in rows:
                values = {key: value for key, value in row._asdict().items() if not isinstance(self.table.c[key].type, LargeBinary)}
                yield json.dumps(values | await self.opened(row), default=str, ensure_ascii=False).encode() + b"\n"
            if len(rows) < batch:
                return
            last = rows[-1].id

    def _field(self, name: str) -> str:
        return f"{self.table.name}.{name}"

    def _plain(self) -> Any:
        return or_(*(self.table.c[name].is_not(None) for name in self.names))

    def _sealed(self) -> Any:
        return or_(*(self.table.c[f"{name}_sealed"].is_not(None) for name in self.names))
