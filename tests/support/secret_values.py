"""The secrets that a cluster holds, and where a text shows one."""

from __future__ import annotations

import base64
from pathlib import Path

from tests.support import cluster

# Keys of Secrets whose values nobody may see. The others (users, hosts, certificates, sets of released objects) are no secrets.
KEYS = {"password", "token", "key", "secret_id", "account.key", "tls.key", "hmac-secret"}


def found() -> dict[str, str]:
    """Return every secret value of tenants and platform, and that of the DNS server, by where it is kept; of a private key its longest line."""
    key_file = Path(cluster.facts()["dns"]["tsig_secret_file"])
    values = {str(key_file): key_file.read_text().strip()}
    for secret in cluster.objects("secrets", "--all-namespaces"):
        where = f"{secret['metadata']['namespace']}/{secret['metadata']['name']}"
        for key, value in (secret.get("data") or {}).items():
            if key in KEYS and value:
                raw = base64.b64decode(value)
                # What is no text is looked for as Secrets hold it.
                values[f"{where}:{key}"] = max(raw.decode().splitlines(), key=len) if raw.isascii() else value
    return values


def shown(text: str, values: dict[str, str]) -> list[str]:
    """Return where the secrets that appear in a text are kept, plain or in base64."""
    return [where for where, value in values.items() if value in text or base64.b64encode(value.encode()).decode() in text]
