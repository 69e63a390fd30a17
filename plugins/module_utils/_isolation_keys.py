# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can use which tenant's key, read from Vault as the deployer: its login roles, the one policy of all tenants, the keys, and the deployer himself.

A role lets service accounts of namespaces in and gives them policies. The tenants' policy opens the key that bears the name of the caller's own
namespace, so what can go wrong is a role with other policies, other namespaces or any service account, another text of the policy, or a key
that can be taken out of Vault. What the deployer may do, Vault itself is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError, checked
from ansible_collections.barberpro.platform.plugins.module_utils._vault import Vault
from ansible_collections.barberpro.platform.plugins.module_utils._vault_setup import TENANT_POLICY, tenant_policy

USES = ("decrypt", "encrypt", "rewrap", "datakey/plaintext", "export/encryption-key", "backup")
"""What would let somebody at what a key has sealed, or at the key; paths of the transit engine."""


def examine(client: Client, facts: Mapping[str, Any], tenants: Mapping[str, str]) -> dict[str, Any]:
    """Return ``keys`` and ``logins`` that were looked at, the tenants ``without_key``, and ``findings``.

    ``tenants`` maps namespaces to tenants. Raises VaultError.
    """
    vault = Vault(client, facts)
    vault.login()
    transit, auth = str(facts["transit"]), str(facts["auth"])
    names = _listed(vault, f"{transit}/keys", "tenant-")
    logins = _listed(vault, f"auth/{auth}/role", "")
    roles = dict(zip(logins, _read(vault, [f"auth/{auth}/role/{name}" for name in logins]), strict=True))
    keys = dict(zip(names, _read(vault, [f"{transit}/keys/{name}" for name in names]), strict=True))
    policy = str(((vault.read(f"sys/policies/acl/{TENANT_POLICY}") or {}).get("data") or {}).get("policy", ""))
    paths = [f"{transit}/{use}/{name}" for name in names for use in USES]
    granted = (vault.write("sys/capabilities-self", {"paths": paths}).get("data") or {}) if paths else {}
    found = [
        *_of_policy(policy, transit),
        *(item for name, role in roles.items() for item in _of_role(name, role, tenants)),
        *(item for name, key in keys.items() for item in _of_key(name, key, tenants)),
        *(_of_deployer(path, granted[path], tenants) for path in paths if _granted(granted, path) - {"deny"}),
    ]
    without = sorted(set(tenants.values()) - {tenants.get(name, "") for name in names})
    return {"keys": len(names), "logins": len(logins), "without_key": without, "findings": found}


def _granted(answer: Mapping[str, Any], path: str) -> set[str]:
    """Return what Vault says that the deployer may do at a path. Raises PlatformError when it says nothing, which is no "nothing"."""
    if not answer.get(path):
        raise PlatformError(f"Vault was asked what the platform's own login may do at {path}, and did not say; see whether this is the Vault of platform_vault")
    return set(answer[path])


def _listed(vault: Vault, path: str, prefix: str) -> list[str]:
    found = (vault.read(f"{path}?list=true") or {}).get("data") or {}
    return sorted(str(name) for name in found.get("keys") or [] if str(name).startswith(prefix))


def _read(vault: Vault, paths: Iterable[str]) -> list[dict[str, Any]]:
    """Read many paths side by side."""
    found = checked(vault.client.map(vault.read, list(paths)))
    return [((item or {}).get("data") or {}) for item in found]


def _finding(tenant: str | None, target: str | None, sentence: str) -> dict[str, Any]:
    return {"tenant": tenant, "target": target, "sentence": sentence}


def _of_policy(text: str, transit: str) -> list[dict[str, Any]]:
    """Return what is wrong with the tenants' policy: it may say what ``tenant_policy`` says, and nothing else. Pure."""
    mount = re.search(r"identity\.entity\.aliases\.([^.]+)\.metadata", text)
    if mount and text.strip() == tenant_policy(transit, mount[1]).strip():
        return []
    return [_finding(None, None, f"policy {TENANT_POLICY} of Vault does not say what deploy_platform.yml writes: tenants may use keys of others")]


def _of_role(name: str, role: Mapping[str, Any], tenants: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what is wrong with a login role: it may let service accounts of the namespace of its own name in, by name, and give the one policy. Pure."""
    strangers = sorted({str(item) for item in role.get("bound_service_account_namespaces") or []} - {name})
    others = sorted(set(role.get("token_policies") or role.get("policies") or []) - {TENANT_POLICY})
    found = []
    if others:
        found.append(_finding(tenants.get(name), None, f"login role {name} of Vault gives policies {', '.join(others)} beside {TENANT_POLICY}"))
    found += [_finding(tenants.get(one), tenants.get(name), f"service accounts of namespace {one} may log in to Vault as {name}") for one in strangers]
    if role.get("bound_service_account_namespace_selector"):
        found.append(_finding(None, tenants.get(name), f"namespaces are chosen by a selector for login role {name} of Vault"))
    if "*" in (role.get("bound_service_account_names") or []):
        found.append(_finding(tenants.get(name), None, f"any service account may log in to Vault as {name}"))
    return found


def _of_key(name: str, key: Mapping[str, Any], tenants: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what is wrong with a key. Pure."""
    ways = [way for flag, way in (("exportable", "exported"), ("allow_plaintext_backup", "backed up in the clear")) if key.get(flag)]
    return [_finding(None, tenants.get(name), f"key {name} can be {way} from Vault") for way in ways]


def _of_deployer(path: str, capabilities: Iterable[str], tenants: Mapping[str, str]) -> dict[str, Any]:
    name = path.rpartition("/")[2]
    return _finding(None, tenants.get(name), f"the deployer may {', '.join(sorted(capabilities))} {path}")
