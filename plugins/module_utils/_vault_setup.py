# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Initialise, unseal and configure the platform's own Vault. What is as it should be is not written again."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils import _vault_database
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, SYSTEM_NAMESPACE, Ref, Resources, digest
from ansible_collections.barberpro.platform.plugins.module_utils._vault import CREDENTIALS, NAMESPACE, Vault, VaultError

UNSEAL = "vault-unseal"
"""Secret of Vault's namespace with the one unseal key (``key``), base64 as Vault gives it; until then with when a run began to initialise (``begun``)."""
UNSEAL_REF = Ref("v1", "Secret", NAMESPACE, UNSEAL)
DEPLOYER_REF = Ref("v1", "Secret", SYSTEM_NAMESPACE, CREDENTIALS)
LOGIN_REF = Ref("v1", "Secret", NAMESPACE, "vault-database")
"""The password with which Vault connects to PostgreSQL."""
TOLD = f"{PREFIX}/told"
"""Annotation of that Secret: digest of the password that Vault was told last, because Vault tells none."""
KEEPING_SECONDS = 10.0
"""How long a run that has initialised Vault may need to keep the key."""
RECORDS_KEY = "barberpro-records"
TENANT_POLICY = "barberpro-tenant"
DEPLOYER = "barberpro-deployer"
KUBERNETES = "kubernetes"


def tenant_policy(transit: str, accessor: str) -> str:
    """Return the policy of every tenant: the key that bears the name of the caller's own namespace, and no other."""
    own = f"{{{{identity.entity.aliases.{accessor}.metadata.service_account_namespace}}}}"
    rules = {f"{transit}/keys/{own}": ["read"]} | {f"{transit}/{use}/{own}": ["update"] for use in ("datakey/plaintext", "decrypt", "rewrap")}
    return _policy(rules)


def deployer_policy(transit: str, auth: str, database: str) -> str:
    """Return the policy of the deployer: it makes, rotates and destroys keys of tenants, and can use none of them; it rotates their logins."""
    manage = ["create", "read", "update", "delete"]
    roles = f"auth/{auth}/role/tenant-*"
    rules = {
        f"{transit}/keys/tenant-*": manage,
        # The isolation report looks at who may use a key.
        f"{transit}/keys": ["list"],
        f"auth/{auth}/role": ["list"],
        f"sys/policies/acl/{TENANT_POLICY}": ["read"],
        f"{transit}/keys/{RECORDS_KEY}": ["read"],
        f"{transit}/sign/{RECORDS_KEY}": ["update"],
        f"{transit}/verify/{RECORDS_KEY}": ["update"],
        f"{database}/static-roles/t_*": manage,
        f"{database}/rotate-role/t_*": ["update"],
        f"{database}/static-creds/t_*": ["read"],
    }
    # Whatever it makes of a role, the role gives this policy alone: the key of the namespace that the caller comes from.
    limited = f'path "{roles}" {{\n  capabilities = {_list(manage)}\n  allowed_parameters = {{\n'
    limited += f'    "token_policies" = ["{TENANT_POLICY}"]\n'
    limited += "".join(f'    "{name}" = []\n' for name in ROLE_PARAMETERS) + "  }\n}\n"
    return _policy(rules) + limited


ROLE_PARAMETERS = ("bound_service_account_names", "bound_service_account_namespaces", "audience", "token_ttl", "token_max_ttl")


def _list(words: list[str]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def _policy(rules: Mapping[str, list[str]]) -> str:
    return "".join(f'path "{path}" {{\n  capabilities = {_list(can)}\n}}\n' for path, can in rules.items())


class Setup:
    """One run over one Vault; ``changed`` names what was written, or would be."""

    def __init__(self, client: Client, facts: Mapping[str, Any], plugins: Mapping[str, str], dry: bool) -> None:
        self.vault = Vault(client, facts)
        self.facts = facts
        self.resources = Resources(client)
        self.plugins = plugins
        self.dry = dry
        # How Vault asks whose token it was shown. A pod has the cluster's authority and a token of its own; a Vault elsewhere must be given them.
        self.reviewer: Mapping[str, Any] = {"kubernetes_host": "https://kubernetes.default.svc"}
        self.changed: list[str] = []

    def status(self, wait_timeout: float) -> dict[str, Any]:
        """Return Vault's seal status, waiting until it answers. Raises VaultError."""
        end = time.monotonic() + (0 if self.dry else wait_timeout)
        while True:
            try:
                found = self.vault.read("sys/seal-status")
                if found is not None:
                    return found
            except VaultError:
                if time.monotonic() > end:
                    raise
            time.sleep(0.5)

    def abandoned(self, status: Mapping[str, Any]) -> bool:
        """Return whether a killed run has initialised this Vault and kept no key, which Vault tells once: nobody can have opened it, nothing is in it.

        A run that is at work keeps the key at once, so it is given a moment. What was ever configured by us has given us credentials: that one is in use.
        """
        if not (status["initialized"] and status["sealed"]):
            return False
        end = time.monotonic() + KEEPING_SECONDS
        while True:
            held = (self.resources.get(UNSEAL_REF) or {}).get("data") or {}
            if held.get("key") or not held.get("begun") or self.resources.get(DEPLOYER_REF) is not None:
                return False
            if self.dry or time.monotonic() > end:
                return True
            time.sleep(0.5)

    def open(self, status: Mapping[str, Any]) -> str:
        """Initialise and unseal; returns the unseal key. Raises VaultError."""
        ref, stored = UNSEAL_REF, self.resources.get(UNSEAL_REF)
        key = base64.b64decode(stored["data"]["key"]).decode() if stored and (stored.get("data") or {}).get("key") else ""
        if not status["initialized"]:
            if key:
                raise VaultError(
                    f"{self.vault.where} is empty, but {ref} holds the key of an earlier one: its volume was lost or replaced. Restore the volume, or "
                    f"delete {ref} to begin anew, which gives up every key that was in it"
                )
            # Two runs at once: the one that comes second is refused here, before it could write over the key of the first.
            self._keep(ref, {"begun": datetime.now(UTC).isoformat(timespec="seconds")}, stored, unchanged=True)
            stored = self.resources.get(ref)
            key = self.vault.write("sys/init", {"secret_shares": 1, "secret_threshold": 1})["keys_base64"][0]
            self._keep(ref, {"key": key}, stored)
            self.changed.append("initialised")
            status = {**status, "sealed": True}
        if not key:
            raise VaultError(f"{self.vault.where} was initialised by somebody else: {ref} holds no key; put its unseal key there (key: key)")
        if status["sealed"]:
            self.vault.write("sys/unseal", {"key": key})
            self.changed.append("unsealed")
        return key

    def _keep(self, ref: Ref, values: Mapping[str, str], stored: Mapping[str, Any] | None, unchanged: bool = False) -> None:
        labels = {"app.kubernetes.io/managed-by": PREFIX, "app.kubernetes.io/part-of": PREFIX}
        version = {"resourceVersion": stored["metadata"]["resourceVersion"]} if unchanged and stored is not None else {}
        body = {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": ref.name, "namespace": ref.namespace, "labels": labels, **version},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
        }  # fmt: skip
        if stored is None:
            self.resources.create(body)
        else:
            self.resources.replace(body)

    def administrate(self, key: str, wait_timeout: float) -> None:
        """Make a root token of the unseal key for this run. Raises VaultError."""
        end = time.monotonic() + wait_timeout
        # A node that has just been unsealed first has to become the active one.
        while (self.vault.send("GET", "sys/health").status) != 200:
            if time.monotonic() > end:
                raise VaultError(f"{self.vault.where} does not become active; see its log")
            time.sleep(0.3)
        self.vault.send("DELETE", "sys/generate-root/attempt")
        attempt = self.vault.write("sys/generate-root/attempt")
        done = self.vault.write("sys/generate-root/update", {"key": key, "nonce": attempt["nonce"]})
        encoded = str(done["encoded_token"])
        raw = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
        self.vault.token = bytes(one ^ other for one, other in zip(raw, str(attempt["otp"]).encode(), strict=True)).decode()

    def configure(self) -> None:
        """Engines, logins, policies, the deployer's role and the key that signs records. Raises VaultError."""
        transit, auth, approle, database = (str(self.facts[name]) for name in ("transit", "auth", "approle", "database"))
        self._ensure("sys/audit", "log/", "sys/audit/log", {"type": "file", "options": {"file_path": "stdout"}})
        self._plugin("auth", KUBERNETES)
        self._plugin("database", _vault_database.PLUGIN)
        self._ensure("sys/mounts", f"{transit}/", f"sys/mounts/{transit}", {"type": "transit"})
        self._ensure("sys/auth", f"{approle}/", f"sys/auth/{approle}", {"type": "approle"})
        accessor = self._ensure("sys/auth", f"{auth}/", f"sys/auth/{auth}", {"type": "kubernetes"}).get("accessor", "")
        self._same(f"auth/{auth}/config", self.reviewer)
        if accessor:
            self._same(f"sys/policies/acl/{TENANT_POLICY}", {"policy": tenant_policy(transit, accessor)})
        self._same(f"sys/policies/acl/{DEPLOYER}", {"policy": deployer_policy(transit, auth, database)})
        self._same(f"auth/{approle}/role/{DEPLOYER}", {"token_policies": [DEPLOYER], "token_ttl": 900, "token_max_ttl": 3600})
        if self.vault.read(f"{transit}/keys/{RECORDS_KEY}") is None:
            self._write(f"{transit}/keys/{RECORDS_KEY}", {"type": "ed25519"})
        self._ensure("sys/mounts", f"{database}/", f"sys/mounts/{database}", {"type": "database"})
        self._credentials(approle)

    def _plugin(self, kind: str, name: str) -> None:
        """Take what is not built in from the plugins of the image."""
        if not self.plugins.get(name):
            return
        path = f"sys/plugins/catalog/{kind}/{name}"
        known = (self.vault.read(path) or {}).get("data") or {}
        if not known.get("builtin") and known.get("sha256") != self.plugins[name]:
            self._write(path, {"sha256": self.plugins[name], "command": name})
            if known and not self.dry:
                self.vault.write("sys/plugins/reload/backend", {"plugin": name})

    def connect(self, options: Mapping[str, Any]) -> None:
        """Tell Vault of the database whose roles it gives passwords. It connects when it is first asked to. Raises VaultError."""
        path = f"{self.facts['database']}/config/{_vault_database.CONNECTION}"
        wanted = _vault_database.connection(options)
        secret, told = self.resources.get(LOGIN_REF), digest(options["password"])
        metadata = (secret or {}).get("metadata") or {}
        known = secret is None or (metadata.get("annotations") or {}).get(TOLD) == told
        if not known or _vault_database.differs((self.vault.read(path) or {}).get("data") or {}, wanted):
            self._write(path, {**wanted, "password": options["password"], "verify_connection": False})
        if not known and not self.dry:
            self.resources.replace({**(secret or {}), "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), TOLD: told}}})

    def _ensure(self, listing: str, name: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        found = (self.vault.read(listing) or {}).get("data") or {}
        if name not in found:
            self._write(path, body)
            found = (self.vault.read(listing) or {}).get("data") or {}
        entry: dict[str, Any] = found.get(name) or {}
        return entry

    def _same(self, path: str, wanted: Mapping[str, Any]) -> None:
        live = (self.vault.read(path) or {}).get("data") or {}
        if any(live.get(key) != value for key, value in wanted.items()):
            self._write(path, wanted)

    def _write(self, path: str, body: Mapping[str, Any]) -> None:
        self.changed.append(path)
        if not self.dry:
            self.vault.write(path, body)

    def _credentials(self, approle: str) -> None:
        ref, stored = DEPLOYER_REF, self.resources.get(DEPLOYER_REF)
        role = ((self.vault.read(f"auth/{approle}/role/{DEPLOYER}/role-id") or {}).get("data") or {}).get("role_id", "")
        known = (stored or {}).get("data") or {}
        if known.get("secret_id") and base64.b64decode(known.get("role_id", "")).decode() == role:
            return
        self.changed.append(f"Secret {ref.namespace}/{ref.name}")
        if not self.dry:
            secret = self.vault.write(f"auth/{approle}/role/{DEPLOYER}/secret-id")["data"]["secret_id"]
            self._keep(ref, {"role_id": role, "secret_id": secret}, stored)

    def finish(self) -> None:
        """Give the root token back: none outlives the run."""
        if self.vault.token:
            self.vault.send("POST", "auth/token/revoke-self", {})
            self.vault.token = ""


def converge(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring Vault to what the platform needs of it and return the module's result. Raises PlatformError."""
    setup = Setup(client, {**options["vault"], "provider": "managed"}, options["plugins"], check_mode)
    timeout = float(options["wait_timeout"])
    status = setup.status(timeout)
    abandoned = setup.abandoned(status)
    if check_mode and (not status["initialized"] or status["sealed"]):
        change = "initialised" if abandoned or not status["initialized"] else "unsealed"
        return {"changed": True, "changes": [change], "version": status.get("version", "")}
    if abandoned:
        return {"changed": False, "changes": [], "version": str(status.get("version", "")), "abandoned": True}
    key = setup.open(status)
    setup.administrate(key, timeout)
    try:
        setup.configure()
        if options["database"]:
            setup.connect(options["database"])
    finally:
        setup.finish()
    return {"changed": bool(setup.changed), "changes": setup.changed, "version": str(status.get("version", "")), "abandoned": False}
