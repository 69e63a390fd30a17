# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The encryption key of one tenant in Vault, and who may use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, Resources
from ansible_collections.barberpro.platform.plugins.module_utils._store import Store
from ansible_collections.barberpro.platform.plugins.module_utils._transaction import Transaction
from ansible_collections.barberpro.platform.plugins.module_utils._vault import Vault
from ansible_collections.barberpro.platform.plugins.module_utils._vault_setup import TENANT_POLICY

TOKEN_TTL = 1200
TOKEN_MAX_TTL = 3600


class TenantKey:
    """Key and role of one tenant; both bear the name of its namespace."""

    def __init__(self, vault: Vault, tenant: str) -> None:
        self.vault = vault
        self.name = f"tenant-{tenant}"
        self.key = f"{vault.facts['transit']}/keys/{self.name}"
        self.role = f"auth/{vault.facts['auth']}/role/{self.name}"

    def wanted_role(self, service_accounts: list[str]) -> dict[str, Any]:
        """Return the role: these service accounts of the tenant's own namespace, with a token made for Vault."""
        return {
            "bound_service_account_names": sorted(service_accounts),
            "bound_service_account_namespaces": [self.name],
            "audience": str(self.vault.facts["audience"]),
            "token_ttl": TOKEN_TTL,
            "token_max_ttl": TOKEN_MAX_TTL,
        }

    def read(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Return key and role as they are, None for what does not exist."""
        # At once: each way to a Vault in the cluster is a port-forward of its own.
        with ThreadPoolExecutor(max_workers=2) as pool:
            key, role = pool.map(self.vault.read, (self.key, self.role))
        return (key or {}).get("data"), (role or {}).get("data")

    def differs(self, role: Mapping[str, Any] | None, service_accounts: list[str]) -> bool:
        """Return whether the role must be written."""
        wanted: dict[str, Any] = {**self.wanted_role(service_accounts), "token_policies": [TENANT_POLICY]}
        return role is None or any(role.get(name) != value for name, value in wanted.items())

    def write_role(self, service_accounts: list[str]) -> None:
        """Write the role. The policy is given as text: so Vault can hold the deployer to it."""
        self.vault.write(self.role, {**self.wanted_role(service_accounts), "token_policies": TENANT_POLICY})


def encrypting(objects: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the service accounts of a revision whose pods log in to Vault: their labels say so. Pure."""
    templates = [template for obj in objects if (template := (obj.get("spec") or {}).get("template"))]
    return {
        str(template["spec"]["serviceAccountName"])
        for template in templates
        if ((template.get("metadata") or {}).get("labels") or {}).get(f"{PREFIX}/vault") == "true"
    }


def _accounts(store: Store, role: Mapping[str, Any] | None, asked: Iterable[str], narrow: bool) -> list[str]:
    """Return who is to use the key: whom the deploy asks for, and whom a kept revision needs, as it may have to serve again.

    Kept revisions are read only where they can make a difference: someone else may use the key now, or nobody.
    """
    wanted, bound = set(asked), set((role or {}).get("bound_service_account_names") or [])
    if role is not None and (not narrow or bound <= wanted):
        return sorted(wanted | bound)
    return sorted(wanted.union(*(encrypting(store.read(number)) for number in store.kept())))


def _facts(key: Mapping[str, Any] | None) -> dict[str, Any]:
    key = key or {}
    versions = key.get("keys") or {}
    return {
        "exists": bool(key),
        "version": int(key.get("latest_version") or 0),
        "oldest_version": int(key.get("min_decryption_version") or 0),
        "created": str(versions[min(versions, key=int)]) if versions else "",
    }


def converge(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Bring the tenant's key to the asked state and return the module's result. Raises PlatformError."""
    tenant, state = str(options["name"]), str(options["state"])
    vault = Vault(client, options["vault"])
    vault.login()
    found = TenantKey(vault, tenant)
    key, role = found.read()
    before = _facts(key)
    resources = Resources(client)
    transaction = Transaction(resources, tenant, options.get("run"), check_mode)
    if state == "absent":
        with transaction.step("key"):
            changed = _absent(found, key, role, str(options.get("confirm") or ""), transaction, check_mode)
    elif state == "present":
        accounts = _accounts(Store(resources, tenant), role, map(str, options["service_accounts"]), bool(options["narrow"]))
        changed = key is None or found.differs(role, accounts)
        if changed and not check_mode:
            with transaction.step("key", undo=lambda: {"existed": key is not None}):
                transaction.touch()
                if key is None:
                    vault.write(found.key, {"type": "aes256-gcm96"})
                found.write_role(accounts)
    elif key is None:
        raise PlatformError(f"tenant {tenant} has no key {found.name} in {vault.where}; deploy it first (deploy_vertical.yml)")
    elif state == "rotated":
        changed = True
        if not check_mode:
            vault.write(f"{found.key}/rotate")
    else:
        _refuse_newer(tenant, options.get("version"), before["version"])
        changed = before["oldest_version"] < before["version"]
        if changed and not check_mode:
            vault.write(f"{found.key}/config", {"min_decryption_version": before["version"], "min_encryption_version": before["version"]})
    after = before if check_mode or not changed else _facts((vault.read(found.key) or {}).get("data"))
    action = ("changed" if before["exists"] else "created") if state == "present" else "destroyed" if state == "absent" else state
    return {"changed": changed, "action": action if changed else "unchanged", "key": found.name, "before": before, "after": after}


def _refuse_newer(tenant: str, wrapped_by: int | None, newest: int) -> None:
    """Raise PlatformError if a version was made after the one by which all is wrapped: its maker retires, when it has wrapped all anew."""
    if wrapped_by is not None and wrapped_by != newest:
        raise PlatformError(
            f"tenant {tenant}: all is wrapped by version {wrapped_by} of its key, and version {newest} has been made since by another run; "
            "no version was retired; run rotate_keys.yml again"
        )


def _absent(
    found: TenantKey, key: Mapping[str, Any] | None, role: Mapping[str, Any] | None, confirm: str, transaction: Transaction, check_mode: bool
) -> bool:
    tenant = transaction.tenant
    if confirm != tenant:
        raise PlatformError(
            f"tenant {tenant}: without its key nobody can read what was encrypted with it again, not even from backups; "
            f"repeat the name in confirm (given: {confirm!r})"
        )
    if not check_mode and (key is not None or role is not None):
        transaction.touch()
        if role is not None:
            found.vault.delete(found.role)
        if key is not None:
            found.vault.write(f"{found.key}/config", {"deletion_allowed": True})
            found.vault.delete(found.key)
    return key is not None or role is not None
