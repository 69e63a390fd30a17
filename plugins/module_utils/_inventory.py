# Copyright: BarberPro contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tenants out of the namespaces that they live in: names, variables and groups. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.barberpro.platform.plugins.module_utils._resources import PREFIX, TENANT_LABEL

# The namespace in which objects of tenants to come are tried carries a tenant's labels, but is none.
TENANTS = f"{TENANT_LABEL},!{PREFIX}/preflight"
# Groups are named by dimension: Ansible merges groups by name, and a tier must never overwrite a region.
DIMENSIONS = ("vertical", "tier", "market", "region")


def describe(namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return name, namespace, the four dimensions (None where there is no label) and the time of creation of a tenant's namespace."""
    metadata = namespace["metadata"]
    labels: Mapping[str, str] = metadata.get("labels") or {}
    found: dict[str, Any] = {"name": labels[TENANT_LABEL], "namespace": metadata["name"]}
    for dimension in DIMENSIONS:
        found[dimension] = labels.get(f"{PREFIX}/{dimension}")
    found["created"] = metadata.get("creationTimestamp")
    return found


def hosts(namespaces: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the inventory holds, by host name: ``variables`` and ``groups``. Namespaces being deleted are no tenants any more."""
    found = {}
    for namespace in namespaces:
        metadata = namespace["metadata"]
        if TENANT_LABEL not in (metadata.get("labels") or {}) or metadata.get("deletionTimestamp"):
            continue
        tenant = describe(namespace)
        variables = {
            "tenant_namespace": tenant["namespace"],
            "tenant_created": tenant["created"],
            "vertical": tenant["vertical"],
            "tier": tenant["tier"],
            "market_size": tenant["market"],
            "region": tenant["region"],
        }
        groups = [f"{dimension}_{group_name(tenant[dimension])}" for dimension in DIMENSIONS if tenant[dimension]]
        found[tenant["name"]] = {"variables": {key: value for key, value in variables.items() if value}, "groups": groups}
    return found


def group_name(value: str) -> str:
    """Return a label's value as part of a group name: what Ansible does not take in names becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9_]", "_", value)
