"""Customers' names and telephone numbers at rest: sealed under the tenant's own key where there is one, plain otherwise."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from barberpro_booking.tables import BOOKINGS, DATA_KEYS
from barberpro_service.errors import KeysUnavailable

if TYPE_CHECKING:
    # Only a pod that has a key loads the library: it costs a pod of 0.2 CPU a second.
    from barberpro_service.encryption import DataKeys, StoredKey

MISSING = "no key is mounted; set platform_vault in the inventory, run deploy_platform.yml, then deploy the tenant again (deploy_vertical.yml)"
NAME, PHONE = "bookings.customer_name", "bookings.customer_phone"
BATCH = 200


class BookingKeys:
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


@dataclass(frozen=True)
class Customers:
    """What the service does with names and numbers; without `keys` they are stored as they come."""

    engine: AsyncEngine
    keys: DataKeys | None

    async def columns(self, booking_id: uuid.UUID, name: str, phone: str) -> dict[str, Any]:
        """The columns of a booking for a customer. Asks Vault at most once an hour; raises KeysUnavailable."""
        if self.keys is None:
            return {"customer_name": name, "customer_phone": phone}
        record = str(booking_id)
        return {
            "customer_name_sealed": await self.keys.seal(record, NAME, name),
            "customer_phone_sealed": await self.keys.seal(record, PHONE, phone),
        }

    async def digests(self, plain: bytes) -> tuple[bytes, ...]:
        """Fingerprints of a request by which a repeated one is known, the one to store first.

        With a key it is a blind index: nobody can find the number by trying all numbers. The unkeyed one is what an older revision stored.
        """
        return (plain,) if self.keys is None else (await self.keys.index("bookings.request", plain.hex()), plain)

    async def opened(self, row: Row[Any]) -> tuple[str | None, str | None]:
        """Name and number of a booking, from whichever columns hold them. Raises KeysUnavailable and SealError."""
        name, phone = row.customer_name, row.customer_phone
        if self.keys is None:
            if row.customer_name_sealed is not None or row.customer_phone_sealed is not None:
                raise KeysUnavailable(f"the customer of booking {row.id} is sealed, and {MISSING}")
            return name, phone
        if row.customer_name_sealed is not None:
            name = await self.keys.open(str(row.id), NAME, row.customer_name_sealed)
        if row.customer_phone_sealed is not None:
            phone = await self.keys.open(str(row.id), PHONE, row.customer_phone_sealed)
        return name, phone

    async def check(self) -> str:
        """Readiness check: customers are stored as this tenant's are. Raises KeysUnavailable."""
        if self.keys is not None:
            return await self.keys.check()
        async with self.engine.connect() as connection:
            made = await connection.scalar(select(func.count()).select_from(DATA_KEYS))
        if made:
            raise KeysUnavailable(f"this tenant's customers are sealed (data_keys has {made} rows), and {MISSING}")
        return "customers are stored as they come: the tenant has no data keys"

    async def seal_plain(self, batch: int = BATCH) -> int:
        """Seal what an older revision, or one without a key, has written plain; returns how many bookings that were.

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
            query = select(BOOKINGS).where(_plain()).limit(batch).with_for_update(skip_locked=True)
            rows = (await connection.execute(query)).all()
            for row in rows:
                values: dict[str, Any] = {"customer_name": None, "customer_phone": None}
                for column, name in (("customer_name", NAME), ("customer_phone", PHONE)):
                    plain = getattr(row, column)
                    if plain is not None:
                        values[f"{column}_sealed"] = await self.keys.seal(str(row.id), name, plain)
                await connection.execute(update(BOOKINGS).where(BOOKINGS.c.id == row.id).values(**values))
            return len(rows)

    async def status(self) -> dict[str, Any]:
        """How many bookings are sealed and how many plain, and by which versions of the tenant's key data keys are wrapped."""
        async with self.engine.connect() as connection:
            plain = await connection.scalar(select(func.count()).select_from(BOOKINGS).where(_plain()))
            sealed = await connection.scalar(select(func.count()).select_from(BOOKINGS).where(BOOKINGS.c.customer_name_sealed.is_not(None)))
            wrapped = (await connection.execute(select(DATA_KEYS.c.wrapped))).scalars().all()
        versions = sorted({int(wrapping.split(":", 2)[1].removeprefix("v")) for wrapping in wrapped})
        return {"encrypting": self.keys is not None, "plain": plain, "sealed": sealed, "data_keys": len(wrapped), "versions": versions}

    async def exported(self, batch: int = BATCH) -> AsyncIterator[bytes]:
        """Every booking, one JSON object a line, customers in the clear; in the order of their ids. Raises KeysUnavailable and SealError."""
        last: uuid.UUID | None = None
        while True:
            query = select(BOOKINGS).order_by(BOOKINGS.c.id).limit(batch)
            async with self.engine.connect() as connection:
                rows = (await connection.execute(query if last is None else query.where(BOOKINGS.c.id > last))).all()
            for row in rows:
                name, phone = await self.opened(row)
                hidden = ("token_hash", "customer_name_sealed", "customer_phone_sealed")
                values = {key: value for key, value in row._asdict().items() if key not in hidden}
                yield json.dumps({**values, "customer_name": name, "customer_phone": phone}, default=str, ensure_ascii=False).encode() + b"\n"
            if len(rows) < batch:
                return
            last = rows[-1].id


def _plain() -> Any:
    return or_(BOOKINGS.c.customer_name.is_not(None), BOOKINGS.c.customer_phone.is_not(None))
