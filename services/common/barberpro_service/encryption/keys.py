"""The data keys of one tenant: wrapped ones in a store, those in use in memory for an hour at most."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from barberpro_service.encryption.envelope import Context, DataKey, blind_index, key_of, open_sealed, seal
from barberpro_service.encryption.vault import Wrapper, version_of
from barberpro_service.errors import KeysUnavailable
from barberpro_service.logs import logger

LOG = logger(__name__)

FIELDS, INDEX = "fields", "index"
CACHE_SECONDS = 3600.0
"""For so long a data key is used without asking Vault again: a destroyed tenant key is of no use to a running pod after it."""
CHOICE_SECONDS = 60.0
"""For so long the key that seals is taken for the newest without a look at the store: a rotation by another pod is followed after it."""
RETRY_SECONDS = 30.0
KEY_LIFETIME = timedelta(days=30)
"""After this a new data key seals what is written; older ones go on opening what they sealed."""


@dataclass(frozen=True)
class StoredKey:
    """A wrapped data key as it is stored; `purpose` is FIELDS or INDEX."""

    id: uuid.UUID
    purpose: str
    wrapped: str
    created_at: datetime


class KeyStore(Protocol):
    """Where wrapped data keys are kept: a table of the tenant's schema."""

    async def all(self) -> Sequence[StoredKey]:
        """Every key, oldest first."""

    def making(self) -> AbstractAsyncContextManager[Callable[[StoredKey], Awaitable[None]]]:
        """Held from before a new key is wrapped until it is kept, which what it gives does.

        Of two first keys for INDEX one is kept: it must never change.
        """

    async def made(self) -> None:
        """Wait for every key that is being made."""

    async def replace(self, key_id: uuid.UUID, old: str, new: str) -> None:
        """Put another wrapping in the place of `old`; nothing happens when it is not `old` any more."""


@dataclass
class _Held:
    key: DataKey
    until: float


@dataclass
class DataKeys:
    """Seals and opens for one tenant. Safe for many tasks at once; Vault is not asked again for a key that is held."""

    tenant: str
    store: KeyStore
    wrapper: Wrapper
    _held: dict[uuid.UUID, _Held] = field(default_factory=dict)
    _current: dict[str, tuple[uuid.UUID, float]] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def current(self, purpose: str = FIELDS) -> DataKey:
        """The key that seals now (or the one for indexes), made when there is none.

        Raises KeysUnavailable. A key that is in memory is kept in use for RETRY_SECONDS more while Vault is away, again and again until its
        hour is over twice.
        """
        held = self._fresh(purpose)
        if held is not None:
            return held
        async with self._lock:
            held = self._fresh(purpose)
            if held is not None:
                return held
            try:
                return await self._choose(purpose)
            except KeysUnavailable as error:
                known = self._current.get(purpose)
                kept = self._held.get(known[0]) if known else None
                if kept is None or time.monotonic() > kept.until + CACHE_SECONDS:
                    raise
                LOG.warning("a data key goes on being used", reason=str(error))
                self._current[purpose] = (kept.key.id, time.monotonic() + RETRY_SECONDS)
                return kept.key

    def _fresh(self, purpose: str) -> DataKey | None:
        known = self._current.get(purpose)
        if known is None or time.monotonic() > known[1]:
            return None
        held = self._held.get(known[0])
        return held.key if held else None

    async def _choose(self, purpose: str) -> DataKey:
        stored = [key for key in await self.store.all() if key.purpose == purpose]
        young = [key for key in stored if purpose == INDEX or key.created_at > datetime.now(UTC) - KEY_LIFETIME]
        key = await self._unwrapped(young[-1]) if young else await self._new(purpose)
        self._current[purpose] = (key.id, time.monotonic() + CHOICE_SECONDS)
        return key

    async def _new(self, purpose: str) -> DataKey:
        async with self.store.making() as keep:
            plain, wrapped = await self.wrapper.generate()
            made = StoredKey(uuid.uuid4(), purpose, wrapped, datetime.now(UTC))
            await keep(made)
        if purpose == INDEX:
            # Another pod may have been first; there is one for ever.
            return await self._unwrapped(next(key for key in await self.store.all() if key.purpose == INDEX))
        return self._hold(DataKey(made.id, plain))

    def _hold(self, key: DataKey) -> DataKey:
        self._held[key.id] = _Held(key, time.monotonic() + CACHE_SECONDS)
        return key

    async def _unwrapped(self, stored: StoredKey) -> DataKey:
        held = self._held.get(stored.id)
        if held is not None and time.monotonic() < held.until:
            return held.key
        return self._hold(DataKey(stored.id, await self.wrapper.unwrap(stored.wrapped)))

    async def by_id(self, key_id: uuid.UUID) -> DataKey:
        """The key of that id.

        Raises KeysUnavailable when the store does not have it, or Vault does not unwrap it.
        """
        held = self._held.get(key_id)
        if held is not None and time.monotonic() < held.until:
            return held.key
        stored = next((key for key in await self.store.all() if key.id == key_id), None)
        if stored is None:
            raise KeysUnavailable(f"data key {key_id} is not in the store; restore the table data_keys from a backup")
        return await self._unwrapped(stored)

    async def seal(self, record: str, name: str, value: str) -> bytes:
        """Seal a text for a field of a record. Raises KeysUnavailable."""
        return seal(await self.current(), Context(self.tenant, record, name), value.encode())

    async def open(self, record: str, name: str, sealed: bytes) -> str:
        """Open what `seal` made for the same field of the same record. Raises KeysUnavailable and SealError."""
        return open_sealed(await self.by_id(key_of(sealed)), Context(self.tenant, record, name), sealed).decode()

    async def index(self, purpose: str, value: str) -> bytes:
        """The blind index of a value. Raises KeysUnavailable."""
        return blind_index(await self.current(INDEX), purpose, value)

    async def rewrap(self) -> tuple[int, int]:
        """Have every data key wrapped by the newest version of the tenant's key, and seal with a new one from now on; other pods within CHOICE_SECONDS.

        Returns how many were wrapped anew, and that version. Nothing that was sealed has to be touched. Raises KeysUnavailable.
        """
        version = await self.wrapper.version()
        # One that another pod had wrapped before that version was there would come into the store after a look at it, and never be unwrapped again.
        await self.store.made()
        outdated = [key for key in await self.store.all() if version_of(key.wrapped) < version]
        for key in outdated:
            await self.store.replace(key.id, key.wrapped, await self.wrapper.rewrap(key.wrapped))
        if any(key.purpose == FIELDS for key in outdated):
            fresh = await self._new(FIELDS)
            self._current[FIELDS] = (fresh.id, time.monotonic() + CHOICE_SECONDS)
        return len(outdated), version

    async def check(self) -> str:
        """Readiness check: a key to seal with is at hand."""
        return f"data key {(await self.current()).id}"
