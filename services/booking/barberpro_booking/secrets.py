"""Tokens and keys: what the database holds is useless without what the customer holds."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from typing import Any

TOKEN_BYTES = 32


def new_token() -> str:
    """A customer's token for one booking: 64 hexadecimal digits."""
    return secrets.token_hex(TOKEN_BYTES)


def digest(text: str) -> bytes:
    """SHA-256 of a token or key. Tokens are random, so no slow hash is needed."""
    return hashlib.sha256(text.encode()).digest()


def matches(token: str, stored: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(digest(token), stored)


def request_digest(body: dict[str, Any], test_run: str | None) -> bytes:
    """Fingerprint of what an idempotency key was used for; keyed by nothing, but hashed: the body is personal."""
    return digest(json.dumps([body, test_run], sort_keys=True, separators=(",", ":")))


def _pad(key: str, booking_id: str) -> bytes:
    return hmac.digest(key.encode(), b"barberpro booking token " + booking_id.encode(), "sha256")


def seal(token: str, key: str, booking_id: str) -> bytes:
    """Hide a token so that only who sends the idempotency key again gets it back.

    A repeated request must get the same answer, token included, yet the database must not hold the token. The pad is
    derived from the key, which is stored as a hash only, and from the booking's id, so it is used once.
    """
    return bytes(a ^ b for a, b in zip(bytes.fromhex(token), _pad(key, booking_id), strict=True))


def unseal(sealed: bytes, key: str, booking_id: str) -> str:
    """The token that `seal` hid."""
    return bytes(a ^ b for a, b in zip(sealed, _pad(key, booking_id), strict=True)).hex()
