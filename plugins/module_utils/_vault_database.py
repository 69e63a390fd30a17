# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passwords of the tenants' database roles, which Vault makes and keeps as static roles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._vault import Vault

CONNECTION = "postgresql"
"""Name of the connection below the database engine's config/."""
PLUGIN = "postgresql-database-plugin"
PERIOD = 10 * 365 * 86400
"""Seconds after which Vault would rotate by itself, and nobody would tell the services: playbooks rotate long before."""


def connection(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Vault must be told of the database; ``options`` has host, port, name, user, sslmode and ca. Pure."""
    url = f"postgresql://{{{{username}}}}:{{{{password}}}}@{options['host']}:{options['port']}/{options['name']}?sslmode={options['sslmode']}"
    return {
        "plugin_name": PLUGIN,
        "connection_url": url,
        "username": options["user"],
        "allowed_roles": "t_*",
        "password_authentication": "scram-sha-256",
        # Vault keeps what it is not told of, so that none is said, too.
        "tls_ca": options.get("ca") or "",
    }


def differs(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether the connection must be written; ``live`` is what Vault says of it, without the password. Pure."""
    details = live.get("connection_details") or {}
    same = all(details.get(key) == wanted.get(key) for key in ("connection_url", "username", "password_authentication") if key in wanted)
    same = same and str(details.get("tls_ca") or "").strip() == str(wanted.get("tls_ca") or "").strip()
    return not same or live.get("allowed_roles") != ["t_*"]


def converge(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Give a role a new password, or forget it, and return the module's result. Raises PlatformError."""
    vault = Vault(client, options["vault"])
    vault.login()
    mount, role = str(vault.facts["database"]), str(options["role"])
    path = f"{mount}/static-roles/{role}"
    known = vault.read(path) is not None
    if options["state"] == "absent":
        if known and not check_mode:
            vault.delete(path)
        return {"changed": known, "role": role, "password": ""}
    if check_mode:
        return {"changed": True, "role": role, "password": ""}
    if known:
        vault.write(f"{mount}/rotate-role/{role}")
    else:
        # Vault gives a role a password of its own as it takes it over.
        vault.write(path, {"db_name": CONNECTION, "username": role, "rotation_period": PERIOD})
    found = vault.read(f"{mount}/static-creds/{role}") or {}
    return {"changed": True, "role": role, "password": str(found["data"]["password"])}
