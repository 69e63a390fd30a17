# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of an offboarding: what was there, what was destroyed and when, signed by a key that never leaves Vault."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._remove import hold_of
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, SYSTEM_NAMESPACE, TENANT_LABEL, Ref, Resources
from ansible_collections.barberpro.platform.plugins.module_utils._transaction import Transaction
from ansible_collections.barberpro.platform.plugins.module_utils._vault import Vault
from ansible_collections.barberpro.platform.plugins.module_utils._vault_setup import RECORDS_KEY

LEFT_KINDS = (("v1", "ConfigMap"), ("v1", "Secret"), ("coordination.k8s.io/v1", "Lease"))
SIGNATURE = "record.sig.b64"
_HEADER = bytes.fromhex("302a300506032b6570032100")  # what precedes the 32 bytes of an Ed25519 key in RFC 8410


def text_of(document: Mapping[str, Any]) -> bytes:
    """Return the bytes that are signed. Pure."""
    return (json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def public_key(vault: Vault) -> bytes:
    """Return the public key of records, PEM. Raises VaultError."""
    key = (vault.read(f"{vault.facts['transit']}/keys/{RECORDS_KEY}") or {}).get("data") or {}
    if not key:
        raise PlatformError(f"{vault.where} has no key {RECORDS_KEY}; run deploy_platform.yml, or make it (type ed25519)")
    raw = base64.b64decode(key["keys"][str(key["latest_version"])]["public_key"])
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(_HEADER + raw) + b"\n-----END PUBLIC KEY-----\n"


def sign(vault: Vault, text: bytes) -> bytes:
    """Return the signature, 64 bytes. Raises VaultError."""
    answer = vault.write(f"{vault.facts['transit']}/sign/{RECORDS_KEY}", {"input": base64.b64encode(text).decode()})
    return base64.b64decode(str(answer["data"]["signature"]).rpartition(":")[2])


class Offboarding:
    """One tenant's offboarding: a ConfigMap of the system namespace that outlives the tenant."""

    def __init__(self, client: Client, tenant: str) -> None:
        self.resources = Resources(client)
        self.tenant = tenant
        self.ref = Ref("v1", "ConfigMap", SYSTEM_NAMESPACE, f"offboarding-{tenant}")
        self.stored: dict[str, Any] | None = self.resources.get(self.ref)

    def document(self) -> dict[str, Any]:
        """Return the record as far as it goes; an empty one before anything was done, and anew when the name came back to life."""
        found: dict[str, Any] = json.loads(self.stored["data"]["record.json"]) if self.stored else {}
        return found

    def now(self) -> str:
        """Return the API server's time."""
        return datetime.fromtimestamp(self.resources.client.now(), UTC).isoformat(timespec="seconds")

    def save(self, document: Mapping[str, Any], **more: str) -> None:
        """Keep the record. Raises PlatformError."""
        # Without the label of the tenant: what bears it goes with the tenant.
        labels = {"app.kubernetes.io/managed-by": PREFIX, f"{PREFIX}/record": "offboarding"}
        body: dict[str, Any] = {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": self.ref.name, "namespace": self.ref.namespace, "labels": labels},
            "data": {"record.json": text_of(document).decode(), **more},
        }  # fmt: skip
        if self.stored is None:
            self.stored = self.resources.create(body)
        else:
            body["metadata"]["resourceVersion"] = self.stored["metadata"]["resourceVersion"]
            self.stored = self.resources.replace(body)

    def left(self) -> list[Ref]:
        """Return what the system namespace still holds of the tenant: history, reports, journal, lease, host names."""
        own = f"{TENANT_LABEL}={self.tenant}"
        return [
            Ref(version, kind, SYSTEM_NAMESPACE, item["metadata"]["name"])
            for version, kind in LEFT_KINDS
            for item in self.resources.list(version, kind, SYSTEM_NAMESPACE, labels=own)
        ]

    def inspect(self) -> dict[str, Any]:
        """Return what there is of the tenant in the cluster, and what the record says so far."""
        namespace = self.resources.get(Ref("v1", "Namespace", "", f"tenant-{self.tenant}"))
        annotations = ((namespace or {}).get("metadata") or {}).get("annotations") or {}
        return {
            # One that is going has no service any more that could export anything.
            "namespace": namespace is not None and not namespace["metadata"].get("deletionTimestamp"),
            "hold": hold_of(namespace),
            "host": str(annotations.get(f"{PREFIX}/host") or ""),
            "left": [str(ref) for ref in self.left()],
            "record": self.document(),
            "signed": bool(self.stored and self.stored["data"].get(SIGNATURE)),
        }


def converge(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what the module is asked and return its result. Raises PlatformError."""
    offboarding = Offboarding(client, str(options["name"]))
    state = str(options["state"])
    if state == "inspected" or check_mode:
        return {"changed": state == "swept" and bool(offboarding.left()), **offboarding.inspect()}
    transaction = Transaction(offboarding.resources, offboarding.tenant, options.get("run"))
    if transaction.active:
        # What was done since the last note, and what comes after this one, is done by who has the lease.
        transaction.lease.renew()
    seen = offboarding.inspect()
    document = {} if state == "noted" and seen["signed"] else seen["record"]
    if state == "noted":
        document = document or {"tenant": options["name"], "began": offboarding.now(), "by": str(options["by"] or ""), "steps": []}
        others = [step for step in document["steps"] if step["step"] != options["step"]]
        document["steps"] = [*others, {"step": options["step"], "at": offboarding.now(), **(options["detail"] or {})}]
        offboarding.save(document)
    elif state == "swept":
        refs = _sweep(offboarding, transaction)
        return {"changed": bool(refs), **offboarding.inspect(), "removed": [str(ref) for ref in refs]}
    else:
        return {"changed": True, **_finish(client, offboarding, document, options)}
    return {"changed": True, **offboarding.inspect()}


def _sweep(offboarding: Offboarding, transaction: Transaction) -> list[Ref]:
    """Remove what is left of the tenant and return it: journal and lease last, so that until then every other run knows of this one. Raises Held."""
    transaction.lease.check()
    refs = offboarding.left()
    own = (transaction.journal.ref, transaction.lease.ref)
    for ref in refs:
        if ref not in own:
            transaction.lease.guard()
            offboarding.resources.delete(ref)
    transaction.forget()
    return refs


def _finish(client: Client, offboarding: Offboarding, document: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Sign the record, keep it in the cluster and write it beside the export."""
    document["ended"] = offboarding.now()
    files: dict[str, bytes] = {}
    if options["vault"]:
        vault = Vault(client, options["vault"])
        vault.login()
        files["record.pem"] = public_key(vault)
        document["signed_by"] = {"key": RECORDS_KEY, "public_key_sha256": hashlib.sha256(files["record.pem"]).hexdigest()}
        files["record.sig"] = sign(vault, text_of(document))
    text = text_of(document)
    more = {SIGNATURE: base64.b64encode(files["record.sig"]).decode(), "record.pem": files["record.pem"].decode()} if files else {SIGNATURE: "none"}
    offboarding.save(document, **more)
    folder = Path(str(options["path"]))
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, data in {"record.json": text, **files}.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise PlatformError(f"the record is kept in {offboarding.ref}, but cannot be written to {folder}: {error.strerror}; read it from there") from error
    return offboarding.inspect()
