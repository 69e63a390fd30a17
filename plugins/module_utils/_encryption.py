# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the services of a tenant seal and wrap what they hold by the newest version of its key, through their admin APIs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._access import admin_sender
from ansible_collections.barberpro.platform.plugins.module_utils._client import Client
from ansible_collections.barberpro.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.barberpro.platform.plugins.module_utils._resources import Resources
from ansible_collections.barberpro.platform.plugins.module_utils._sealed import sealed_tables
from ansible_collections.barberpro.platform.plugins.module_utils._transaction import Transaction

PATH = "/admin/encryption"
TIMEOUT = 300.0


def converge(client: Client, options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Read or renew, service by service, and return the module's result. Raises PlatformError."""
    namespace, renew = str(options["namespace"]), options["state"] == "renewed"
    method = "PUT" if renew and not check_mode else "GET"
    run = options.get("run") or {}
    # A service may take longer than the lease lasts.
    with Transaction(Resources(client), str(run.get("tenant", "")), run, check_mode).watching():
        services = {table: _asked(client, namespace, component, method) for table, component in sorted(sealed_tables(client, namespace).items())}
    status = summed(services.values())
    if renew and not status["encrypting"]:
        plain = ", ".join(table for table, said in services.items() if not said["encrypting"])
        raise PlatformError(f"Namespace {namespace}: what holds {plain} does not encrypt: it was deployed without Vault; run deploy_vertical.yml")
    return {"changed": bool(status.get("rewrapped") or status.get("newly_sealed")), "services": services, "status": status}


def summed(services: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all services of a tenant say as one; they share the table of data keys. Pure."""
    every = list(services)
    total = {key: sum(int(said[key]) for said in every) for key in ("plain", "sealed", "rewrapped", "newly_sealed") if key in every[0]}
    keys = {"data_keys": max(int(said["data_keys"]) for said in every), "versions": sorted({version for said in every for version in said["versions"]})}
    return {"encrypting": all(said["encrypting"] for said in every), **total, **keys}


def _asked(client: Client, namespace: str, component: str, method: str) -> dict[str, Any]:
    """Return what a service says of its encryption. Raises PlatformError."""
    pod, send = admin_sender(client, namespace, f"app.kubernetes.io/component={component}", 9090, f"{component}-admin", TIMEOUT)
    answer = send(method, PATH, None)
    if answer.status != 200:
        hint = "its image is older than encryption; deploy a newer one" if answer.status == 404 else "see its log"
        raise PlatformError(f"{method} {PATH} of Pod {namespace}/{pod}: HTTP {answer.status} {answer.text()!r}; {hint}")
    return dict(answer.json())
