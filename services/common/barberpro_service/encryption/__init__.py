"""Personal fields and files under the tenant's own key: envelope encryption with Vault's transit engine.

Data keys (AES-256) encrypt, Vault wraps the data keys, and only wrapped ones are stored. Where the pod has no key mounted there is no
encryption: `transit_from` returns None and a service stores its fields as they come.
"""

from __future__ import annotations

from barberpro_service.encryption.envelope import Context, DataKey, blind_index, key_of, open_sealed, seal
from barberpro_service.encryption.keys import DataKeys, KeyStore, StoredKey
from barberpro_service.encryption.vault import Transit, Wrapper, transit_from
from barberpro_service.errors import KeysUnavailable, SealError

__all__ = [
    "Context",
    "DataKey",
    "DataKeys",
    "KeyStore",
    "KeysUnavailable",
    "SealError",
    "StoredKey",
    "Transit",
    "Wrapper",
    "blind_index",
    "key_of",
    "open_sealed",
    "seal",
    "transit_from",
]
