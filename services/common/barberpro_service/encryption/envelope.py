"""One sealed value: AES-256-GCM under a data key, bound to whose it is and where it stands. Pure.

Layout: one byte version (1), 16 bytes id of the data key, 12 bytes nonce, ciphertext with its tag of 16 bytes. Tenant, record and field are
associated data, so a value that was moved to another row, column or tenant does not open.
"""

from __future__ import annotations

import hmac
import os
import uuid
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from barberpro_service.errors import SealError

VERSION = 1
KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_HEADER = 1 + 16


@dataclass(frozen=True)
class DataKey:
    """A data key in the clear; `key` (32 bytes) is kept out of repr()."""

    id: uuid.UUID
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Context:
    """Whose value it is and where it stands, for example ("barbershop-palermo", booking id, "bookings.customer_name")."""

    tenant: str
    record: str
    field: str

    def associated(self, key_id: uuid.UUID) -> bytes:
        """The bytes that are authenticated beside the value; lengths keep ("a", "bc") and ("ab", "c") apart."""
        parts = [bytes([VERSION]), key_id.bytes, self.tenant.encode(), self.record.encode(), self.field.encode()]
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def seal(key: DataKey, context: Context, value: bytes) -> bytes:
    """Encrypt a value. Each call draws a new nonce, so equal values look different; a key may seal 2**32 of them."""
    nonce = os.urandom(NONCE_BYTES)
    sealed = AESGCM(key.key).encrypt(nonce, value, context.associated(key.id))
    return bytes([VERSION]) + key.id.bytes + nonce + sealed


def key_of(sealed: bytes) -> uuid.UUID:
    """The id of the data key that a value was sealed with.

    Raises SealError for what is no sealed value.
    """
    if len(sealed) < _HEADER + NONCE_BYTES + TAG_BYTES or sealed[0] != VERSION:
        raise SealError(f"{len(sealed)} bytes are no sealed value of version {VERSION}; a newer revision may have written them")
    return uuid.UUID(bytes=bytes(sealed[1:_HEADER]))


def open_sealed(key: DataKey, context: Context, sealed: bytes) -> bytes:
    """Decrypt a value.

    Raises SealError when it is damaged or was sealed for another place.
    """
    if key_of(sealed) != key.id:
        raise SealError(f"{context.field} of record {context.record} was sealed with data key {key_of(sealed)}, not {key.id}")
    nonce, body = sealed[_HEADER : _HEADER + NONCE_BYTES], sealed[_HEADER + NONCE_BYTES :]
    try:
        return AESGCM(key.key).decrypt(bytes(nonce), bytes(body), context.associated(key.id))
    except InvalidTag:
        raise SealError(f"{context.field} of record {context.record} does not open: it is damaged, or was moved from elsewhere") from None


def blind_index(key: DataKey, purpose: str, value: str) -> bytes:
    """32 bytes by which equal values can be found without being known: HMAC-SHA-256 under a key of the tenant, apart by purpose."""
    text = purpose.encode()
    return hmac.digest(key.key, len(text).to_bytes(4, "big") + text + value.encode(), "sha256")
